# SPDX-License-Identifier: Apache-2.0
"""What is in the network that a ``.net`` file becomes, of ours and of slayer's."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from spikefold.export.neuron import Fire, Leak, Neuron
from spikefold.export.ops import Conv2d, Dense
from spikefold.hardware.loihi.chip import LOIHI2
from spikefold.hardware.loihi.from_netx import from_net
from spikefold.hardware.loihi.to_netx import write_net
from spikefold.hardware.simulators import clocked, reference
from tests.hardware.loihi.netx_cases import (
    T,
    changed,
    events,
    ints,
    ours,
    refused,
    slayer_layers,
    slayer_neuron,
    write,
)


@pytest.mark.parametrize(("leaky", "currents"), [*itertools.product([False, True], repeat=2)])
def test_our_own_file_gives_the_same_network_back(tmp_path: Path, leaky: bool, currents: bool) -> None:
    network = ours(3, leaky, currents)
    path = write_net(network, tmp_path / "a.net")
    back = from_net(path, dt_us=1000, classes=2)
    assert (back.input.shape, back.input.steps, back.classes) == ((2, 6, 8), T, 2)
    for before, after in zip(network, back, strict=True):
        ours_: Any = before.op
        theirs: Any = after.op
        if isinstance(ours_, Conv2d | Dense):
            np.testing.assert_array_equal(theirs.weight, ours_.weight)
            np.testing.assert_array_equal(theirs.bias, ours_.bias)
        else:
            assert repr(replace(theirs, threshold=ours_.threshold)) == repr(ours_)
            assert theirs.threshold == ours_.threshold
    frames = events((2, 6, 8))
    runs = [runner.run(net, frames) for net in (network, back) for runner in (reference, clocked)]
    for rasters in zip(*([layer.raster for layer in run.layers.values()] for run in runs), strict=True):
        assert rasters[0].sum() > 20
        assert all(np.array_equal(raster, rasters[0]) for raster in rasters[1:])
    assert write_net(back, tmp_path / "b.net").read_bytes() == path.read_bytes()


def test_a_file_in_slayers_style(tmp_path: Path) -> None:
    network = from_net(write(tmp_path / "a.net", slayer_layers()))
    kinds = [(layer.name, type(layer.op).__name__, network.shapes[layer.name]) for layer in network]
    weights = [("conv1", "Conv2d", (4, 3, 8)), ("dense3", "Dense", (5, 1, 1)), ("dense4", "Dense", (1, 1, 1))]
    assert kinds[::2] == weights
    assert kinds[1::2] == [(f"{name}.spikes", "Neuron", shape) for name, _, shape in weights]
    np.testing.assert_array_equal(2 * network["conv1"].op.weight, slayer_layers()[1]["weight"][..., 0])
    neuron = network["dense3.spikes"].op
    assert isinstance(neuron, Neuron)
    assert (neuron.threshold, neuron.leak, neuron.fire, neuron.state_shift) == (40, Leak(3584, 12), Fire.GT, 7)
    assert network["dense4"].op.weight.tolist() == [[45, 15, -20, 33, 60]]
    assert network["conv1"].source == "net layer/1 (conv)"
    assert LOIHI2.violations(network) == []


def test_an_odd_threshold_keeps_the_numbers_of_the_file(tmp_path: Path) -> None:
    """25 half weights are no whole weight: slayer's own PilotNet has that threshold."""
    network = from_net(write(tmp_path / "a.net", slayer_layers(vThMant=25)))
    neuron = network["conv1.spikes"].op
    assert isinstance(neuron, Neuron)
    assert (neuron.threshold, neuron.state_shift) == (25, 6)
    assert network["dense4"].op.weight.tolist() == [[90, 30, -40, 66, 120]]
    assert LOIHI2.violations(network) == []
    with h5py.File(write_net(network, tmp_path / "b.net")) as file:
        assert file["layer/4/neuron/vThMant"][()] == 25
        assert file["layer/4/weight"][()].tolist() == [[90, 30, -40, 66, 120]]


@pytest.mark.parametrize("field", ["weight", "bias"])
def test_one_odd_number_keeps_the_numbers_of_the_file(tmp_path: Path, field: str) -> None:
    layers = slayer_layers()
    layers[3][field].flat[0] += 1
    network = from_net(write(tmp_path / "a.net", layers))
    assert [layer.op.state_shift for layer in network.neurons] == [7, 6, 7]
    np.testing.assert_array_equal(getattr(network["dense3"].op, field), layers[3][field])


def test_a_stride_for_both_axes(tmp_path: Path) -> None:
    op = from_net(write(tmp_path / "a.net", [*changed(1, stride=2, shape=(4, 3, 4))[:2]]))["conv1"].op
    assert isinstance(op, Conv2d)
    assert (op.stride, op.padding) == ((2, 2), (1, 0))


def test_neurons_of_the_input_become_a_layer(tmp_path: Path) -> None:
    layers = changed(
        0, neuron=slayer_neuron(vThMant=40), weight=np.array([36], np.float32), bias=np.array([34], np.float32)
    )
    network = from_net(write(tmp_path / "a.net", layers), max_count=2)
    op = network["input0"].op
    assert isinstance(op, Conv2d)
    assert (op.weight.shape, op.groups, np.unique(op.weight).tolist()) == ((2, 1, 1, 1), 2, [18])
    assert op.bias.tolist() == [17, 17]
    assert network.shapes["input0.spikes"] == (2, 6, 9)
    vector: list[dict[str, Any]] = [
        {"type": "input", "shape": (7,), "neuron": slayer_neuron()},
        {"type": "dense", "shape": (2,), "weight": 2 * ints(3, 2, 7), "neuron": slayer_neuron()},
    ]
    plain = from_net(write(tmp_path / "b.net", vector))
    assert np.unique(plain["input0"].op.weight).tolist() == [32]
    assert plain["input0"].op.bias is None
    assert LOIHI2.violations(plain) == []


def test_biases_of_a_convolution(tmp_path: Path) -> None:
    """One a channel, or in netx' order (W, H, C)."""
    everywhere = np.broadcast_to(np.array([12, -40, 0, 66]), (8, 3, 4))
    network = from_net(write(tmp_path / "a.net", changed(1, bias=everywhere)))
    assert network["conv1"].op.bias.tolist() == [6, -20, 0, 33]
    uneven = np.array(everywhere)
    uneven[3, 1, 2] = 8
    assert refused(tmp_path, changed(1, bias=uneven)) == [("layer/1", "bias of a channel")]
    for bias in (6, np.array([6]), np.zeros((4, 3, 8), int)):
        assert refused(tmp_path, changed(1, bias=bias)) == [("layer/1", "conv bias")]
    assert refused(tmp_path, changed(3, bias=np.array([1, 2]))) == [("layer/3", "dense bias")]


def test_spikes_joined_by_or(tmp_path: Path) -> None:
    """netx' way to pool: any spike fires, nothing stays."""
    layers = changed(1, weight=2 * np.ones((4, 2, 3, 2)), bias=None, neuron=slayer_neuron(vThMant=0, vDecay=4096))
    neuron = from_net(write(tmp_path / "a.net", layers))["conv1.spikes"].op
    assert isinstance(neuron, Neuron)
    assert (neuron.threshold, neuron.fire, neuron.leak) == (1, Fire.GE, None)
    layers[1]["bias"] = np.array([0, -2, 0, 0])
    assert refused(tmp_path, layers) == [("layer/1", "vThMant")]
