# SPDX-License-Identifier: Apache-2.0
"""``.nir`` files in: the same spikes as the tool that wrote them, and a named refusal of everything else."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest
import sinabs.layers as sl
import torch
from sinabs.nir import to_nir as sinabs_to_nir
from torch import nn

from spikefold.errors import ConfigError, DataError, UnsupportedError
from spikefold.export import to_nir
from spikefold.export.from_nir import read
from spikefold.export.io import identity
from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Fire, Leak, Neuron, Reset
from spikefold.export.nir import file as nir_file
from spikefold.export.nir import hdf5 as nir_hdf5
from spikefold.export.nir.file import Node
from spikefold.export.nir.ops import operation
from spikefold.export.nir.options import NirOptions, nir_options
from spikefold.export.ops import AvgPool2d, Conv2d, Dense, SumPool2d
from spikefold.hardware import reference

RNG = np.random.default_rng(5)


@pytest.fixture
def isolated() -> None:
    """For tests of damaged files: read as the program does, in a process of its own."""


@pytest.fixture(autouse=True)
def _quickly(request: pytest.FixtureRequest, monkeypatch: Any) -> None:
    """Whole files are read by the same code in this process: a hundred starts of Python tell nothing new."""
    if "isolated" not in request.fixturenames:
        monkeypatch.setattr(
            nir_file, "_read_tree", lambda path: nir_file.decoded(*nir_hdf5.read_tree(str(path), "node"))
        )


def _write(path: Path, nodes: dict[str, nir.NIRNode], edges: list[tuple[str, str]] | None = None) -> Path:
    """A graph as a file, a chain in the order of the nodes unless edges are given."""
    nir.write(str(path), nir.NIRGraph(nodes, edges if edges is not None else list(pairwise(nodes))))
    return path


def _ends(shape: tuple[int, ...], out: tuple[int, ...]) -> tuple[nir.Input, nir.Output]:
    return nir.Input({"input": np.array(shape)}), nir.Output({"output": np.array(out)})


def _if(*shape: int, r: float = 1.0, theta: float = 1.0) -> nir.IF:
    return nir.IF(r=np.full(shape, r), v_threshold=np.full(shape, theta))


def _lif(*shape: int, tau: float = 2.0, r: float = 2.0, v_leak: float = 0.0, theta: float = 1.0) -> nir.LIF:
    return nir.LIF(*(np.full(shape, value) for value in (tau, r, v_leak, theta)))


def _conv(shape: tuple[int, ...], size: tuple[int, int], **changed: Any) -> nir.Conv2d:
    given = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "bias": np.zeros(shape[0])} | changed
    # as an array: nir 1.0.4 cannot work out the output of padding "same" from plain numbers
    return nir.Conv2d(np.array(size), RNG.normal(0.1, 0.4, shape), **given)


def _chain(path: Path, inputs: int, *nodes: nir.NIRNode, out: int | None = None) -> Path:
    first, last = _ends((inputs,), (out or inputs,))
    return _write(path, {"in": first, **{f"n{i}": node for i, node in enumerate(nodes)}, "out": last})


def _frames(shape: tuple[int, int, int], rate: float = 0.5, steps: int = 8, clips: int = 4) -> np.ndarray:
    return np.random.default_rng(1).poisson(rate, (steps, clips, *shape)).clip(max=3)


def _equal(one: np.ndarray, other: np.ndarray) -> None:
    assert int((one.reshape(other.shape) != other).sum()) == 0
    assert other.sum() > 0
    assert (other == 0).any()


def _issues(path: Path, **options: Any) -> dict[str, str]:
    """Each refusal as ``node: rule``, with what was got."""
    with pytest.raises(UnsupportedError) as caught:
        read(path, nir_options(**options))
    assert caught.value.where == str(path)
    assert all(issue.hint and issue.limit for issue in caught.value.issues)
    return {f"{issue.where}: {issue.rule}": issue.got for issue in caught.value.issues}


# ---- our own files ----------------------------------------------------------------------------------------------


def _ours() -> Network:
    ge = Neuron(np.array(0.5))
    conv = Conv2d(RNG.normal(0.1, 0.4, (4, 1, 3, 2)), RNG.normal(size=4), (2, 1), (1, 0), (1, 2), 2)
    layers = (
        Layer("conv", conv), Layer("n", replace(ge, threshold=np.array([0.25, 0.5, 0.75, 1]).reshape(4, 1, 1))),
        Layer("pool", SumPool2d((1, 2))), Layer("fc", Dense(RNG.normal(0, 0.3, (6, 32)))),
        Layer("m", replace(ge, leak=Leak(0.75), threshold=np.linspace(0.25, 0.75, 6).reshape(6, 1, 1))),
        Layer("last", Dense(RNG.normal(0.3, 0.8, (4, 6)), RNG.normal(size=4))),
        Layer("out", replace(ge, leak=Leak(0.0))),
    )  # fmt: skip
    return Network(InputSpec((2, 7, 7), 2500, 5, 3), layers, 2)


@pytest.mark.usefixtures("isolated")
def test_a_network_that_we_wrote_comes_back_as_it_was(tmp_path: Path) -> None:
    network = _ours()
    to_nir.write(network, tmp_path / "net.nir")
    back = read(tmp_path / "net.nir", NirOptions(steps=5, dt_us=2500, classes=2, max_count=3))
    assert identity(back) == identity(network)
    assert back["n"].op.threshold.shape == (4, 1, 1)
    frames = _frames((2, 7, 7), steps=5)
    for name, layer in reference.run(network, frames).layers.items():
        _equal(reference.run(back, frames).layers[name].raster, layer.raster)


def test_a_branch_and_a_sum_come_back_as_they_were(tmp_path: Path) -> None:
    conv, ge = Conv2d(RNG.normal(0.2, 0.5, (2, 2, 1, 1))), Neuron(np.array(1.0))
    layers = (
        Layer("a", conv, ("input",)), Layer("na", ge, ("a",)), Layer("b", conv, ("input",)),
        Layer("nb", ge, ("a", "b")), Layer("d", Dense(RNG.normal(0.3, 0.5, (2, 12))), ("na", "nb")), Layer("o", ge),
    )  # fmt: skip
    network = Network(InputSpec((2, 2, 3), 1000, 5), layers, 2)
    to_nir.write(network, tmp_path / "net.nir")
    back = read(tmp_path / "net.nir", NirOptions(steps=5, dt_us=1000))
    assert {layer.name: set(layer.inputs) for layer in back} == {layer.name: set(layer.inputs) for layer in network}
    frames = _frames((2, 2, 3), steps=5)
    ours, theirs = reference.run(network, frames).layers, reference.run(back, frames).layers
    for name in ("na", "nb", "o"):
        _equal(theirs[name].raster, ours[name].raster)


def test_the_order_of_the_file_means_nothing(tmp_path: Path) -> None:
    first, last = _ends((2,), (2,))
    names = [f"l{i}" for i in range(12)]
    made = {name: nir.Linear(RNG.normal(size=(2, 2))) if i % 2 == 0 else _if(2) for i, name in enumerate(names)}
    edges = list(pairwise(["in", *names, "out"]))
    one = _write(tmp_path / "a.nir", {"in": first, **made, "out": last}, edges)
    shuffled = dict(sorted({"in": first, **made, "out": last}.items(), reverse=True))
    two = _write(tmp_path / "b.nir", shuffled, [*edges[::-1], edges[3]])
    assert [layer.name for layer in read(one)] == names
    assert identity(read(one)) == identity(read(two))
    # where nothing else decides, names do, "10" after "9"
    branches = {f"b{i}": nir.Linear(RNG.normal(size=(2, 2))) for i in (10, 9, 100)}
    edges = [("in", "b9"), ("in", "b10"), ("in", "b100"), ("b9", "o"), ("b100", "o"), ("b10", "o"), ("o", "out")]
    path = _write(tmp_path / "c.nir", {"in": first, **branches, "o": _if(2), "out": last}, edges)
    assert [layer.name for layer in read(path)] == ["b9", "b10", "b100", "o"]
    assert read(path)["o"].inputs == ("b9", "b10", "b100")


# ---- sinabs -----------------------------------------------------------------------------------------------------


def test_a_leaky_network_of_sinabs_fires_its_spikes(tmp_path: Path) -> None:
    """``LIFSqueeze`` as it is by default: exp(-1/tau), normalised input, many spikes, subtraction."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(6, 8, bias=False), sl.LIFSqueeze(tau_mem=4.0, spike_threshold=torch.tensor(0.25), batch_size=1),
        nn.Linear(8, 3), sl.LIFSqueeze(tau_mem=7.0, spike_threshold=torch.tensor(0.125), batch_size=1),
    )  # fmt: skip
    model[0].weight.data.abs_().mul_(4)
    model[2].weight.data.abs_()
    frames = _frames((6, 1, 1), steps=20, clips=1)
    found: list[np.ndarray] = []
    with torch.no_grad():
        model(torch.zeros(1, 6))
        graph = sinabs_to_nir(model, torch.zeros(1, 6))
        for layer in (model[1], model[3]):
            layer.reset_states()
            layer.register_forward_hook(lambda _, __, out: found.append(out.numpy()))
        model(torch.from_numpy(frames.reshape(20, 6)).float())
    nir.write(str(tmp_path / "net.nir"), graph)
    network = read(tmp_path / "net.nir", NirOptions(convention="sinabs", steps=20))
    leaks = [la.op.leak.keep for la in network.neurons if isinstance(la.op, Neuron) and la.op.leak]
    np.testing.assert_allclose(leaks, np.exp([-1 / 4, -1 / 7]), rtol=1e-6)
    for ours, theirs in zip(reference.run(network, frames).layers.values(), found, strict=True):
        assert theirs.max() > 1  # several spikes a step
        _equal(ours.raster, theirs)


