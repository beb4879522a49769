# SPDX-License-Identifier: Apache-2.0
"""Counts are whole, exact, and equal to visiting every synapse of every spike."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from spikefold.energy.counts.count import LayerCounts, count
from spikefold.errors import MismatchError
from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Neuron
from spikefold.export.ops import AvgPool2d, BatchNorm, Conv2d, Dense, Gate, Shape, SumPool2d
from spikefold.hardware.simulators import reference
from spikefold.hardware.simulators.trace import LayerTrace, Trace
from tests.norms import batch_norm

RNG = np.random.default_rng(7)
ONE = Neuron(np.array(1.0))


def _network(*, pool: bool = False) -> Network:
    layers = [
        Layer("conv1", Conv2d(RNG.normal(0.2, 0.3, (4, 2, 3, 3)), None, (1, 1), (1, 1))),
        Layer("bn1", BatchNorm(np.ones(4), np.zeros(4), np.zeros(4), np.ones(4), 1e-5)),
        Layer("sn1", ONE),
        *([Layer("sum1", SumPool2d((2, 2)))] if pool else []),
        Layer("conv2", Conv2d(RNG.normal(0.1, 0.3, (6, 4, 4, 4)), None, (2, 2), (1, 1))),
        *([] if pool else [Layer("mean2", AvgPool2d((2, 2)))]),
        Layer("sn2", ONE),
        Layer("fc", Dense(RNG.normal(0.1, 0.3, (5, 6 * 2 * 2)))),
        Layer("out", ONE),
    ]
    return Network(InputSpec((2, 9, 8), 1000, 6), tuple(layers), 5)


def _visit(op: Conv2d, x: np.ndarray) -> tuple[int, int]:
    """Nonzero pairs and events of one layer: input by input, tap by tap."""
    pairs = events = 0
    _, height, width = op.output_shape(x.shape[2:])
    for t, n, c, y, col in np.argwhere(x):
        reach = 0
        for ky in range(op.weight.shape[2]):
            for kx in range(op.weight.shape[3]):
                row, rest_y = divmod(y + op.padding[0] - ky, op.stride[0])
                column, rest_x = divmod(col + op.padding[1] - kx, op.stride[1])
                reach += rest_y == rest_x == 0 and 0 <= row < height and 0 <= column < width
        pairs += int(reach) * op.weight.shape[0]
        events += int(reach) * op.weight.shape[0] * int(x[t, n, c, y, col])
    return pairs, events


def test_every_layer_equals_visiting_its_synapses() -> None:
    network = _network()
    frames = RNG.poisson(0.4, (6, 3, 2, 9, 8)).astype(np.uint16)
    trace = reference.run(network, frames)
    counts = count(network, frames, trace)
    conv1, conv2, fc = counts.layers
    rasters = {name: layer.raster for name, layer in trace.layers.items()}
    assert min(layer.spikes for layer in trace.layers.values()) > 10
    for layer, x in ((conv1, frames), (conv2, rasters["sn1"])):
        op = network[layer.name].op
        assert isinstance(op, Conv2d)
        assert (layer.pairs, layer.events) == _visit(op, x)
    assert conv1.events > conv1.pairs  # several events in a bin
    assert conv2.events == conv2.pairs
    assert fc.events == int(rasters["sn2"].sum()) * 5
    assert [layer.input_kind for layer in counts.layers] == ["counts", "binary", "binary"]
    assert [layer.spikes for layer in counts.layers] == [int(r.sum()) for r in rasters.values()]
    assert [layer.neurons for layer in counts.layers] == [4 * 9 * 8, 6 * 2 * 2, 5]


def test_dense_counts_are_per_frame_with_and_without_the_padding() -> None:
    network = _network()
    frames = RNG.poisson(0.4, (6, 3, 2, 9, 8)).astype(np.uint16)
    conv1 = count(network, frames, reference.run(network, frames)).layers[0]
    assert conv1.dense_padded == 18 * (2 * 9) * (4 * 9 * 8)
    assert conv1.dense == 18 * 4 * 2 * (25 * 22)  # 3*9-2 rows and 3*8-2 columns of taps inside the frame


def test_sum_pooled_spikes_count_every_one() -> None:
    network = _network(pool=True)
    frames = RNG.poisson(0.6, (6, 3, 2, 9, 8)).astype(np.uint16)
    trace = reference.run(network, frames)
    conv2 = count(network, frames, trace).layers[1]
    raster = trace.layers["sn1"].raster[..., :8, :8].astype(np.int64)
    pooled = raster.reshape(6, 3, 4, 4, 2, 4, 2).sum(axis=(4, 6))
    op = network["conv2"].op
    assert isinstance(op, Conv2d)
    assert (conv2.pairs, conv2.events) == _visit(op, pooled)
    assert conv2.input_kind == "sum-pooled"
    assert conv2.input_events == int(raster.sum()) > 50


def test_the_average_rate_is_weighted_by_neurons() -> None:
    network = _network()
    frames = RNG.poisson(0.4, (6, 3, 2, 9, 8)).astype(np.uint16)
    trace = reference.run(network, frames)
    counts = count(network, frames, trace)
    assert counts.nasfr == trace.spikes / ((288 + 24 + 5) * 3 * 6)


def test_counts_above_two_to_the_24_are_exact() -> None:
    network = Network(
        InputSpec((1, 64, 64), 1000, 3),
        (Layer("fc", Dense(np.ones((401, 4096)))), Layer("out", Neuron(np.array(1e9)))),
        1,
    )
    frames = np.full((3, 7, 1, 64, 64), 1, np.uint16)
    frames[0, 0, 0, 0, 0] = 4
    trace = Trace("made", {"out": LayerTrace(np.zeros((3, 7, 401, 1, 1), np.uint16))})
    layer = count(network, frames, trace).layers[0]
    assert layer.pairs == 3 * 7 * 4096 * 401 == 34_492_416
    assert layer.events == layer.pairs + 3 * 401  # an odd number no float32 holds


def test_the_trace_of_another_network_is_refused() -> None:
    frames = np.zeros((6, 1, 2, 9, 8), np.uint16)
    with pytest.raises(MismatchError, match="lacks the layers"):
        count(_network(), frames, Trace("other", {}))


def test_counting_again_gives_the_same() -> None:
    network = _network()
    frames = RNG.poisson(0.4, (6, 3, 2, 9, 8)).astype(np.uint16)
    trace = reference.run(network, frames)
    assert count(network, frames, trace).to_json() == count(network, frames, trace).to_json()


def _made_of(shape: Shape, *layers: Layer, classes: int = 1) -> Network:
    return Network(InputSpec(shape, 1000, 1), layers, classes)


def _conv(out: int, channels: int, stride: int = 1, groups: int = 1, kernel: int = 3, padding: int = 1) -> Conv2d:
    return Conv2d(
        np.ones((out, channels // groups, kernel, kernel)), None, (stride, stride), (padding, padding), groups=groups
    )


def _drawn(network: Network, frames: np.ndarray, share: float = 0.3, seed: int = 0) -> Trace:
    """Spikes drawn at random: counting needs no simulation."""
    rng = np.random.default_rng(seed)
    layers = {}
    for layer in network.neurons:
        size = (*frames.shape[:2], *network.shapes[layer.name])
        layers[layer.name] = LayerTrace((rng.random(size) < share).astype(np.uint16))
    return Trace("drawn", layers)


def _line() -> tuple[Network, np.ndarray, Trace]:
    """Three pixels in a row, a 1x3 convolution with padding (fan-out 2, 3, 2), three neurons, two outputs."""
    network = _made_of(
        (1, 1, 3),
        Layer("conv", Conv2d(np.ones((1, 1, 1, 3)), None, padding=(0, 1))),
        Layer("sn", ONE),
        Layer("fc", Dense(np.ones((2, 3)))),
        Layer("out", ONE),
    )
    frames = np.array([[1, 0, 2], [0, 3, 0]], np.uint16).reshape(2, 1, 1, 1, 3)
    sn = np.array([[1, 0, 1], [0, 1, 0]], np.uint16).reshape(2, 1, 1, 1, 3)
    out = np.array([[0, 1], [0, 0]], np.uint16).reshape(2, 1, 2, 1, 1)
    return network, frames, Trace("hand", {"sn": LayerTrace(sn), "out": LayerTrace(out)})


def test_a_network_small_enough_to_count_by_hand() -> None:
    counts = count(*_line())
    assert (counts.clips, counts.steps) == (1, 2)
    assert counts.layers == (
        LayerCounts("conv", "counts", dense_padded=18, dense=14, pairs=2 + 2 + 3, events=2 + 4 + 9, input_events=6,
                    spikes=3, neurons=3, neuron_updates=6, active_updates=6),
        LayerCounts("fc", "binary", dense_padded=12, dense=12, pairs=6, events=6, input_events=3,
                    spikes=1, neurons=2, neuron_updates=4, active_updates=4),
    )  # fmt: skip
    assert counts.total("pairs") == 13
    assert counts.total("events") == 21
    assert counts.by_step("events").tolist() == [[6 + 4], [9 + 2]]
    assert [layer.peak_events for layer in counts.layers] == [9, 4]
    assert counts.peak_events == 11
    assert counts.total("weight_reads") == 21
    assert counts.total("state_accesses") == 2 * 21 + 2 * 10
    assert counts.total("bias_adds") == counts.total("idle_updates") == 0
    assert (counts.dt_us, counts.elements, counts.uncounted) == (1000, (), ())


def test_nasfr_weighs_layers_by_their_neurons() -> None:
    """4 spikes in 5 neurons and 2 steps; the mean of the layers' rates would be 0.375."""
    assert count(*_line()).nasfr == 0.4


