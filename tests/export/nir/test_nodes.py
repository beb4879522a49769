# SPDX-License-Identifier: Apache-2.0
"""Neurons, operations and graphs of NIR, one by one, against the tool or the arithmetic that they stand for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest
import torch
from torch import nn

from spikefold.errors import DataError
from spikefold.export.io import identity
from spikefold.export.neuron import Leak, Neuron
from spikefold.export.nir.file import Node
from spikefold.export.nir.from_nir import read
from spikefold.export.nir.ops import operation
from spikefold.export.nir.options import NirOptions
from spikefold.export.ops import AvgPool2d, SumPool2d
from spikefold.hardware.simulators import reference
from tests.export.nir.nir_cases import (
    OURS,
    chain_file,
    conv_node,
    ends,
    frames_of,
    graph_file,
    if_node,
    issues_of,
    lif_node,
    same_spikes,
)

pytestmark = pytest.mark.usefixtures("in_this_process")


# ---- neurons ----------------------------------------------------------------------------------------------------


def test_input_scaling_is_folded_into_the_threshold(tmp_path: Path, rng: np.random.Generator) -> None:
    """The file's own equation with r dt/tau = 1/4 against the network, spike for spike."""
    weight = rng.integers(-8, 64, (5, 4)) / 16
    path = chain_file(tmp_path / "n.nir", 4, nir.Linear(weight), lif_node(5, tau=8.0, r=2.0, theta=0.75), out=5)
    network = read(path, NirOptions(convention="spikefold", v_min=-0.25))
    neuron = network["n1"].op
    assert isinstance(neuron, Neuron)
    assert (float(neuron.threshold), neuron.leak, neuron.v_min) == (3.0, Leak(0.875), -1.0)
    frames, v, spikes = frames_of((4, 1, 1), steps=15), np.zeros((4, 5)), []
    for x in frames.reshape(15, 4, 4) @ weight.T:
        v = v + (0 - v + 2.0 * x) / 8.0
        spikes.append(v >= 0.75)
        v = np.maximum(np.where(spikes[-1], 0, v), -0.25)
    same_spikes(reference.run(network, frames).layers["n1"].raster, np.stack(spikes).astype(int))


def test_time_steps_and_discretisation_are_options(tmp_path: Path) -> None:
    path = chain_file(tmp_path / "n.nir", 2, nir.Linear(np.eye(2)), lif_node(2, tau=0.02, r=3.0))
    for options, keep, gain in (
        (NirOptions(convention="spikefold", dt=0.005), 0.75, 0.75),
        (NirOptions(convention="spikefold", dt=0.005, leak="exponential"), np.exp(-0.25), 3 * (1 - np.exp(-0.25))),
        (NirOptions(convention="spikefold", dt=0.005, gain="one"), 0.75, 1.0),
    ):
        neuron = read(path, options)["n1"].op
        assert isinstance(neuron, Neuron)
        assert neuron.leak is not None
        assert neuron.leak.keep == pytest.approx(keep, rel=1e-12)
        assert float(neuron.threshold) == pytest.approx(1 / gain, rel=1e-12)
    spikes = chain_file(tmp_path / "i.nir", 2, nir.Linear(np.eye(2)), if_node(2, r=4.0, theta=2.0))
    assert float(read(spikes, NirOptions(convention="spikefold", dt=0.25))["n1"].op.threshold) == 2.0
    assert float(read(spikes, OURS)["n1"].op.threshold) == 0.5


def test_float32_rounding_of_a_gain_of_one_is_one_and_a_real_gain_is_not(tmp_path: Path) -> None:
    for r, theta in ((np.float32(7) * np.float32(1 + 2**-23), 1.0), (7 * 1.001, 1 / 1.001)):
        path = chain_file(tmp_path / "n.nir", 1, nir.Linear(np.eye(1)), lif_node(1, tau=7.0, r=float(r)))
        neuron = read(path, OURS)["n1"].op
        assert isinstance(neuron, Neuron)
        assert float(neuron.threshold) == pytest.approx(theta, rel=1e-9, abs=0 if theta != 1 else 1e-300)
        assert (float(neuron.threshold) == 1.0) == (theta == 1.0)