def test_a_bounded_state_of_sinabs_is_an_option(tmp_path: Path) -> None:
    """``from_model`` bounds states at -1; the file does not say so, and without it the spikes are others."""
    model = nn.Sequential(nn.Linear(6, 8, bias=False), sl.IAFSqueeze(batch_size=1, min_v_mem=-1.0))
    model[0].weight.data = torch.from_numpy(RNG.integers(-32, 36, (8, 6)) / 32).float()
    frames = _frames((6, 1, 1), steps=40, clips=1)
    with torch.no_grad():
        model(torch.zeros(1, 6))
        graph = sinabs_to_nir(model, torch.zeros(1, 6))
        model[1].reset_states()
        theirs = model(torch.from_numpy(frames.reshape(40, 6)).float()).numpy()
    nir.write(str(tmp_path / "net.nir"), graph)
    for v_min, equal in ((-1.0, True), (None, False)):
        network = read(tmp_path / "net.nir", NirOptions(convention="sinabs", v_min=v_min))
        ours = reference.run(network, frames).layers["1"].raster.reshape(theirs.shape)
        assert ((ours != theirs).sum() == 0) == equal
    assert theirs.max() > 1


def test_without_normalised_input_the_gain_is_one(tmp_path: Path) -> None:
    path = _chain(tmp_path / "n.nir", 2, nir.Linear(np.eye(2)), _lif(2, tau=5.0, r=1.0, theta=1.5))
    normal, plain = (read(path, NirOptions(convention="sinabs", gain=gain))["n1"].op for gain in (None, "one"))
    assert isinstance(normal, Neuron)
    assert isinstance(plain, Neuron)
    assert float(normal.threshold) == pytest.approx(1.5 / (1 - np.exp(-1 / 5)), rel=1e-12)
    assert float(plain.threshold) == 1.5
    assert normal.leak == plain.leak == Leak(float(np.exp(-1 / 5)))