def _by_convolution(network: Network, name: str, x: np.ndarray) -> int:
    """Sum over the outputs of a layer whose weights are all one, in exact float64."""
    op = network[name].op
    values = torch.from_numpy(x.astype(np.float64)).flatten(0, 1)
    if isinstance(op, Dense):
        return int(torch.nn.functional.linear(values.flatten(1), torch.ones(op.weight.shape).double()).sum())
    assert isinstance(op, Conv2d)
    weight = torch.ones(op.weight.shape, dtype=torch.float64)
    return int(torch.nn.functional.conv2d(values, weight, None, op.stride, op.padding, op.dilation, op.groups).sum())


def _variant_a() -> Network:
    """The test network of the fact sheet, with pools that sum."""
    return _made_of(
        (2, 32, 32),
        Layer("conv1", _conv(16, 2)),
        Layer("sn1", ONE),
        Layer("pool1", SumPool2d((2, 2))),
        Layer("conv2", _conv(32, 16)),
        Layer("sn2", ONE),
        Layer("pool2", SumPool2d((2, 2))),
        Layer("conv3", _conv(32, 32, stride=2, groups=4)),
        Layer("sn3", ONE),
        Layer("fc", Dense(np.ones((10, 512)))),
        Layer("out", ONE),
        classes=10,
    )