@pytest.mark.parametrize("flat", [False, True])
def test_thresholds_take_the_smallest_form_that_says_the_same(tmp_path: Path, flat: bool) -> None:
    by_channel = np.broadcast_to(np.array([1.0, 2, 3]).reshape(3, 1, 1), (3, 2, 2))
    for values, shape in (
        (np.full((3, 2, 2), 1.5), ()),
        (by_channel, (3, 1, 1)),
        (np.arange(1.0, 13).reshape(3, 2, 2), (3, 2, 2)),
    ):
        first, last = ends((2, 2, 2), (3, 2, 2))
        own = values.reshape(-1) if flat else values
        nodes = {"in": first, "c": conv_node((3, 2, 1, 1), (2, 2)), "n": nir.IF(np.ones(own.shape), own), "out": last}
        if flat:
            flatten = nir.Flatten({"input": np.array([3, 2, 2])}, 0, -1)
            nodes = {"in": first, "c": nodes["c"], "f": flatten, "n": nodes["n"], "out": last}
        neuron = read(graph_file(tmp_path / "n.nir", nodes), OURS)["n"].op
        assert isinstance(neuron, Neuron)
        assert neuron.threshold.shape == shape
        np.testing.assert_array_equal(np.broadcast_to(neuron.threshold, (3, 2, 2)), values)


def test_a_current_that_forgets_within_a_step_is_a_leaky_neuron(tmp_path: Path) -> None:
    one, w_in = np.ones(2), np.full(2, 0.5)
    for tau_syn, leak in ((0.0, None), (0.0, "exponential"), (1.0, None)):
        cuba = nir.CubaLIF(tau_syn * one, 4 * one, 4 * one, 0 * one, one, w_in)
        neuron = read(
            chain_file(tmp_path / "n.nir", 2, nir.Linear(np.eye(2)), cuba),
            NirOptions(convention="spikefold", leak=leak),
        )["n1"].op
        assert isinstance(neuron, Neuron)
        kept = 0.75 if leak is None else float(np.exp(-0.25))
        assert neuron.leak == Leak(kept)
        assert float(neuron.threshold) == pytest.approx(2.0 if leak is None else 2 / (4 * (1 - kept)), rel=1e-12)


@pytest.mark.parametrize("leak", [None, "exponential"])
def test_a_current_that_lasts_is_one_of_ours(tmp_path: Path, leak: Any) -> None:
    """The file's two equations, written out, against the network, spike for spike."""
    one, w_in, tau_syn, tau, r = np.ones(5), 1.5, 2.5, 4.0, 3.0
    weight = np.random.default_rng(4).normal(0.2, 0.5, (5, 4))
    cuba = nir.CubaLIF(tau_syn * one, tau * one, r * one, 0 * one, one, w_in * one)
    path = chain_file(tmp_path / "n.nir", 4, nir.Linear(weight), cuba, out=5)
    network = read(path, NirOptions(convention="spikefold", leak=leak))
    neuron = network["n1"].op
    assert isinstance(neuron, Neuron)
    assert neuron.current is not None
    shares = [1 / value if leak is None else 1 - np.exp(-1 / value) for value in (tau_syn, tau)]
    frames, current, v, spikes = frames_of((4, 1, 1), steps=15), np.zeros((4, 5)), np.zeros((4, 5)), []
    for x in frames.reshape(15, 4, 4) @ weight.T:
        current = (1 - shares[0]) * current + shares[0] * w_in * x
        v = (1 - shares[1]) * v + shares[1] * r * current
        spikes.append(v >= 1)
        v = np.where(spikes[-1], 0, v)
    same_spikes(reference.run(network, frames).layers["n1"].raster, np.stack(spikes).astype(int))


# ---- operations -------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("kernel", [(3, 3), (2, 4), (4, 1), (5, 2)])
@pytest.mark.parametrize("dilation", [1, (2, 3), (3, 1)])
@pytest.mark.parametrize("padding", ["same", "valid", 1, (2, 0)])
def test_convolutions_are_those_of_torch(kernel: Any, dilation: Any, padding: Any, rng: np.random.Generator) -> None:
    conv = conv_node((4, 1, *kernel), (14, 13), padding=padding, dilation=dilation, groups=2, bias=np.arange(4.0))
    theirs = torch.from_numpy(rng.normal(size=(3, 2, 14, 13)))
    weight, bias = torch.from_numpy(conv.weight), torch.from_numpy(conv.bias)
    expected = nn.functional.conv2d(theirs, weight, bias, 1, padding, dilation, 2).numpy()
    fields = {key: value if isinstance(value, str) else np.array(value) for key, value in conv.to_dict().items()}
    op = operation(Node("c", "Conv2d", fields), (14, 13))
    np.testing.assert_allclose(reference.apply(op, theirs.numpy()), expected, rtol=0, atol=1e-12)