# ---- snnTorch ---------------------------------------------------------------------------------------------------


def _leaky(currents: np.ndarray, beta: float, theta: float, *, zero: bool, delay: bool) -> np.ndarray:
    """``Leaky.forward`` of snnTorch 0.9.4, line by line, over currents ``(T, ...)``."""
    mem, spikes = np.zeros_like(currents[0]), []
    for current in currents:
        reset = (mem - theta > 0).astype(float)
        mem = beta * (1 - reset) * mem + current if zero else beta * mem + current - reset * theta
        spikes.append((mem - theta > 0).astype(float))
        if not delay:
            mem = mem - (spikes[-1] - reset) * (mem if zero else theta)
    return np.stack(spikes)


def _snntorch(path: Path, beta: float, weight: np.ndarray) -> Path:
    """What ``export_to_nir`` writes: scalars in one-element arrays, the batch axis kept."""
    with np.errstate(divide="ignore"):
        tau = np.array([1e-4]) / np.array([1 - beta])
    lif = nir.LIF(tau=tau, r=tau / 1e-4, v_leak=np.zeros(1), v_threshold=np.ones(1))
    first, last = _ends((1, 2, 3, 3), (1, len(weight)))
    flat = nir.Flatten({"input": np.array([2, 3, 3])}, 0, -1)
    return _write(path, {"input": first, "0": flat, "1": nir.Linear(weight), "2": lif, "output": last})


@pytest.mark.parametrize("delay", [True, False])
def test_a_network_of_snntorch_that_resets_to_zero_fires_its_spikes(tmp_path: Path, delay: bool) -> None:
    weight = RNG.integers(-24, 56, (5, 18)) / 64
    path = _snntorch(tmp_path / "net.nir", 0.5, weight)
    network = read(path, NirOptions(convention="snntorch", reset="zero", reset_delay=delay))
    neuron = network["2"].op
    assert isinstance(neuron, Neuron)
    assert (neuron.fire, neuron.max_spikes, float(neuron.threshold)) == (Fire.GT, 1, 1.0)
    frames = _frames((2, 3, 3), steps=12)
    expected = _leaky(frames.reshape(12, 4, 18) @ weight.T, 0.5, 1.0, zero=True, delay=delay)
    _equal(reference.run(network, frames).layers["2"].raster, expected)


def test_a_state_at_the_threshold_does_not_fire_in_snntorch(tmp_path: Path) -> None:
    path = _snntorch(tmp_path / "net.nir", 0.5, np.ones((1, 18)))
    frames = np.zeros((3, 1, 2, 3, 3), int)
    frames[0, 0, 0, 0, 0] = 1
    for fire, spikes in ((None, 0), (">=", 1)):
        network = read(path, NirOptions(convention="snntorch", reset="zero", fire=fire))
        assert reference.run(network, frames).spikes == spikes


def test_subtraction_one_step_late_without_a_leak_is_ours(tmp_path: Path) -> None:
    weight = RNG.integers(-24, 56, (5, 18)) / 64
    network = read(_snntorch(tmp_path / "net.nir", 1.0, weight), NirOptions(convention="snntorch"))
    neuron = network["2"].op
    assert isinstance(neuron, Neuron)
    assert (neuron.reset, neuron.leak) == (Reset.SUBTRACT, None)
    frames = _frames((2, 3, 3), steps=12)
    expected = _leaky(frames.reshape(12, 4, 18) @ weight.T, 1.0, 1.0, zero=False, delay=True)
    _equal(reference.run(network, frames).layers["2"].raster, expected)