def test_the_fact_sheets_network_agrees_with_a_convolution_of_ones() -> None:
    network = _variant_a()
    frames = (np.random.default_rng(1).random((8, 4, 2, 32, 32)) < 0.05).astype(np.uint16)
    trace = _drawn(network, frames)
    counts = count(network, frames, trace)
    layers = {layer.name: layer for layer in counts.layers}
    assert {name: (la.dense_padded, la.dense) for name, la in layers.items()} == {
        "conv1": (9_437_184, 9_048_064),
        "conv2": (37_748_736, 34_668_544),
        "conv3": (1_179_648, 991_232),
        "fc": (163_840, 163_840),
    }
    kinds = {name: layer.input_kind for name, layer in layers.items()}
    assert kinds == {"conv1": "binary", "conv2": "sum-pooled", "conv3": "sum-pooled", "fc": "binary"}
    inputs = {"conv1": frames, "fc": trace.layers["sn3"].raster}
    for name, source in (("conv2", "sn1"), ("conv3", "sn2")):
        raster = trace.layers[source].raster
        inputs[name] = np.sum([raster[..., i::2, j::2] for i in (0, 1) for j in (0, 1)], axis=0)
    for name, x in inputs.items():
        layer = layers[name]
        assert layer.pairs == _by_convolution(network, name, x != 0)
        assert layer.events == _by_convolution(network, name, x)
        assert layer.input_events == x.sum()
        assert (layer.pairs < layer.events) == (layer.input_kind == "sum-pooled")
    for name, neurons in (("conv1", "sn1"), ("conv2", "sn2"), ("conv3", "sn3"), ("fc", "out")):
        assert layers[name].spikes == trace.layers[neurons].spikes
        assert layers[name].neurons == int(np.prod(network.shapes[neurons]))


def test_batch_norm_gate_and_average_pool_before_the_neurons_cost_nothing() -> None:
    norm = batch_norm(np.full(4, v) for v in (1.0, 0.0, 0.0, 1.0))
    between = (Layer("bn", norm), Layer("pool", AvgPool2d((2, 2))), Layer("asa", Gate(np.full(4, 0.5))))
    rest = (Layer("sn", ONE), Layer("fc", Dense(np.ones((3, 36)))), Layer("out", ONE))
    pooled = _made_of((2, 6, 7), Layer("conv", _conv(4, 2)), *between, *rest)
    strided = _made_of((2, 6, 7), Layer("conv", _conv(4, 2, stride=2, kernel=4)), *rest)
    assert pooled.shapes["sn"] == strided.shapes["sn"] == (4, 3, 3)
    frames = np.random.default_rng(0).poisson(0.7, (3, 2, 2, 6, 7)).astype(np.uint16)
    trace = _drawn(pooled, frames)
    first, second = (count(network, frames, trace).layers for network in (pooled, strided))
    assert first[1] == second[1]
    assert (first[0].spikes, first[0].neurons) == (second[0].spikes, 36)
    assert first[0].events == _by_convolution(pooled, "conv", frames)
    assert first[0].dense > 2 * second[0].dense


