# SPDX-License-Identifier: Apache-2.0
"""Vector instructions give what NumPy gives, on every number of a row and whatever its length."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numba import njit

from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Neuron, Reset
from spikefold.export.ops import Conv2d, Dense
from spikefold.hardware.simulators import clocked, reference
from spikefold.hardware.simulators.lanes import (
    add_bounded_rows,
    add_rows,
    at_least,
    bits_set,
    lanes_of,
    lowest_and_highest,
    lowest_bit,
    not_zero,
)


@njit  # type: ignore[untyped-decorator, unused-ignore]
def _all(v: Any, w: Any, start: int, first: int, width: int, height: int, steps: Any, floor: int) -> Any:
    place, word = np.uint64(start), v.dtype.type
    far = add_rows(v, place, w, np.uint64(first), width, height, np.int64(steps[0]), np.int64(steps[1]), word(floor))
    low, high = lowest_and_highest(v, place, width, height, np.int64(steps[0]))
    above, there = at_least(v, place, word(100)), not_zero(v, place)
    return np.uint64(far), low, high, above, there, lowest_bit(above), bits_set(there)


@pytest.mark.parametrize("word", [np.int16, np.int32])
def test_rows_of_every_length(word: Any) -> None:
    rng = np.random.default_rng(0)
    unsigned = np.dtype(word).name.replace("int", "uint")
    lanes, seen = lanes_of(np.dtype(word).itemsize), 0
    for width in range(1, 70):
        height, steps = int(rng.integers(1, 4)), rng.integers((70, -70), (100, 1))
        v, w = (rng.integers(-limit, limit, 600).astype(word) for limit in (3000, 120))
        v[rng.random(600) < 0.3] = 0
        wanted, rows = v.copy(), [slice(n * steps[0] + 9, n * steps[0] + 9 + width) for n in range(height)]
        for n, row in enumerate(rows):
            wanted[row] += w[300 + n * steps[1] :][:width]
        far, low, high, above, there, lowest, count = _all(v, w, 9, 300, width, height, steps, -1000)
        np.testing.assert_array_equal(v, wanted)
        touched = np.concatenate([wanted[row] for row in rows])
        assert far == (touched - word(-1000)).astype(unsigned).max()
        assert (low, high) == (touched.min(), touched.max())
        block = wanted[9 : 9 + lanes]
        assert above == sum(1 << int(n) for n in np.flatnonzero(block >= 100))
        assert there == sum(1 << int(n) for n in np.flatnonzero(block))
        assert (lowest, count) == (np.argmax(block >= 100) if above else 64, np.count_nonzero(block))
        seen += touched.size
    assert seen > 4000


@njit  # type: ignore[untyped-decorator, unused-ignore]
def _bounded(v: Any, w: Any, start: int, first: int, width: int, height: int, steps: Any, bound: int) -> Any:
    place, word = np.uint64(start), v.dtype.type
    far, low = add_bounded_rows(
        v, place, w, np.uint64(first), width, height, np.int64(steps[0]), np.int64(steps[1]), word(-1000), word(bound)
    )
    return np.uint64(far), low


@pytest.mark.parametrize("word", [np.int16, np.int32, np.int64])
def test_rows_that_are_bounded(word: Any) -> None:
    rng = np.random.default_rng(0)
    unsigned, seen = np.dtype(word).name.replace("int", "uint"), 0
    for width in range(1, 70):
        height, steps = int(rng.integers(1, 4)), rng.integers((70, -70), (100, 1))
        v, w = (rng.integers(-limit, limit, 600).astype(word) for limit in (3000, 120))
        rows = [slice(n * steps[0] + 9, n * steps[0] + 9 + width) for n in range(height)]
        sums = [v[row] + w[300 + n * steps[1] :][:width] for n, row in enumerate(rows)]
        wanted = v.copy()
        for row, total in zip(rows, sums, strict=True):
            wanted[row] = np.maximum(total, -2000)
        far, low = _bounded(v, w, 9, 300, width, height, steps, -2000)
        np.testing.assert_array_equal(v, wanted)
        every = np.concatenate(sums)
        assert far == (every - word(-1000)).astype(unsigned).max()
        assert low == every.min()
        seen += int((every < -2000).sum())
    assert seen > 500


@pytest.mark.parametrize("events", [250, 258, 259, 300])
def test_sums_that_leave_16_bits_are_exact(events: int) -> None:
    weight = np.full((3, 300), 127)
    weight[1] = -127
    layers = (Layer("w", Dense(weight, np.array([5, -5, 7]))), Layer("n", Neuron(np.array(32768), max_spikes=None)))
    network = Network(InputSpec((300, 1, 1), 1000, 3), layers, 1)
    frames = np.zeros((3, 1, 300, 1, 1), np.uint16)
    frames[:, :, :events] = 1
    one, two = (engine.run(network, frames, potentials=True).layers["n"] for engine in (reference, clocked))
    np.testing.assert_array_equal(one.potentials, two.potentials)
    np.testing.assert_array_equal(one.raster, two.raster)
    assert one.spikes > 0
    assert (one.v_range, one.overflow) == (two.v_range, two.overflow)


@pytest.mark.parametrize("count", [1, 2, 200, 65535])
def test_inputs_that_count_are_exact(count: int) -> None:
    rng = np.random.default_rng(1)
    conv = Conv2d(rng.integers(-9, 12, (5, 2, 3, 3)), rng.integers(-3, 4, 5), (2, 1), (1, 1))
    neuron = Neuron(np.array(7 * count), reset=Reset.SUBTRACT, max_spikes=3)
    network = Network(InputSpec((2, 9, 8), 1000, 4), (Layer("c", conv), Layer("n", neuron)), 1)
    frames = (rng.random((4, 2, 2, 9, 8)) < 0.1).astype(np.uint16) * np.uint16(count)
    one, two = (engine.run(network, frames, potentials=True).layers["n"] for engine in (reference, clocked))
    np.testing.assert_array_equal(one.potentials, two.potentials)
    np.testing.assert_array_equal(one.raster, two.raster)
    assert one.spikes > 10