@pytest.mark.parametrize(("beta", "delay"), [(0.5, True), (0.5, False), (1.0, False)])
def test_subtraction_that_no_neuron_here_does_is_refused(tmp_path: Path, beta: float, delay: bool) -> None:
    """And rightly: what we would run in its place fires other spikes."""
    weight = RNG.integers(-64, 80, (5, 18)) / 64
    path = _snntorch(tmp_path / "net.nir", beta, weight)
    found = _issues(path, convention="snntorch", reset_delay=delay)
    assert list(found) == ["2 (LIF): snnTorch's reset"]
    assert f"reset_delay={delay}" in found["2 (LIF): snnTorch's reset"]
    network = read(path, NirOptions(convention="snntorch", reset="zero"))
    neuron = replace(network["2"].op, reset=Reset.SUBTRACT)
    nearest = replace(network, layers=(*network.layers[:-1], replace(network["2"], op=neuron)))
    frames = _frames((2, 3, 3), steps=12)
    theirs = _leaky(frames.reshape(12, 4, 18) @ weight.T, beta, 1.0, zero=False, delay=delay)
    assert (reference.run(nearest, frames).layers["2"].raster.reshape(theirs.shape) != theirs).any()


# ---- neurons ----------------------------------------------------------------------------------------------------


def test_input_scaling_is_folded_into_the_threshold(tmp_path: Path) -> None:
    """The file's own equation with r dt/tau = 1/4 against the network, spike for spike."""
    weight = RNG.integers(-8, 64, (5, 4)) / 16
    path = _chain(tmp_path / "n.nir", 4, nir.Linear(weight), _lif(5, tau=8.0, r=2.0, theta=0.75), out=5)
    network = read(path, NirOptions(v_min=-0.25))
    neuron = network["n1"].op
    assert isinstance(neuron, Neuron)
    assert (float(neuron.threshold), neuron.leak, neuron.v_min) == (3.0, Leak(0.875), -1.0)
    frames, v, spikes = _frames((4, 1, 1), steps=15), np.zeros((4, 5)), []
    for x in frames.reshape(15, 4, 4) @ weight.T:
        v = v + (0 - v + 2.0 * x) / 8.0
        spikes.append(v >= 0.75)
        v = np.maximum(np.where(spikes[-1], 0, v), -0.25)
    _equal(reference.run(network, frames).layers["n1"].raster, np.stack(spikes).astype(int))


def test_time_steps_and_discretisation_are_options(tmp_path: Path) -> None:
    path = _chain(tmp_path / "n.nir", 2, nir.Linear(np.eye(2)), _lif(2, tau=0.02, r=3.0))
    for options, keep, gain in (
        (NirOptions(dt=0.005), 0.75, 0.75),
        (NirOptions(dt=0.005, leak="exponential"), np.exp(-0.25), 3 * (1 - np.exp(-0.25))),
        (NirOptions(dt=0.005, gain="one"), 0.75, 1.0),
    ):
        neuron = read(path, options)["n1"].op
        assert isinstance(neuron, Neuron)
        assert neuron.leak is not None
        assert neuron.leak.keep == pytest.approx(keep, rel=1e-12)
        assert float(neuron.threshold) == pytest.approx(1 / gain, rel=1e-12)
    spikes = _chain(tmp_path / "i.nir", 2, nir.Linear(np.eye(2)), _if(2, r=4.0, theta=2.0))
    assert float(read(spikes, NirOptions(dt=0.25))["n1"].op.threshold) == 2.0
    assert float(read(spikes)["n1"].op.threshold) == 0.5


def test_float32_rounding_of_a_gain_of_one_is_one_and_a_real_gain_is_not(tmp_path: Path) -> None:
    for r, theta in ((np.float32(7) * np.float32(1 + 2**-23), 1.0), (7 * 1.001, 1 / 1.001)):
        path = _chain(tmp_path / "n.nir", 1, nir.Linear(np.eye(1)), _lif(1, tau=7.0, r=float(r)))
        neuron = read(path)["n1"].op
        assert isinstance(neuron, Neuron)
        assert float(neuron.threshold) == pytest.approx(theta, rel=1e-9, abs=0 if theta != 1 else 1e-300)
        assert (float(neuron.threshold) == 1.0) == (theta == 1.0)


@pytest.mark.parametrize("flat", [False, True])
def test_thresholds_take_the_smallest_form_that_says_the_same(tmp_path: Path, flat: bool) -> None:
    by_channel = np.broadcast_to(np.array([1.0, 2, 3]).reshape(3, 1, 1), (3, 2, 2))
    for values, shape in ((np.full((3, 2, 2), 1.5), ()), (by_channel, (3, 1, 1)),
                          (np.arange(1.0, 13).reshape(3, 2, 2), (3, 2, 2))):  # fmt: skip
        first, last = _ends((2, 2, 2), (3, 2, 2))
        own = values.reshape(-1) if flat else values
        nodes = {"in": first, "c": _conv((3, 2, 1, 1), (2, 2)), "n": nir.IF(np.ones(own.shape), own), "out": last}
        if flat:
            flatten = nir.Flatten({"input": np.array([3, 2, 2])}, 0, -1)
            nodes = {"in": first, "c": nodes["c"], "f": flatten, "n": nodes["n"], "out": last}
        neuron = read(_write(tmp_path / "n.nir", nodes))["n"].op
        assert isinstance(neuron, Neuron)
        assert neuron.threshold.shape == shape
        np.testing.assert_array_equal(np.broadcast_to(neuron.threshold, (3, 2, 2)), values)