def test_a_sum_pool_drops_the_remainder_and_keeps_every_other_spike() -> None:
    network = _made_of(
        (1, 2, 5),
        Layer("conv", _conv(1, 1)),
        Layer("sn", ONE),
        Layer("pool", SumPool2d((2, 2))),
        Layer("fc", Dense(np.ones((3, 2)))),
        Layer("out", ONE),
    )
    frames = np.ones((1, 1, 1, 2, 5), np.uint16)
    full = Trace("x", {"sn": LayerTrace(frames), "out": LayerTrace(np.zeros((1, 1, 3, 1, 1), np.uint16))})
    fc = count(network, frames, full).layers[1]
    assert (fc.pairs, fc.events, fc.input_events) == (6, 24, 8)


def test_several_inputs_of_a_layer_are_added_up() -> None:
    network = _made_of(
        (1, 2, 2),
        Layer("conv1", _conv(1, 1)),
        Layer("sn1", ONE),
        Layer("conv2", _conv(1, 1)),
        Layer("sn2", ONE),
        Layer("fc", Dense(np.ones((5, 4))), ("sn1", "sn2")),
        Layer("out", ONE),
    )
    frames = np.zeros((1, 1, 1, 2, 2), np.uint16)
    first = np.array([1, 1, 0, 0], np.uint16).reshape(frames.shape)
    second = np.array([0, 1, 1, 0], np.uint16).reshape(frames.shape)
    out = np.zeros((1, 1, 5, 1, 1), np.uint16)
    trace = Trace("x", {"sn1": LayerTrace(first), "sn2": LayerTrace(second), "out": LayerTrace(out)})
    fc = count(network, frames, trace).layers[2]
    assert (fc.pairs, fc.events, fc.input_events) == (15, 20, 4)


def test_silence_costs_nothing_but_its_dense_passes() -> None:
    network = _variant_a()
    frames = np.zeros((2, 1, 2, 32, 32), np.uint16)
    counts = count(network, frames, _drawn(network, frames, share=0.0))
    assert counts.total("pairs") == counts.total("events") == counts.total("spikes") == 0
    assert counts.nasfr == 0
    assert counts.total("dense") > 0
    assert [layer.input_kind for layer in counts.layers[:1]] == ["binary"]


def test_counts_far_beyond_what_a_float_holds_are_exact() -> None:
    """7e12 operations, 5e7 events a pixel, one event missing; float32 ends at 2^24, uint32 at 4e9."""
    network = _made_of((1, 16, 16), Layer("conv", _conv(64, 1)), Layer("sn", ONE))
    frames = np.full((400, 2, 1, 16, 16), 65_535, np.uint16)
    frames[0, 0, 0, 0, 0] = 65_534
    trace = Trace("x", {"sn": LayerTrace(np.ones((400, 2, 64, 16, 16), np.uint16))})
    layer = count(network, frames, trace).layers[0]
    synapses = 64 * (3 * 16 - 2) ** 2
    assert layer.events == 800 * 65_535 * synapses - 4 * 64
    assert layer.pairs == layer.dense == 800 * synapses
    assert layer.input_events == 800 * 65_535 * 16 * 16 - 1
    assert layer.spikes == 800 * 64 * 16 * 16


def test_clips_and_steps_only_add_up() -> None:
    network = _variant_a()
    frames = np.random.default_rng(0).poisson(0.1, (4, 3, 2, 32, 32)).astype(np.uint16)
    trace = _drawn(network, frames)
    whole = count(network, frames, trace)
    parts = []
    for n in range(3):
        one = {name: LayerTrace(layer.raster[:, n : n + 1]) for name, layer in trace.layers.items()}
        parts.append(count(network, frames[:, n : n + 1], Trace("x", one)))
    for field in ("dense_padded", "dense", "pairs", "events", "input_events", "spikes"):
        assert whole.total(field) == sum(part.total(field) for part in parts)
    assert whole.nasfr == pytest.approx(np.mean([part.nasfr for part in parts]), rel=1e-12)


def test_a_trace_of_other_neurons_is_refused() -> None:
    network, frames, trace = _line()
    lacking = Trace("hand", {"sn": trace.layers["sn"]})
    with pytest.raises(MismatchError, match="out"):
        count(network, frames, lacking)
    other = LayerTrace(np.ones((2, 1, 1, 1, 1), np.uint16))
    with pytest.raises(MismatchError, match="sn"):
        count(network, frames, Trace("hand", {**trace.layers, "sn": other}))


def test_a_trace_of_other_clips_is_refused() -> None:
    network, frames, trace = _line()
    twice = np.concatenate([frames, frames], axis=1)
    with pytest.raises(MismatchError, match="sn"):
        count(network, twice, trace)
