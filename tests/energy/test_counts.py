# SPDX-License-Identifier: Apache-2.0
"""Counts are whole, exact, and equal to visiting every synapse of every spike."""

from __future__ import annotations

import numpy as np
import pytest

from spikefold.energy.counts import count
from spikefold.errors import MismatchError
from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Neuron
from spikefold.export.ops import AvgPool2d, BatchNorm, Conv2d, Dense, SumPool2d
from spikefold.hardware import reference
from spikefold.hardware.trace import LayerTrace, Trace

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