def test_a_current_that_forgets_within_a_step_is_a_leaky_neuron(tmp_path: Path) -> None:
    one, w_in = np.ones(2), np.full(2, 0.5)
    for tau_syn, leak in ((0.0, None), (0.0, "exponential"), (1.0, None)):
        cuba = nir.CubaLIF(tau_syn * one, 4 * one, 4 * one, 0 * one, one, w_in)
        neuron = read(_chain(tmp_path / "n.nir", 2, nir.Linear(np.eye(2)), cuba), NirOptions(leak=leak))["n1"].op
        assert isinstance(neuron, Neuron)
        kept = 0.75 if leak is None else float(np.exp(-0.25))
        assert neuron.leak == Leak(kept)
        assert float(neuron.threshold) == pytest.approx(2.0 if leak is None else 2 / (4 * (1 - kept)), rel=1e-12)
    for tau_syn, leak in ((2.0, None), (1.0, "exponential")):
        cuba = nir.CubaLIF(tau_syn * one, 4 * one, 4 * one, 0 * one, one, one)
        path = _chain(tmp_path / "n.nir", 2, nir.Linear(np.eye(2)), cuba)
        assert _issues(path, leak=leak) == {"n1 (CubaLIF): synaptic time constant": f"{tau_syn:g}"}


# ---- operations -------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("kernel", [(3, 3), (2, 4), (4, 1), (5, 2)])
@pytest.mark.parametrize("dilation", [1, (2, 3), (3, 1)])
@pytest.mark.parametrize("padding", ["same", "valid", 1, (2, 0)])
def test_convolutions_are_those_of_torch(kernel: Any, dilation: Any, padding: Any) -> None:
    conv = _conv((4, 1, *kernel), (14, 13), padding=padding, dilation=dilation, groups=2, bias=np.arange(4.0))
    theirs = torch.from_numpy(RNG.normal(size=(3, 2, 14, 13)))
    weight, bias = torch.from_numpy(conv.weight), torch.from_numpy(conv.bias)
    expected = nn.functional.conv2d(theirs, weight, bias, 1, padding, dilation, 2).numpy()
    fields = {key: value if isinstance(value, str) else np.array(value) for key, value in conv.to_dict().items()}
    op = operation(Node("c", "Conv2d", fields), (14, 13))
    np.testing.assert_allclose(reference.apply(op, theirs.numpy()), expected, rtol=0, atol=1e-12)


def test_pools_strides_and_zero_biases(tmp_path: Path) -> None:
    first, last = _ends((2, 9, 9), (3, 2, 1))
    conv = _conv((3, 2, 2, 2), (9, 9), stride=(2, 1), padding=(0, 1))
    nodes = {"in": first, "sum": nir.SumPool2d(np.array([1, 1]), np.array([1, 1]), np.array([0, 0])), "c": conv,
             "n": _if(3, 4, 10), "avg": nir.AvgPool2d(np.array([2, 5]), np.array([2, 5]), np.array([0, 0])),
             "c2": _conv((3, 3, 1, 1), (2, 2)), "n2": _if(3, 2, 2),
             "s": nir.SumPool2d(np.array([1, 2]), np.array([1, 2]), np.array([0, 0])),
             "c3": _conv((3, 3, 1, 1), (2, 1)), "o": _if(3, 2, 1), "out": last}  # fmt: skip
    network = read(_write(tmp_path / "n.nir", nodes))
    ops = {layer.name: layer.op for layer in network}
    assert (ops["c"].stride, ops["c"].padding, ops["c"].bias) == ((2, 1), (0, 1), None)
    assert ops["avg"] == AvgPool2d((2, 5))
    assert ops["s"] == SumPool2d((1, 2))
    assert network.shapes["s"] == (3, 2, 1)


