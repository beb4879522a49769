# SPDX-License-Identifier: Apache-2.0
"""``.nir`` files of ours, of sinabs and of snnTorch: the same spikes as the tool that wrote them."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import sinabs.layers as sl
import torch
from sinabs.nir import to_nir as sinabs_to_nir
from torch import nn

from spikefold.export.io import identity
from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Fire, Leak, Neuron, Reset
from spikefold.export.nir import to_nir
from spikefold.export.nir.from_nir import read
from spikefold.export.nir.options import NirOptions
from spikefold.export.ops import Conv2d, Dense
from spikefold.hardware.simulators import reference
from tests.export.nir.nir_cases import (
    OURS,
    chain_file,
    ends,
    frames_of,
    graph_file,
    if_node,
    issues_of,
    lif_node,
    our_network,
    same_spikes,
)

pytestmark = pytest.mark.usefixtures("in_this_process")


# ---- our own files ----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("isolated")
def test_a_network_that_we_wrote_comes_back_as_it_was(tmp_path: Path) -> None:
    network = our_network()
    to_nir.write(network, tmp_path / "net.nir")
    back = read(tmp_path / "net.nir", NirOptions(convention="spikefold", steps=5, dt_us=2500, classes=2, max_count=3))
    assert identity(back) == identity(network)
    assert back["n"].op.threshold.shape == (4, 1, 1)
    frames = frames_of((2, 7, 7), steps=5)
    for name, layer in reference.run(network, frames).layers.items():
        same_spikes(reference.run(back, frames).layers[name].raster, layer.raster)


def test_a_branch_and_a_sum_come_back_as_they_were(tmp_path: Path, rng: np.random.Generator) -> None:
    conv, ge = Conv2d(rng.normal(0.2, 0.5, (2, 2, 1, 1))), Neuron(np.array(1.0))
    layers = (
        Layer("a", conv, ("input",)),
        Layer("na", ge, ("a",)),
        Layer("b", conv, ("input",)),
        Layer("nb", ge, ("a", "b")),
        Layer("d", Dense(rng.normal(0.3, 0.5, (2, 12))), ("na", "nb")),
        Layer("o", ge),
    )
    network = Network(InputSpec((2, 2, 3), 1000, 5), layers, 2)
    to_nir.write(network, tmp_path / "net.nir")
    back = read(tmp_path / "net.nir", NirOptions(convention="spikefold", steps=5, dt_us=1000))
    assert {layer.name: set(layer.inputs) for layer in back} == {layer.name: set(layer.inputs) for layer in network}
    frames = frames_of((2, 2, 3), steps=5)
    ours, theirs = reference.run(network, frames).layers, reference.run(back, frames).layers
    for name in ("na", "nb", "o"):
        same_spikes(theirs[name].raster, ours[name].raster)


def test_the_order_of_the_file_means_nothing(tmp_path: Path, rng: np.random.Generator) -> None:
    first, last = ends((2,), (2,))
    names = [f"l{i}" for i in range(12)]
    made = {name: nir.Linear(rng.normal(size=(2, 2))) if i % 2 == 0 else if_node(2) for i, name in enumerate(names)}
    edges = list(pairwise(["in", *names, "out"]))
    one = graph_file(tmp_path / "a.nir", {"in": first, **made, "out": last}, edges)
    shuffled = dict(sorted({"in": first, **made, "out": last}.items(), reverse=True))
    two = graph_file(tmp_path / "b.nir", shuffled, [*edges[::-1], edges[3]])
    assert [layer.name for layer in read(one, OURS)] == names
    assert identity(read(one, OURS)) == identity(read(two, OURS))
    # where nothing else decides, names do, "10" after "9"
    branches = {f"b{i}": nir.Linear(rng.normal(size=(2, 2))) for i in (10, 9, 100)}
    edges = [("in", "b9"), ("in", "b10"), ("in", "b100"), ("b9", "o"), ("b100", "o"), ("b10", "o"), ("o", "out")]
    path = graph_file(tmp_path / "c.nir", {"in": first, **branches, "o": if_node(2), "out": last}, edges)
    assert [layer.name for layer in read(path, OURS)] == ["b9", "b10", "b100", "o"]
    assert read(path, OURS)["o"].inputs == ("b9", "b10", "b100")


# ---- sinabs -----------------------------------------------------------------------------------------------------


def test_a_leaky_network_of_sinabs_fires_its_spikes(tmp_path: Path) -> None:
    """``LIFSqueeze`` as it is by default: exp(-1/tau), normalised input, many spikes, subtraction."""
    torch.manual_seed(0)
    model: Any = nn.Sequential(
        nn.Linear(6, 8, bias=False),
        sl.LIFSqueeze(tau_mem=4.0, spike_threshold=torch.tensor(0.25), batch_size=1),
        nn.Linear(8, 3),
        sl.LIFSqueeze(tau_mem=7.0, spike_threshold=torch.tensor(0.125), batch_size=1),
    )
    model[0].weight.data.abs_().mul_(4)
    model[2].weight.data.abs_()
    frames = frames_of((6, 1, 1), steps=20, clips=1)
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
        same_spikes(ours.raster, theirs)


def test_a_bounded_state_of_sinabs_is_an_option(tmp_path: Path, rng: np.random.Generator) -> None:
    """``from_model`` bounds states at -1; the file does not say so, and without it the spikes are others."""
    model: Any = nn.Sequential(nn.Linear(6, 8, bias=False), sl.IAFSqueeze(batch_size=1, min_v_mem=-1.0))
    model[0].weight.data = torch.from_numpy(rng.integers(-32, 36, (8, 6)) / 32).float()
    frames = frames_of((6, 1, 1), steps=40, clips=1)
    with torch.no_grad():
        model(torch.zeros(1, 6))
        graph = sinabs_to_nir(model, torch.zeros(1, 6))
        model[1].reset_states()
        theirs = model(torch.from_numpy(frames.reshape(40, 6)).float()).numpy()
    nir.write(str(tmp_path / "net.nir"), graph)
    # sinabs' own reader bounds at minus the threshold, and so does its convention
    for v_min, equal in ((-1.0, True), (None, True), ("none", False)):
        network = read(tmp_path / "net.nir", NirOptions(convention="sinabs", v_min=v_min))
        ours = reference.run(network, frames).layers["1"].raster.reshape(theirs.shape)
        assert ((ours != theirs).sum() == 0) == equal
    assert theirs.max() > 1


def test_without_normalised_input_the_gain_is_one(tmp_path: Path) -> None:
    path = chain_file(tmp_path / "n.nir", 2, nir.Linear(np.eye(2)), lif_node(2, tau=5.0, r=1.0, theta=1.5))
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
    first, last = ends((1, 2, 3, 3), (1, len(weight)))
    flat = nir.Flatten({"input": np.array([2, 3, 3])}, 0, -1)
    return graph_file(path, {"input": first, "0": flat, "1": nir.Linear(weight), "2": lif, "output": last})


@pytest.mark.parametrize("delay", [True, False])
def test_a_network_of_snntorch_that_resets_to_zero_fires_its_spikes(
    tmp_path: Path, delay: bool, rng: np.random.Generator
) -> None:
    weight = rng.integers(-24, 56, (5, 18)) / 64
    path = _snntorch(tmp_path / "net.nir", 0.5, weight)
    network = read(path, NirOptions(convention="snntorch", reset="zero", reset_delay=delay))
    neuron = network["2"].op
    assert isinstance(neuron, Neuron)
    assert (neuron.fire, neuron.max_spikes, float(neuron.threshold)) == (Fire.GT, 1, 1.0)
    frames = frames_of((2, 3, 3), steps=12)
    expected = _leaky(frames.reshape(12, 4, 18) @ weight.T, 0.5, 1.0, zero=True, delay=delay)
    same_spikes(reference.run(network, frames).layers["2"].raster, expected)


def test_a_state_at_the_threshold_does_not_fire_in_snntorch(tmp_path: Path) -> None:
    path = _snntorch(tmp_path / "net.nir", 0.5, np.ones((1, 18)))
    frames = np.zeros((3, 1, 2, 3, 3), int)
    frames[0, 0, 0, 0, 0] = 1
    for fire, spikes in ((None, 0), (">=", 1)):
        network = read(path, NirOptions(convention="snntorch", reset="zero", fire=fire))
        assert reference.run(network, frames).spikes == spikes


def test_subtraction_one_step_late_without_a_leak_is_ours(tmp_path: Path, rng: np.random.Generator) -> None:
    weight = rng.integers(-24, 56, (5, 18)) / 64
    network = read(_snntorch(tmp_path / "net.nir", 1.0, weight), NirOptions(convention="snntorch"))
    neuron = network["2"].op
    assert isinstance(neuron, Neuron)
    assert (neuron.reset, neuron.leak) == (Reset.SUBTRACT, None)
    frames = frames_of((2, 3, 3), steps=12)
    expected = _leaky(frames.reshape(12, 4, 18) @ weight.T, 1.0, 1.0, zero=False, delay=True)
    same_spikes(reference.run(network, frames).layers["2"].raster, expected)


@pytest.mark.parametrize(("beta", "delay"), [(0.5, True), (0.5, False), (1.0, False)])
def test_subtraction_that_no_neuron_here_does_is_refused(
    tmp_path: Path, beta: float, delay: bool, rng: np.random.Generator
) -> None:
    """And rightly: what we would run in its place fires other spikes."""
    weight = rng.integers(-64, 80, (5, 18)) / 64
    path = _snntorch(tmp_path / "net.nir", beta, weight)
    found = issues_of(path, convention="snntorch", reset_delay=delay)
    assert list(found) == ["2 (LIF): snnTorch's reset"]
    assert f"reset_delay={delay}" in found["2 (LIF): snnTorch's reset"]
    network = read(path, NirOptions(convention="snntorch", reset="zero"))
    last = network["2"].op
    assert isinstance(last, Neuron)
    neuron = replace(last, reset=Reset.SUBTRACT)
    nearest = replace(network, layers=(*network.layers[:-1], replace(network["2"], op=neuron)))
    frames = frames_of((2, 3, 3), steps=12)
    theirs = _leaky(frames.reshape(12, 4, 18) @ weight.T, beta, 1.0, zero=False, delay=delay)
    assert (reference.run(nearest, frames).layers["2"].raster.reshape(theirs.shape) != theirs).any()
