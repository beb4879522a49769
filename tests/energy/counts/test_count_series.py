# SPDX-License-Identifier: Apache-2.0
"""Counts by step and clip add up to the totals; active neurons, biases, element-wise work; nothing left unsaid."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikefold.energy.counts.count import Uncounted, count
from spikefold.energy.counts.types import CONSTANT, DERIVED, IN_SERIES, Counts, ElementCounts, LayerCounts, Series
from spikefold.errors import MismatchError, UnsupportedError
from spikefold.export.network import INPUT, InputSpec, Layer, Network
from spikefold.export.neuron import Neuron
from spikefold.export.ops import (
    AvgPool2d,
    Concat,
    Conv2d,
    Dense,
    Gate,
    MaxPool2d,
    Shape,
    SumPool2d,
)
from spikefold.hardware.simulators.trace import LayerTrace, Trace
from tests.norms import batch_norm

ONE = Neuron(np.array(1.0))
FIELDS = (*IN_SERIES, *CONSTANT, *DERIVED)


def _network(shape: Shape, *layers: Layer, steps: int = 3) -> Network:
    return Network(InputSpec(shape, 2000, steps), layers, 1)


def _drawn(network: Network, frames: np.ndarray, share: float = 0.3, seed: int = 0) -> Trace:
    rng = np.random.default_rng(seed)
    layers = {}
    for layer in network.neurons:
        size = (*frames.shape[:2], *network.shapes[layer.name])
        layers[layer.name] = LayerTrace((rng.random(size) < share).astype(np.uint16))
    return Trace("drawn", layers)


def _reached(op: Conv2d, x: np.ndarray) -> np.ndarray:
    """Whether each output has an input other than zero under its kernel: output by output, tap by tap."""
    outputs, rows, columns = op.output_shape(x.shape[2:])
    per_group_in, per_group_out = op.weight.shape[1], outputs // op.groups
    found = np.zeros((*x.shape[:2], outputs, rows, columns), bool)
    for t, n, f, row, column in np.ndindex(*found.shape):
        first = f // per_group_out * per_group_in
        for c in range(first, first + per_group_in):
            for ky in range(op.weight.shape[2]):
                for kx in range(op.weight.shape[3]):
                    y = row * op.stride[0] - op.padding[0] + ky * op.dilation[0]
                    col = column * op.stride[1] - op.padding[1] + kx * op.dilation[1]
                    if 0 <= y < x.shape[3] and 0 <= col < x.shape[4] and x[t, n, c, y, col]:
                        found[t, n, f, row, column] = True
    return found


def _pairs(low: int, high: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(low, high), st.integers(low, high))


def test_active_updates_are_neurons_that_an_event_reached() -> None:
    compared = {"active": 0, "idle": 0, "cases": 0}

    @settings(max_examples=60, derandomize=True)
    @given(
        groups=st.sampled_from([1, 2]),
        kernel=_pairs(1, 3),
        stride=_pairs(1, 3),
        padding=_pairs(0, 2),
        dilation=_pairs(1, 2),
        seed=st.integers(0, 999),
    )
    def compare(
        groups: int,
        kernel: tuple[int, int],
        stride: tuple[int, int],
        padding: tuple[int, int],
        dilation: tuple[int, int],
        seed: int,
    ) -> None:
        op = Conv2d(np.ones((4, 2 // groups, *kernel)), None, stride, padding, dilation, groups)
        network = _network((2, 6, 5), Layer("conv", op), Layer("sn", ONE))
        frames = (np.random.default_rng(seed).random((2, 2, 2, 6, 5)) < 0.06).astype(np.uint16)
        (layer,) = count(network, frames, _drawn(network, frames)).layers
        expected = _reached(op, frames)
        assert layer.active_updates == expected.sum()
        assert layer.series is not None
        assert np.array_equal(layer.series.active_updates, expected.sum(axis=(2, 3, 4)))
        assert layer.neuron_updates == expected.size
        assert layer.idle_updates == expected.size - expected.sum()
        compared["active"] += layer.active_updates
        compared["idle"] += layer.idle_updates
        compared["cases"] += 1

    compare()
    assert compared["cases"] >= 60
    assert min(compared["active"], compared["idle"]) > 1000, compared


def test_an_average_pool_before_the_neurons_makes_one_active_of_each_window_that_was_reached() -> None:
    conv = Conv2d(np.ones((1, 1, 1, 1)))
    network = _network((1, 4, 4), Layer("conv", conv), Layer("pool", AvgPool2d((2, 2))), Layer("sn", ONE), steps=1)
    frames = np.zeros((1, 1, 1, 4, 4), np.uint16)
    frames[0, 0, 0, 0, :2] = 1  # two events, one window
    frames[0, 0, 0, 3, 3] = 5
    (layer,) = count(network, frames, _drawn(network, frames)).layers
    assert (layer.active_updates, layer.neuron_updates) == (2, 4)


def test_several_ways_to_a_neuron_make_it_active_once() -> None:
    conv = Conv2d(np.ones((1, 1, 1, 1)), np.ones(1))
    layers = (
        Layer("a", conv, (INPUT,)),
        Layer("sa", ONE),
        Layer("b", conv, ("sa",)),
        Layer("c", conv, (INPUT,)),
        Layer("both", ONE, ("b", "c")),
    )
    network = _network((1, 1, 4), *layers, steps=1)
    frames = np.array([1, 1, 0, 0], np.uint16).reshape(1, 1, 1, 1, 4)
    spikes = np.array([0, 1, 1, 0], np.uint16).reshape(frames.shape)
    counts = count(network, frames, Trace("x", {"sa": LayerTrace(spikes), "both": LayerTrace(spikes)}))
    by_name = {layer.name: layer for layer in counts.layers}
    assert [by_name[name].active_updates for name in "abc"] == [2, 3, 0]
    assert [by_name[name].neurons for name in "abc"] == [4, 4, 0]
    assert [by_name[name].bias_adds for name in "abc"] == [4, 4, 4]
    assert counts.total("neuron_updates") == 8
    assert counts.elements == (ElementCounts("both", "sum", adds=4),)


def _everything() -> tuple[Network, np.ndarray, Trace]:
    norm = batch_norm(np.full(4, v) for v in (1.0, 0.0, 0.0, 1.0))
    network = _network(
        (2, 8, 8),
        Layer("conv1", Conv2d(np.ones((4, 2, 3, 3)), np.ones(4), (1, 1), (1, 1))),
        Layer("bn", norm),
        Layer("asa", Gate(np.full(4, 0.5))),
        Layer("mean", AvgPool2d((2, 2))),
        Layer("sn1", ONE),
        Layer("max", MaxPool2d((2, 2)), ("sn1",)),
        Layer("conv2", Conv2d(np.ones((3, 4, 1, 1)))),
        Layer("sn2", ONE),
        Layer("left", SumPool2d((2, 2)), ("sn1",)),
        Layer("side", Concat(), ("left", "sn2")),
        Layer("fc", Dense(np.ones((5, 7 * 4)), np.ones(5)), ("side",)),
        Layer("out", ONE),
    )
    frames = np.random.default_rng(3).poisson(0.5, (3, 4, 2, 8, 8)).astype(np.uint16)
    return network, frames, _drawn(network, frames)


def test_elementwise_work_is_listed_layer_by_layer() -> None:
    counts = count(*_everything())
    frames = 3 * 4
    assert counts.elements == (
        ElementCounts("bn", "batch_norm", multiplies=256 * frames, adds=256 * frames),
        ElementCounts("asa", "gate", multiplies=256 * frames),
        ElementCounts("mean", "avg_pool", multiplies=64 * frames, adds=64 * 3 * frames),
        ElementCounts("max", "max_pool", compares=16 * 3 * frames),
    )
    assert {layer.name: layer.bias_adds for layer in counts.layers} == {
        "conv1": 256 * frames,
        "conv2": 0,
        "fc": 5 * frames,
    }
    assert {layer.name: layer.multiplicity for layer in counts.layers} == {"conv1": 1, "conv2": 1, "fc": 4}
    assert {layer.name: layer.input_kind for layer in counts.layers} == {
        "conv1": "counts",
        "conv2": "binary",
        "fc": "sum-pooled",
    }
    assert counts.coverage == "every operation has a rule"


def test_steps_and_clips_add_up_to_the_totals_and_a_clip_alone_counts_the_same() -> None:
    network, frames, trace = _everything()
    counts = count(network, frames, trace)
    assert counts.total("events") > 1000
    for field in FIELDS:
        assert counts.by_step(field).shape == (3, 4)
        assert counts.by_step(field).dtype == np.int64
        assert counts.by_step(field).sum() == counts.total(field)
        assert counts.by_clip(field).tolist() == [counts.of_clip(n).total(field) for n in range(4)]
    assert counts.peak_events == max(counts.of_clip(n).peak_events or 0 for n in range(4))
    kinds = 0
    for n in range(4):
        one = {name: LayerTrace(layer.raster[:, n : n + 1]) for name, layer in trace.layers.items()}
        alone, cut = count(network, frames[:, n : n + 1], Trace("x", one)), counts.of_clip(n)
        assert [asdict(layer) | {"series": 0, "input_kind": 0} for layer in alone.layers] == [
            asdict(layer) | {"series": 0, "input_kind": 0} for layer in cut.layers
        ]
        assert (alone.elements, alone.uncounted, alone.nasfr) == (cut.elements, cut.uncounted, cut.nasfr)
        kinds += [layer.input_kind for layer in cut.layers] == [layer.input_kind for layer in counts.layers]
    assert kinds == 4


@pytest.mark.parametrize("cut", [1, 3])
def test_counts_of_parts_add_up_to_those_of_the_whole(cut: int) -> None:
    """The input of the first part is binary, that of the other is not: the whole is what the whole is."""
    network = _network(
        (2, 6, 6),
        Layer("conv", Conv2d(np.ones((3, 2, 3, 3)), np.ones(3), (2, 2), (1, 1))),
        Layer("pool", MaxPool2d((1, 1))),
        Layer("sn", ONE),
        Layer("fc", Dense(np.array(np.random.default_rng(0).integers(0, 2, (4, 27)), float))),
        Layer("out", ONE),
    )
    frames = np.random.default_rng(1).poisson(0.4, (3, 5, 2, 6, 6)).astype(np.uint16)
    frames[:, :cut] = np.minimum(frames[:, :cut], 1)
    trace = _drawn(network, frames)
    parts = [
        count(
            network, frames[:, at], Trace("drawn", {k: LayerTrace(v.raster[:, at]) for k, v in trace.layers.items()})
        )
        for at in (slice(0, cut), slice(cut, None))
    ]
    whole = count(network, frames, trace)
    assert parts[0].layers[0].input_kind == "binary" != whole.layers[0].input_kind
    added = parts[0] + parts[1]
    assert added == whole
    assert added.to_json() == whole.to_json()
    assert whole.total("events") > whole.total("weighted") > 500
    for name in FIELDS:
        assert np.array_equal(added.by_step(name), whole.by_step(name))
    totals = parts[0].without_series() + parts[1].without_series()
    assert totals.to_json() == whole.to_json() | {"peak_events": None}
    assert [layer.peak("pairs") for layer in totals.layers] == [layer.peak("pairs") for layer in whole.layers]
    with pytest.raises(MismatchError):
        totals.by_step("events")
    with pytest.raises(MismatchError, match="cannot be added"):
        _ = whole + replace(whole, layers=whole.layers[::-1])


def test_what_is_asked_of_counts_without_clips_is_refused() -> None:
    counts = Counts(2, 3, (LayerCounts("conv", "binary", 9, 8, 7, 6, 5, 4, 3),))
    assert counts.peak_events is None
    with pytest.raises(MismatchError, match="only totals"):
        counts.by_step("events")
    with pytest.raises(MismatchError, match="only totals"):
        counts.of_clip(0)
    full = count(*_everything())
    with pytest.raises(MismatchError, match="clip 4 of 4"):
        full.of_clip(4)
    with pytest.raises(UnsupportedError, match="'event' is not counted") as told:
        full.by_step("event")
    assert "events" in str(told.value)
    with pytest.raises(MismatchError, match="int64"):
        Series(*[np.zeros((2, 2))] * 5)


@dataclass(frozen=True)
class Cube:
    """An operation that nothing here knows."""

    def output_shape(self, shape: Shape) -> Shape:
        return shape


def test_an_operation_without_a_rule_is_named_and_its_neurons_count_as_active() -> None:
    cube: Any = Cube()
    network = _network(
        (1, 2, 2), Layer("conv", Conv2d(np.ones((1, 1, 1, 1)))), Layer("odd", cube), Layer("sn", ONE), steps=2
    )
    frames = np.zeros((2, 3, 1, 2, 2), np.uint16)
    counts = count(network, frames, _drawn(network, frames))
    assert counts.uncounted == (Uncounted("odd", "Cube", 4 * 6),)
    assert counts.coverage == "without a rule: Cube in odd (24 outputs)"
    assert counts.layers[0].active_updates == counts.layers[0].neuron_updates == 24
    assert counts.of_clip(0).uncounted == (Uncounted("odd", "Cube", 8),)


def test_analog_input_of_a_weight_layer_is_refused_not_counted_as_nothing() -> None:
    conv = Conv2d(np.ones((1, 1, 1, 1)))
    network = _network((1, 2, 2), Layer("one", conv), Layer("two", conv), Layer("sn", ONE))
    frames = np.ones((3, 1, 1, 2, 2), np.uint16)
    with pytest.raises(UnsupportedError, match="analog input"):
        count(network, frames, _drawn(network, frames))


def test_neurons_that_no_weight_layer_feeds_are_not_forgotten() -> None:
    """Behind a pool of spikes, and the second of two that one convolution feeds."""
    conv = Conv2d(np.ones((1, 1, 1, 1)))
    layers = (
        Layer("conv", conv),
        Layer("sn", ONE),
        Layer("baseline", ONE, ("conv",)),
        Layer("pool", SumPool2d((2, 2)), ("sn",)),
        Layer("again", ONE),
        Layer("fc", Dense(np.ones((2, 1)))),
        Layer("out", ONE),
    )
    network = _network((1, 2, 2), *layers)
    frames = np.ones((3, 2, 1, 2, 2), np.uint16)
    trace = _drawn(network, frames, share=0.6)
    counts = count(network, frames, trace)
    assert [layer.name for layer in counts.layers] == ["conv", "baseline", "again", "fc"]
    assert [layer.neurons for layer in counts.layers] == [4, 4, 1, 2]
    assert [layer.input_kind for layer in counts.layers] == ["binary", "none", "none", "binary"]
    assert counts.total("spikes") == trace.spikes > 20
    assert counts.nasfr == trace.spikes / (11 * 6)
    again = counts.layers[2]
    assert (again.events, again.dense_padded) == (0, 0)
    assert again.active_updates == (trace.layers["sn"].raster.sum(axis=(2, 3, 4)) > 0).sum()


def test_inputs_that_are_added_up_do_not_overflow() -> None:
    network = _network(
        (1, 1, 1),
        Layer("a", Conv2d(np.ones((1, 1, 1, 1)))),
        Layer("sn", ONE),
        Layer("fc", Dense(np.ones((1, 1))), ("sn", INPUT)),
        Layer("out", ONE),
        steps=1,
    )
    frames = np.full((1, 1, 1, 1, 1), 65_535, np.uint16)
    one = LayerTrace(np.ones((1, 1, 1, 1, 1), np.uint16))
    fc = count(network, frames, Trace("x", {"sn": one, "out": one})).layers[1]
    assert (fc.pairs, fc.events) == (1, 65_536)


def test_json_holds_totals_and_no_clips() -> None:
    counts = count(*_everything())
    written = counts.to_json()
    layers = written["layers"]
    assert isinstance(layers, list)
    assert [layer["events"] for layer in layers] == [layer.events for layer in counts.layers]
    assert all("series" not in layer and all(isinstance(v, int | str) for v in layer.values()) for layer in layers)
    assert {*IN_SERIES, *CONSTANT, *DERIVED} < set(layers[0])
    assert len(repr(written)) < 3000