def test_graphs_inside_graphs_are_flattened(tmp_path: Path) -> None:
    inner_in, inner_out = _ends((2,), (2,))
    block = nir.NIRGraph({"input": inner_in, "w": nir.Linear(2 * np.eye(2)), "s": _if(2), "output": inner_out},
                         [("input", "w"), ("w", "s"), ("s", "output")])  # fmt: skip
    outer = nir.NIRGraph({"input": inner_in, "block": block, "output": inner_out},
                         [("input", "block"), ("block", "output")])  # fmt: skip
    first, last = _ends((2,), (2,))
    nodes = {"in": first, "a": outer, "b": block, "w": nir.Linear(np.eye(2)), "o": _if(2), "out": last}
    edges = [("in", "a"), ("a", "b"), ("b.output", "w"), ("a", "w"), ("w", "o"), ("o", "out")]
    with pytest.raises(DataError, match=r"b\.output"):  # only nested nodes have such names, and this one is nested
        read(_write(tmp_path / "x.nir", nodes, [*edges, ("b.outputs", "w")]))
    network = read(_write(tmp_path / "n.nir", nodes, edges))
    assert {layer.name: layer.inputs for layer in network} == {
        "a.block.w": ("input",), "a.block.s": ("a.block.w",), "b.w": ("a.block.s",), "b.s": ("b.w",),
        "w": ("a.block.s", "b.s"), "o": ("w",),
    }  # fmt: skip


def test_a_layer_called_like_our_input_keeps_its_place(tmp_path: Path) -> None:
    first, last = _ends((2,), (2,))
    network = read(_write(tmp_path / "n.nir", {"x": first, "input": nir.Linear(np.eye(2)), "o": _if(2), "out": last}))
    assert [(layer.name, layer.inputs) for layer in network] == [("input_", ("input",)), ("o", ("input_",))]


def test_the_input_may_be_declared_by_option(tmp_path: Path) -> None:
    path = _chain(tmp_path / "n.nir", 8, nir.Linear(np.ones((2, 8))), _if(2), out=2)
    assert read(path).input.shape == (8, 1, 1)
    assert read(path, NirOptions(input_shape=(2, 2, 2))).input.shape == (2, 2, 2)
    assert "in (Input): input shape" in _issues(path, input_shape=(2, 2, 3))


def test_files_of_a_newer_nir_are_read(tmp_path: Path) -> None:
    """``v_reset`` came after 1.0.4; zeros say nothing new. A field that nobody knows may say anything."""
    path = _chain(tmp_path / "n.nir", 2, nir.Linear(np.eye(2)), _lif(2))
    before = identity(read(path))
    with h5py.File(path, "a") as file:
        file["node/nodes/n1/v_reset"] = np.zeros(2)
    assert identity(read(path)) == before
    with h5py.File(path, "a") as file:
        file["node/nodes/n1/v_reset"][1] = -0.5
        file["node/nodes/n1/refractory"] = np.ones(2)
    found = _issues(path)
    assert found == {"n1 (LIF): known fields": "['refractory']", "n1 (LIF): v_reset is zero": "-0.5 to 0"}


# ---- refusals ---------------------------------------------------------------------------------------------------


def test_everything_is_refused_at_once_and_by_name(tmp_path: Path) -> None:
    first, last = _ends((2, 8, 8), (3,))
    pair = [np.array(v) for v in ([2, 2], [1, 1], [0, 0], [1, 0], [3, 3])]
    nodes = {
        "in": first, "c1d": nir.Conv1d(8, np.ones((1, 2, 3)), 1, 0, 1, 1, np.zeros(1)),
        "delay": nir.Delay(np.ones(2)),
        "scale": nir.Scale(np.ones(2)), "over": nir.SumPool2d(pair[0], pair[1], pair[2]),
        "sparse": nir.AvgPool2d(pair[0], pair[4], pair[2]), "padded": nir.AvgPool2d(pair[0], pair[0], pair[3]),
        "strided": _conv((2, 2, 3, 3), (8, 8), padding="same", stride=2), "leaks": _lif(2, v_leak=0.5),
        "fast": _lif(2, tau=0.5), "dead": _if(2, r=0.0), "floor": _if(2, theta=0.0),
        "matrix": nir.Linear(np.ones((2, 3, 4))),
        "many": nir.LIF(np.array([2.0, 3]), np.ones(2), np.zeros(2), np.ones(2)), "li": nir.LI(*[np.ones(2)] * 3),
        "i": nir.I(np.ones(2)), "step": nir.Threshold(np.ones(2)), "ok": _if(3), "out": last,
    }  # fmt: skip
    found = _issues(_write(tmp_path / "n.nir", nodes))
    kinds = {name: f"{name} ({type(node).__name__})" for name, node in nodes.items()}
    for name in ("c1d", "delay", "scale", "li", "i", "step"):
        assert found.pop(f"{kinds[name]}: a node of the subset") == type(nodes[name]).__name__
    assert found == {
        f"{kinds['over']}: pool windows side by side": "overlapping: stride (1, 1)",
        f"{kinds['sparse']}: pool windows side by side": "sparse: stride (3, 3)",
        f"{kinds['padded']}: pool without padding": "padding (1, 0)",
        f"{kinds['strided']}: padding 'same'": "stride (2, 2)",
        f"{kinds['leaks']}: v_leak is zero": "0.5",
        f"{kinds['fast']}: leak": "-1 kept a step",
        f"{kinds['dead']}: input scaling": "0",
        f"{kinds['floor']}: threshold above 0": "0",
        f"{kinds['many']}: one tau a layer": "0.5 to 0.666667 kept",
        f"{kinds['matrix']}: one matrix": "weight (2, 3, 4)",
    }


