# SPDX-License-Identifier: Apache-2.0
"""Bounds on sums and states hold for every clip, and some clip reaches them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Leak, Neuron, Reset
from spikefold.export.ops import Conv2d, Dense, SumPool2d
from spikefold.export.passes.quantise import LayerScale, quantise
from spikefold.hardware.loihi import chip as loihi
from spikefold.hardware.simulators import reference
from spikefold.hardware.speck import chip as speck


def _dense(weights: list[float], neuron: Neuron, *, max_count: int | None = 2, steps: int = 3) -> Network:
    spec = InputSpec((len(weights), 1, 1), 1000, steps, max_count)
    return Network(spec, (Layer("d", Dense(np.array([weights]))), Layer("n", neuron)), 1)


def _one(network: Network, chip: object = speck.NUMBERS) -> tuple[Network, LayerScale]:
    integer, (entry,) = quantise(network, chip)  # type: ignore[arg-type]
    return integer, entry


def _reached(integer: Network, frames: list[list[int]]) -> tuple[float, float]:
    array = np.array(frames)[:, None, :, None, None]
    found = reference.run(integer, array).layers["n"].v_range
    assert found is not None
    return found[0] / 2 ** integer["n"].op.state_shift, found[1] / 2 ** integer["n"].op.state_shift


def test_the_lowest_state_is_reached_by_the_worst_clip() -> None:
    integer, entry = _one(_dense([0.5, -1.0], Neuron(np.array(1.0))))
    weight = integer["d"].op.weight
    assert entry.sum_bound == -2 * weight[0, 1]
    assert entry.state_bounds is not None
    assert _reached(integer, [[0, 2]] * 3)[0] == entry.state_bounds[0] == 3 * 2 * weight[0, 1]


def test_the_highest_state_is_reached_by_the_worst_clip() -> None:
    # just below the threshold, then as much as can come
    integer, entry = _one(_dense([1.0, 0.9921875], Neuron(np.array(2.0))))
    weight, theta = integer["d"].op.weight[0], int(integer["n"].op.threshold)
    assert entry.state_bounds is not None
    assert entry.state_bounds[1] == theta - 1 + 2 * int(weight.sum())
    assert weight.sum() == theta - 1, "one event of each leaves the state one below the threshold"
    assert _reached(integer, [[1, 1], [2, 2], [0, 0]])[1] == entry.state_bounds[1]


def test_subtraction_with_one_spike_lets_the_state_grow_with_every_step() -> None:
    neuron = Neuron(np.array(0.5), reset=Reset.SUBTRACT, max_spikes=1)
    integer, entry = _one(_dense([1.0], neuron, steps=4))
    assert entry.state_bounds is not None
    reached = _reached(integer, [[2]] * 4)[1]
    assert _one(_dense([1.0], Neuron(np.array(0.5)), steps=4))[1].state_bounds[1] < reached <= entry.state_bounds[1]


def test_without_a_bound_on_the_input_nothing_is_proven() -> None:
    _, entry = _one(_dense([1.0], Neuron(np.array(1.0)), max_count=None))
    assert (entry.sum_bound, entry.state_bounds, entry.overflow_excluded) == (None, None, None)


def test_without_a_bound_on_the_spikes_of_a_layer_nothing_is_proven_behind_it() -> None:
    many = Neuron(np.array(0.5), reset=Reset.SUBTRACT, max_spikes=None)
    layers = (
        Layer("a", Dense(np.ones((2, 2)))),
        Layer("an", many),
        Layer("p", SumPool2d((1, 1))),
        Layer("b", Dense(np.ones((1, 2)))),
        Layer("n", Neuron(np.array(1.0))),
    )
    network = Network(InputSpec((2, 1, 1), 1000, 3, 2), layers, 1)
    first, second = quantise(network, speck.NUMBERS)[1]
    assert first.sum_bound is not None
    assert second.sum_bound is None
    twice = [replace(la, op=replace(many, max_spikes=2)) if la.name == "an" else la for la in layers]
    _, second = quantise(replace(network, layers=tuple(twice)), speck.NUMBERS)[1]
    assert second.sum_bound == 2 * 2 * 127


@pytest.mark.parametrize(("theta", "excluded"), [(1.0, True), (200.0, False)])
def test_overflow_is_excluded_where_the_bounds_fit_the_state(theta: float, excluded: bool) -> None:
    neuron = Neuron(np.array(theta))
    # 127 * 200 = 25,400 and 100 * 127 more do not fit 15 bits and a sign
    assert _one(_dense([1.0], neuron, max_count=100))[1].overflow_excluded is excluded


def test_ties_are_counted() -> None:
    # the factor is 127: 0.5 / 127 and 2.5 / 127 are ties, 1 / 127 is none
    weights = [1.0, 0.5 / 127, 2.5 / 127, -1.5 / 127, 1 / 127]
    integer, entry = _one(_dense(weights, Neuron(np.array(1.0))))
    assert entry.scale == 127
    assert entry.ties == 3
    assert integer["d"].op.weight[0].tolist() == [127, 0, 2, -2, 1]


@settings(max_examples=60)
@given(st.integers(0, 10**6))
def test_no_clip_leaves_the_bounds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    leak = Leak(float(rng.uniform(0.2, 1))) if seed % 2 else None
    chip = loihi.NUMBERS if leak is not None or seed % 3 == 0 else speck.NUMBERS
    neuron = Neuron(np.array(float(rng.uniform(0.3, 2))), leak=leak)
    layers = (
        Layer("c", Conv2d(rng.normal(0, 0.5, (3, 2, 3, 3)), rng.normal(0, 0.2, 3), (1, 1), (1, 1))),
        Layer("n", neuron),
        Layer("d", Dense(rng.normal(0, 0.5, (4, 75)))),
        Layer("out", neuron),
    )
    network = Network(InputSpec((2, 5, 5), 1000, 6, 3), layers, 4)
    integer, entries = quantise(network, chip)
    # extremes: every input at 0 or at its most, often the same for several steps
    frames = 3 * rng.integers(0, 2, (3, 4, 2, 5, 5)).repeat(2, axis=0)
    trace = reference.run(integer, frames)
    for entry, name in zip(entries, ("n", "out"), strict=True):
        assert entry.state_bounds is not None
        found = trace.layers[name].v_range
        assert found is not None
        unit = 2**chip.state_shift
        assert entry.state_bounds[0] <= found[0] / unit <= found[1] / unit <= entry.state_bounds[1]