def test_pools_strides_and_zero_biases(tmp_path: Path) -> None:
    first, last = ends((2, 9, 9), (3, 2, 1))
    conv = conv_node((3, 2, 2, 2), (9, 9), stride=(2, 1), padding=(0, 1))
    nodes = {
        "in": first,
        "sum": nir.SumPool2d(np.array([1, 1]), np.array([1, 1]), np.array([0, 0])),
        "c": conv,
        "n": if_node(3, 4, 10),
        "avg": nir.AvgPool2d(np.array([2, 5]), np.array([2, 5]), np.array([0, 0])),
        "c2": conv_node((3, 3, 1, 1), (2, 2)),
        "n2": if_node(3, 2, 2),
        "s": nir.SumPool2d(np.array([1, 2]), np.array([1, 2]), np.array([0, 0])),
        "c3": conv_node((3, 3, 1, 1), (2, 1)),
        "o": if_node(3, 2, 1),
        "out": last,
    }
    network = read(graph_file(tmp_path / "n.nir", nodes), OURS)
    ops = {layer.name: layer.op for layer in network}
    assert (ops["c"].stride, ops["c"].padding, ops["c"].bias) == ((2, 1), (0, 1), None)
    assert ops["avg"] == AvgPool2d((2, 5))
    assert ops["s"] == SumPool2d((1, 2))
    assert network.shapes["s"] == (3, 2, 1)


def test_graphs_inside_graphs_are_flattened(tmp_path: Path) -> None:
    inner_in, inner_out = ends((2,), (2,))
    block = nir.NIRGraph(
        {"input": inner_in, "w": nir.Linear(2 * np.eye(2)), "s": if_node(2), "output": inner_out},
        [("input", "w"), ("w", "s"), ("s", "output")],
    )
    outer = nir.NIRGraph(
        {"input": inner_in, "block": block, "output": inner_out}, [("input", "block"), ("block", "output")]
    )
    first, last = ends((2,), (2,))
    nodes = {"in": first, "a": outer, "b": block, "w": nir.Linear(np.eye(2)), "o": if_node(2), "out": last}
    edges = [("in", "a"), ("a", "b"), ("b.output", "w"), ("a", "w"), ("w", "o"), ("o", "out")]
    with pytest.raises(DataError, match=r"b\.output"):  # only nested nodes have such names, and this one is nested
        read(graph_file(tmp_path / "x.nir", nodes, [*edges, ("b.outputs", "w")]), OURS)
    network = read(graph_file(tmp_path / "n.nir", nodes, edges), OURS)
    assert {layer.name: layer.inputs for layer in network} == {
        "a.block.w": ("input",),
        "a.block.s": ("a.block.w",),
        "b.w": ("a.block.s",),
        "b.s": ("b.w",),
        "w": ("a.block.s", "b.s"),
        "o": ("w",),
    }


def test_a_layer_called_like_our_input_keeps_its_place(tmp_path: Path) -> None:
    first, last = ends((2,), (2,))
    network = read(
        graph_file(tmp_path / "n.nir", {"x": first, "input": nir.Linear(np.eye(2)), "o": if_node(2), "out": last}),
        OURS,
    )
    assert [(layer.name, layer.inputs) for layer in network] == [("input_", ("input",)), ("o", ("input_",))]


def test_the_input_may_be_declared_by_option(tmp_path: Path) -> None:
    path = chain_file(tmp_path / "n.nir", 8, nir.Linear(np.ones((2, 8))), if_node(2), out=2)
    assert read(path, OURS).input.shape == (8, 1, 1)
    assert read(path, NirOptions(convention="spikefold", input_shape=(2, 2, 2))).input.shape == (2, 2, 2)
    assert "in (Input): input shape" in issues_of(path, input_shape=(2, 2, 3))


def test_files_of_a_newer_nir_are_read(tmp_path: Path) -> None:
    """``v_reset`` came after 1.0.4; zeros say nothing new. A field that nobody knows may say anything."""
    path = chain_file(tmp_path / "n.nir", 2, nir.Linear(np.eye(2)), lif_node(2))
    before = identity(read(path, OURS))
    with h5py.File(path, "a") as file:
        file["node/nodes/n1/v_reset"] = np.zeros(2)
    assert identity(read(path, OURS)) == before
    with h5py.File(path, "a") as file:
        file["node/nodes/n1/v_reset"][1] = -0.5
        file["node/nodes/n1/refractory"] = np.ones(2)
    found = issues_of(path)
    assert found == {"n1 (LIF): known fields": "['refractory']", "n1 (LIF): v_reset is zero": "-0.5 to 0"}
