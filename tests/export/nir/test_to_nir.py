# SPDX-License-Identifier: Apache-2.0
"""The NIR file, read back with nir: every node, number and edge; what NIR cannot say is listed or refused."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import nir
import numpy as np
import pytest

from spikefold.errors import UnsupportedError
from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Fire, Leak, Neuron, Order, Overflow, Reset
from spikefold.export.nir.to_nir import losses, to_graph, write
from spikefold.export.ops import AvgPool2d, BatchNorm, Conv2d, Dense, Gate, SumPool2d
from spikefold.hardware.simulators import reference

ABOVE = Neuron(np.array(0.5), Fire.GT)


def _network(neuron: Neuron = ABOVE) -> Network:
    rng = np.random.default_rng(0)
    conv = Conv2d(rng.normal(0.1, 0.4, (4, 1, 3, 2)), rng.normal(size=4), (2, 1), (1, 0), (1, 2), 2)
    layers = (
        Layer("conv", conv),
        Layer("n", replace(neuron, threshold=rng.uniform(0.3, 0.9, (4, 1, 1)))),
        Layer("pool", SumPool2d((1, 2))),
        Layer("fc", Dense(rng.normal(0, 0.3, (6, 4 * 4 * 2)))),
        Layer("m", replace(neuron, leak=Leak(0.75))),
        Layer("last", Dense(rng.normal(0.3, 0.8, (3, 6)), rng.normal(size=3))),
        Layer("out", replace(neuron, leak=Leak(0.0))),
    )
    return Network(InputSpec((2, 7, 7), 2500, 5), layers, 3)


def _read(network: Network, tmp_path: Path) -> nir.NIRGraph:
    write(network, tmp_path / "net.nir")
    assert [path.name for path in tmp_path.iterdir()] == ["net.nir"]
    return nir.read(str(tmp_path / "net.nir"))


def test_the_file_holds_every_node_number_and_edge(tmp_path: Path) -> None:
    network = _network()
    graph = _read(network, tmp_path)
    assert {name: type(node).__name__ for name, node in graph.nodes.items()} == {
        "input": "Input",
        "conv": "Conv2d",
        "n": "IF",
        "pool": "SumPool2d",
        "fc_flatten": "Flatten",
        "fc": "Linear",
        "m": "LIF",
        "last": "Affine",
        "out": "LIF",
        "output": "Output",
    }
    chain = ["input", "conv", "n", "pool", "fc_flatten", "fc", "m", "last", "out", "output"]
    assert sorted(graph.edges) == sorted(pairwise(chain))

    conv, ours = graph.nodes["conv"], network["conv"].op
    assert isinstance(ours, Conv2d)
    np.testing.assert_array_equal(conv.weight, ours.weight)
    np.testing.assert_array_equal(conv.bias, ours.bias)
    geometry = [np.asarray(v).tolist() for v in (conv.input_shape, conv.stride, conv.padding, conv.dilation)]
    assert (geometry, int(conv.groups)) == ([[7, 7], [2, 1], [1, 0], [1, 2]], 2)
    np.testing.assert_array_equal(graph.nodes["fc"].weight, network["fc"].op.weight)
    np.testing.assert_array_equal(graph.nodes["last"].weight, network["last"].op.weight)
    np.testing.assert_array_equal(graph.nodes["last"].bias, network["last"].op.bias)
    pool = graph.nodes["pool"]
    assert [pool.kernel_size.tolist(), pool.stride.tolist(), pool.padding.tolist()] == [[1, 2], [1, 2], [0, 0]]
    assert graph.nodes["input"].input_type["input"].tolist() == [2, 7, 7]
    assert graph.nodes["output"].output_type["output"].tolist() == [3]


def test_neurons_have_their_shape_threshold_and_time_constant_in_steps(tmp_path: Path) -> None:
    network = _network()
    graph = _read(network, tmp_path)
    fire = graph.nodes["n"]
    np.testing.assert_array_equal(fire.v_threshold, np.broadcast_to(network["n"].op.threshold, (4, 4, 5)))
    assert (fire.r == 1).all()
    # keep = 1 - 1/tau and input weight r/tau = 1
    for name, tau in (("m", 4.0), ("out", 1.0)):
        node = graph.nodes[name]
        assert node.v_threshold.shape == network.shapes[name][:1]
        assert (node.tau == tau).all()
        assert (node.r / node.tau == 1).all()
        assert (node.v_leak == 0).all()
        assert (node.v_threshold == 0.5).all()


def test_the_files_equations_fire_the_same_spikes(tmp_path: Path) -> None:
    """NIR's own dynamics, one Euler step a time step, on the numbers of the file."""
    network = _network()
    graph = _read(network, tmp_path)
    frames = np.random.default_rng(1).poisson(0.6, (5, 8, 2, 7, 7))
    ours = reference.run(network, frames).layers
    spikes = {"n": frames.astype(float)}
    for name, source, before in (("n", "conv", "n"), ("m", "fc", "n"), ("out", "last", "m")):
        node, weights = graph.nodes[name], graph.nodes[source]
        v = np.zeros((8, *node.v_threshold.shape))
        fired = []
        for x in spikes[before]:
            if source == "conv":
                stride, padding, dilation = (
                    (int(y), int(x)) for y, x in (weights.stride, weights.padding, weights.dilation)
                )
                current = reference.apply(
                    Conv2d(weights.weight, weights.bias, stride, padding, dilation, int(weights.groups)), x
                )
            else:
                x = reference.apply(SumPool2d((1, 2)), x) if source == "fc" else x
                current = x.reshape(8, -1) @ weights.weight.T + getattr(weights, "bias", 0)
            if isinstance(node, nir.LIF):
                v = v + (node.v_leak - v + node.r * current) / node.tau
            else:
                v = v + node.r * current
            fired.append((v > node.v_threshold).astype(float))
            v = np.where(fired[-1] > 0, 0, v)
        spikes[name] = np.stack(fired)
        raster = ours[name].raster.reshape(spikes[name].shape)
        assert int((raster != spikes[name]).sum()) == 0
        assert 0.02 < raster.mean() < 0.8, name