def test_recurrence_is_refused_by_the_names_of_its_nodes_only(tmp_path: Path) -> None:
    first, last = _ends((2,), (2,))
    nodes = {"in": first, "w": nir.Linear(np.eye(2)), "s": _if(2), "back": nir.Linear(np.eye(2)),
             "v": nir.Linear(np.eye(2)), "o": _if(2), "out": last}  # fmt: skip
    edges = [("in", "w"), ("w", "s"), ("s", "back"), ("back", "s"), ("s", "v"), ("v", "o"), ("o", "o"), ("o", "out")]
    assert set(_issues(_write(tmp_path / "n.nir", nodes, edges))) == {
        "s (IF): no recurrence", "back (Linear): no recurrence", "o (IF): no recurrence",
    }  # fmt: skip


def test_loose_nodes_several_ends_and_silent_outputs_are_refused(tmp_path: Path) -> None:
    first, last = _ends((2,), (2,))
    nodes = {"in": first, "w": nir.Linear(np.eye(2)), "o": _if(2), "out": last, "loose": _if(2),
             "end": nir.Linear(np.eye(2))}  # fmt: skip
    edges = [("in", "w"), ("w", "o"), ("o", "out"), ("loose", "w"), ("w", "end")]
    found = _issues(_write(tmp_path / "a.nir", nodes, edges))
    assert set(found) == {"loose (IF): connected", "end (Linear): connected"}
    found = _issues(_write(tmp_path / "b.nir", {"in": first, "in2": first, "w": nir.Linear(np.eye(2)), "out": last}))
    assert {"graph: one Input", "out (Output): one spiking output"} <= set(found)
    assert "out (Output): one spiking output" in _issues(_write(tmp_path / "c.nir", {"in": first, "out": last}))


def test_shapes_that_do_not_meet_are_refused(tmp_path: Path) -> None:
    first, last = _ends((2, 4, 4), (3,))
    dense = nir.Linear(np.ones((3, 32)))
    flat = nir.Flatten({"input": np.array([2, 4, 4])}, 1, -1)
    for name, nodes, expected in (
        ("no flatten", {"d": dense, "o": _if(3)}, "d (Linear): shape"),
        ("half a flatten", {"f": flat, "d": dense, "o": _if(3)}, "f (Flatten): Flatten of everything"),
        ("channels", {"c": _conv((3, 3, 1, 1), (4, 4)), "o": _if(3, 4, 4)},
         "c (Conv2d): conv takes 3 channels, its input has 2"),
        ("size", {"c": _conv((3, 2, 4, 4), (5, 4)), "o": _if(3)}, "c (Conv2d): input shape"),
        ("parameters", {"c": _conv((3, 2, 4, 4), (4, 4)), "o": _if(2)}, "o (IF): parameters"),
        ("output", {"c": _conv((2, 2, 4, 4), (4, 4)), "o": _if(2)}, "out (Output): output shape"),
        ("input", {"c": _conv((3, 2, 4, 4), (4, 4)), "o": _if(3)}, "in (Input): input shape"),
    ):  # fmt: skip
        given = nir.Input({"input": np.array([5, 2, 4, 4])}) if name == "input" else first
        found = _issues(_write(tmp_path / "n.nir", {"in": given, **nodes, "out": last}))
        assert expected in found, (name, found)


def test_classes_and_neurons_that_no_network_has_are_refused(tmp_path: Path) -> None:
    path = _chain(tmp_path / "n.nir", 3, nir.Linear(np.eye(3)), _if(3))
    assert read(path).classes == 3
    assert "3 output neurons do not split into 2 classes" in str(list(_issues(path, classes=2)))


def test_options_are_checked(tmp_path: Path) -> None:
    made = nir_options(
        ["reset=zero", "max_spikes=many", "fire=>", "input_shape=[2,3,4]", "dt=1e-3"], steps=9, dt_us=None
    )
    assert (made.steps, made.dt_us, made.fire, made.input_shape) == (9, None, ">", (2, 3, 4))
    assert made.semantics().max_spikes is None
    with pytest.raises(ConfigError) as caught:
        nir_options(["resets=zero", "steps=0", "convention=snntroch"])
    said = str(caught.value)
    for part in ("unknown option 'resets'. Did you mean 'reset'?", "steps:", "convention:", "'snntroch'"):
        assert part in said
    with pytest.raises(ConfigError, match="KEY=VALUE"):
        nir_options(["reset"])


# ---- hostile files ----------------------------------------------------------------------------------------------


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return _chain(tmp_path / "good.nir", 3, nir.Affine(np.ones((3, 3)), np.ones(3)), _lif(3))


@pytest.mark.usefixtures("isolated")
def test_files_that_are_no_nir_graph(tmp_path: Path, good: Path) -> None:
    bad = tmp_path / "bad.nir"
    with pytest.raises(DataError, match="cannot read"):
        read(bad)
    for content in (b"", b"garbage" * 1000, good.read_bytes()[:8] + bytes(3000), b"\x89HDF\r\n\x1a\n"):
        bad.write_bytes(content)
        with pytest.raises(DataError) as caught:
            read(bad)
        assert str(bad) in caught.value.where
    with h5py.File(bad, "w") as file:
        file["other"] = 1
    with pytest.raises(DataError):
        read(bad)
    nir.write(str(bad), _if(2))
    with pytest.raises(DataError, match="'IF', not a graph"):
        read(bad)


