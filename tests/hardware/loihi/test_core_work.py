# SPDX-License-Identifier: Apache-2.0
"""What each core does: by hand on a small cut map, and that all cores together do what the network does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spikefold.energy.counts.count import count
from spikefold.errors import MismatchError, NetworkError
from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Neuron
from spikefold.export.ops import Conv2d, Dense
from spikefold.hardware.core_work import CoreWork
from spikefold.hardware.loihi.core_work import core_work
from spikefold.hardware.loihi.tiles import TileSize, tiles_of
from spikefold.hardware.simulators import reference
from spikefold.hardware.simulators.trace import Trace

T, N = 4, 2


def _network() -> Network:
    random = np.random.default_rng(3)
    low = {"v_min": -100}
    return Network(
        InputSpec((2, 6, 9), 1000, T),
        (
            Layer("conv", Conv2d(random.integers(-2, 4, (4, 2, 3, 3)), None, (1, 1), (1, 0))),
            Layer("sn", Neuron(np.array(5), **low)),  # type: ignore[arg-type]
            Layer("fc", Dense(random.integers(-1, 3, (10, 4 * 6 * 7)))),
            Layer("out", Neuron(np.array(9), **low)),  # type: ignore[arg-type]
        ),
        10,
    )


def _run(network: Network) -> tuple[np.ndarray, Trace]:
    frames = (np.random.default_rng(1).random((T, N, 2, 6, 9)) < 0.3).astype(np.uint16)
    return frames, reference.run(network, frames)


def test_a_map_is_cut_and_the_last_block_goes_on_beyond_the_border() -> None:
    found = tiles_of((4, 6, 7), TileSize(4, 6, 4))
    assert [(one.held.columns, one.worked.columns) for one in found] == [((0, 4), (0, 4)), ((4, 7), (4, 8))]
    assert [one.neurons for one in found] == [96, 72]
    # a map that is not cut along W ends where it ends
    (whole,) = tiles_of((4, 6, 7), TileSize(4, 6, 16))
    assert whole.held == whole.worked
    both = tiles_of((4, 6, 7), TileSize(3, 4, 7))
    assert [one.neurons for one in both] == [84, 42, 28, 14]
    assert TileSize(3, 4, 7).cores((4, 6, 7)) == 4
    with pytest.raises(NetworkError, match="at least one"):
        TileSize(0, 1, 1)


def test_by_hand_one_spike_at_the_border_of_a_cut_map() -> None:
    # a kernel of three ones along W, one weight 0: outputs 0..4 of an input of 7 columns, blocks of 4 and 1
    network = Network(
        InputSpec((1, 1, 7), 1000, 1),
        (Layer("conv", Conv2d(np.array([1, 0, 1]).reshape(1, 1, 1, 3))), Layer("sn", Neuron(np.array(9)))),
        5,
    )
    frames = np.zeros((1, 1, 1, 1, 7), np.uint16)
    frames[..., 6] = 1
    # column 6 reaches output 4 by the last tap, outputs 5 (weight 0) and 6 beyond the border
    found = core_work(network, frames, reference.run(network, frames), {"conv": TileSize(1, 1, 4)})["conv"]
    assert found.operations.tolist() == [[[0, 2]]]
    assert found.messages.tolist() == [[[0, 1]]]
    assert found.updates.tolist() == [[[8, 2]]]
    whole = core_work(network, frames, reference.run(network, frames))["conv"]
    assert whole.operations.tolist() == [[[1]]]


def test_cores_that_are_not_cut_along_w_do_what_the_counts_say() -> None:
    network = _network()
    frames, trace = _run(network)
    counts = count(network, frames, trace)
    for size in (TileSize(4, 6, 7), TileSize(2, 4, 7)):
        work = core_work(network, frames, trace, {"conv": size})
        for layer in counts.layers:
            one = work[layer.name]
            assert one.operations.sum() == layer.weighted
            assert 0 < one.operations.sum() < layer.pairs
            assert one.spikes.sum() == layer.spikes > 0
            assert one.neurons.sum() == layer.neurons
            assert one.updates.sum() == 2 * layer.neuron_updates + layer.spikes
            np.testing.assert_array_equal(one.operations.sum(axis=2), layer.by_step("weighted"))


def test_a_cut_along_w_adds_the_taps_of_the_last_block_only() -> None:
    network = _network()
    frames, trace = _run(network)
    whole = core_work(network, frames, trace)["conv"].operations.sum()
    even, uneven = (
        core_work(network, frames, trace, {"conv": TileSize(4, 6, columns)})["conv"] for columns in (7, 4)
    )
    assert even.operations.sum() == whole
    assert uneven.operations.sum() > whole
    assert uneven.cores == 2


def test_what_does_not_belong_is_refused() -> None:
    network = _network()
    frames, trace = _run(network)
    with pytest.raises(MismatchError, match="no convolution"):
        core_work(network, frames, trace, {"fc": TileSize(1, 1, 1), "conv9": TileSize(1, 1, 1)})
    with pytest.raises(MismatchError, match="lacks the layer out"):
        core_work(network, frames, replace(trace, layers={"sn": trace.layers["sn"]}))
    with pytest.raises(MismatchError, match="cores of conv"):
        CoreWork("conv", np.zeros(2, np.int64), *[np.zeros((1, 1, 3), np.int64)] * 4)