def test_branches_and_a_dense_layer_on_two_sources_keep_their_edges(tmp_path: Path) -> None:
    conv = Conv2d(np.ones((2, 2, 1, 1)))
    layers = (
        Layer("a", conv, ("input",)),
        Layer("na", ABOVE, ("a",)),
        Layer("b", conv, ("input",)),
        Layer("nb", ABOVE, ("a", "b")),
        Layer("d", Dense(np.ones((2, 12))), ("na", "nb")),
        Layer("o", ABOVE),
    )
    graph = _read(Network(InputSpec((2, 2, 3), 1000, 5), layers, 1), tmp_path)
    assert sorted(graph.edges) == sorted([
        ("input", "a"), ("a", "na"), ("input", "b"), ("a", "nb"), ("b", "nb"), ("na", "d_flatten"),
        ("nb", "d_flatten"), ("d_flatten", "d"), ("d", "o"), ("o", "output"),
    ])  # fmt: skip


def test_a_leak_that_keeps_everything_is_integrate_and_fire() -> None:
    layers = (Layer("w", Dense(np.ones((1, 1)))), Layer("n", replace(ABOVE, leak=Leak(1.0))))
    node = to_graph(Network(InputSpec((1, 1, 1), 1000, 5), layers, 1)).nodes["n"]
    assert isinstance(node, nir.IF)


def test_a_last_layer_called_output_is_not_lost() -> None:
    layers = (Layer("w", Dense(np.ones((1, 1)))), Layer("output", ABOVE))
    network = Network(InputSpec((1, 1, 1), 1000, 5), layers, 1)
    try:
        graph = to_graph(network)
    except UnsupportedError:
        return  # a clear refusal will do
    assert any(isinstance(node, nir.IF) for node in graph.nodes.values())


# ---- losses and refusals ----------------------------------------------------------------------------------------


def test_what_a_reader_will_do_differently_is_listed() -> None:
    above = losses(_network())
    assert len(above) == 2
    assert "fires at most once a step" in above[0]
    assert "one step stands for 2500 us" in above[1]
    equal = losses(_network(replace(ABOVE, fire=Fire.GE)))
    assert equal[0] == "NIR neurons fire above the threshold, this network also at equality"
    assert equal[1:] == above


def test_several_spikes_a_step_are_not_listed_as_at_most_one() -> None:
    text = " ".join(losses(_network(replace(ABOVE, max_spikes=None))))
    assert "at most once" not in text


def test_everything_that_nir_has_no_node_for_is_refused_at_once() -> None:
    ones, conv = np.ones(2), Conv2d(np.ones((2, 2, 1, 1)))
    layers = (
        Layer("norm", BatchNorm(ones, ones, ones, ones, 1e-5)),
        Layer("gate", Gate(ones)),
        Layer("mean", AvgPool2d((1, 1))),
        Layer("fine", conv),
        Layer("soft", replace(ABOVE, reset=Reset.SUBTRACT)),
        Layer("c1", conv),
        Layer("value", replace(ABOVE, reset=Reset.VALUE, reset_value=0.1)),
        Layer("c2", conv),
        Layer("bounded", replace(ABOVE, v_min=-1.0)),
        Layer("c3", conv),
        Layer("late", replace(ABOVE, leak=Leak(0.5), order=Order.INPUT_FIRST)),
        Layer("c4", conv),
        Layer("good", ABOVE),
        Layer("d", Dense(np.ones((1, 18)))),
        Layer("out", ABOVE),
    )
    network = Network(InputSpec((2, 3, 3), 1000, 5), layers, 1)
    with pytest.raises(UnsupportedError, match=r"layers that NIR 1\.0 cannot express") as caught:
        to_graph(network)
    assert {issue.where: issue.got for issue in caught.value.issues} == {
        "norm": "BatchNorm",
        "gate": "Gate",
        "mean": "AvgPool2d",
        "soft": "reset by subtract",
        "value": "reset by value",
        "bounded": "a lower bound of the state",
        "late": "order input, leak, fire, reset",
    }


def test_an_integer_leak_and_a_bounded_state_are_refused(tmp_path: Path) -> None:
    base = Neuron(np.array(5), Fire.GT)
    for neuron, got in (
        (replace(base, leak=Leak(5, 3)), "an integer leak"),
        (replace(base, state_bits=8, overflow=Overflow.SATURATE), "a state of 8 bits"),
    ):
        layers = (Layer("w", Dense(np.ones((1, 1), int))), Layer("n", neuron))
        with pytest.raises(UnsupportedError) as caught:
            write(Network(InputSpec((1, 1, 1), 1000, 5), layers, 1), tmp_path / "net.nir")
        assert [issue.got for issue in caught.value.issues] == [got]
    assert list(tmp_path.iterdir()) == []