@pytest.mark.usefixtures("isolated")
def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path: Path, good: Path) -> None:
    whole, bad = good.read_bytes(), tmp_path / "bad.nir"
    for size in range(0, len(whole), 1997):
        bad.write_bytes(whole[:size])
        with pytest.raises(DataError):
            read(bad)


@pytest.mark.usefixtures("isolated")
def test_a_damaged_byte_never_escapes_as_another_error(tmp_path: Path, good: Path) -> None:
    whole, bad, rng = bytearray(good.read_bytes()), tmp_path / "bad.nir", np.random.default_rng(0)
    for place in rng.integers(0, len(whole), 30):
        damaged = bytearray(whole)
        damaged[place] ^= int(rng.integers(1, 256))
        bad.write_bytes(bytes(damaged))
        with suppress(DataError, UnsupportedError):
            read(bad)


@pytest.mark.usefixtures("isolated")
def test_a_file_that_crashes_the_reader_is_bad_data(good: Path, monkeypatch: Any, tmp_path: Path) -> None:
    """HDF5 itself does, on a few damaged files in ten thousand; what would be our end is the reader's."""
    for code, said in (("import os; os.abort()", "ended with code -6"), ("while True: pass", "within 1 s")):
        reader = tmp_path / "reader.py"
        reader.write_text(code, encoding="utf-8")
        monkeypatch.setattr(nir_file, "_READER", reader)
        monkeypatch.setattr(nir_file, "_PATIENCE_S", 1)
        with pytest.raises(DataError, match=said):
            read(good)


def test_missing_and_senseless_fields_are_named(tmp_path: Path, good: Path) -> None:
    for key, value in (
        ("tau", None),
        ("tau", np.full(3, np.nan)),
        ("r", "text"),
        ("v_threshold", np.full(3, np.inf)),
    ):
        bad = tmp_path / "bad.nir"
        bad.write_bytes(good.read_bytes())
        with h5py.File(bad, "a") as file:
            del file[f"node/nodes/n1/{key}"]
            if value is not None:
                file[f"node/nodes/n1/{key}"] = value
        with pytest.raises(DataError, match=key) as caught:
            read(bad)
        assert "n1 (LIF)" in caught.value.where


@pytest.mark.parametrize(
    ("where", "value", "error"),
    [
        ("n1/tau", np.zeros(0), DataError), ("n1/tau", np.ones(2), UnsupportedError),
        ("n1/tau", np.full(3, 1e-320), UnsupportedError), ("n1/r", np.full(3, 1e-310), UnsupportedError),
        ("n0/weight", np.ones((3, 0)), DataError), ("n0/bias", np.ones(2), UnsupportedError),
        ("in/shape", np.array([2**30] * 3), UnsupportedError), ("in/shape", np.array([-3]), UnsupportedError),
        ("in/shape", np.array([1.5]), DataError), ("out/shape", np.array([2**31, 2**31, 2**31, 3]), UnsupportedError),
        ("n1/type", "Lif", UnsupportedError), ("n1/type", np.ones(2), DataError),
    ],
)  # fmt: skip
def test_values_that_make_no_sense_are_refused(good: Path, where: str, value: Any, error: type[Exception]) -> None:
    with h5py.File(good, "a") as file:
        del file[f"node/nodes/{where}"]
        file[f"node/nodes/{where}"] = value
    with pytest.raises(error):
        read(good)


@pytest.mark.usefixtures("isolated")
def test_nothing_outside_the_file_is_read_and_no_memory_taken_on_its_word(tmp_path: Path, good: Path) -> None:
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["tau"] = np.full(3, 2.0)
    (tmp_path / "raw").write_bytes(np.full(3, 2.0).tobytes())
    bad = tmp_path / "bad.nir"
    place = "node/nodes/n1/tau"
    virtual = h5py.VirtualLayout((3,), float)
    virtual[:] = h5py.VirtualSource(str(secret), "tau", (3,))
    for make, said in (
        (lambda file: file.__setitem__(place, h5py.ExternalLink(str(secret), "tau")), "link"),
        (lambda file: file.__setitem__(place, h5py.SoftLink("/node/nodes/n1/r")), "link"),
        (
            lambda file: file.create_dataset(place, (3,), float, external=[(str(tmp_path / "raw"), 0, 24)]),
            "of its own",
        ),
        (lambda file: file.create_virtual_dataset(place, virtual), "of its own"),
        (lambda file: file.create_dataset(place, (2**40,), float, chunks=(1024,)), "MiB"),
        (lambda file: file["node/nodes"].__setitem__("n1/again", file["node"]), "deeper"),
    ):
        bad.write_bytes(good.read_bytes())
        with h5py.File(bad, "a") as file:
            del file[place]
            make(file)
        with pytest.raises(DataError, match=said):
            read(bad)
