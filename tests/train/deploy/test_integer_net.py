# SPDX-License-Identifier: Apache-2.0
"""What is trained is what will run: the module's spikes are the reference's, bit for bit, and gradients reach all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from spikefold.errors import UnsupportedError
from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Leak, Neuron, Reset
from spikefold.export.numbers import NumberFormat
from spikefold.export.ops import BatchNorm, Conv2d, Dense, SumPool2d
from spikefold.export.passes.quantise import quantise
from spikefold.hardware.loihi import chip as loihi
from spikefold.hardware.simulators import reference
from spikefold.hardware.speck import chip as speck
from spikefold.train.deploy.integer_net import IntegerNet

SPEC = InputSpec((2, 12, 12), 1000, 7, 9)
CHIPS = {"speck": speck.NUMBERS, "loihi": loihi.NUMBERS}
CASES = {
    "speck, one spike": ("speck", Neuron(np.array(1.0))),
    "speck, subtract": ("speck", Neuron(np.array(0.7), reset=Reset.SUBTRACT)),
    "speck, several spikes": ("speck", Neuron(np.array(0.5), reset=Reset.SUBTRACT, max_spikes=None)),
    "speck, lower bound": ("speck", Neuron(np.array(1.0), v_min=-0.5)),
    "loihi": ("loihi", Neuron(np.array(1.0))),
    "loihi, leak": ("loihi", Neuron(np.array(0.8), leak=Leak(0.7))),
    "loihi, slow leak": ("loihi", Neuron(np.array(0.8), leak=Leak(0.97))),
}


def _network(neuron: Neuron, *, pool: bool, seed: int) -> Network:
    rng = np.random.default_rng(seed)
    second = rng.normal(0.05, 0.3, (6, 6, 3, 3))
    layers = [
        Layer("c1", Conv2d(rng.normal(0.02, 0.3, (6, 2, 3, 3)), rng.normal(0, 0.1, 6), (1, 1), (1, 1))),
        Layer("n1", neuron),
        Layer("p", SumPool2d((2, 2))) if pool else Layer("c2", Conv2d(second, None, (2, 2), (1, 1))),
        *([] if pool else [Layer("n2", neuron)]),
        Layer("d", Dense(rng.normal(0.03, 0.2, (8, 216)), rng.normal(0, 0.1, 8))),
        Layer("out", neuron),
    ]
    return Network(SPEC, tuple(layers), 4)


def _frames(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).poisson(0.4, (7, 4, 2, 12, 12)).clip(0, 9).astype(np.uint16)


def _assert_equal(network: Network, chip: NumberFormat, frames: np.ndarray) -> None:
    integer, _ = quantise(network, chip)
    expected = reference.run(integer, frames)
    with torch.no_grad():
        activity = IntegerNet(network, chip)(torch.tensor(frames.astype(np.float32)))
    for name, layer in expected.layers.items():
        found = activity.values[name].numpy().reshape(layer.raster.shape)
        assert layer.spikes > 50
        np.testing.assert_array_equal(found, layer.raster, err_msg=name)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("seed", range(4))
def test_its_spikes_are_those_of_the_integer_network(case: str, seed: int) -> None:
    kind, neuron = CASES[case]
    _assert_equal(_network(neuron, pool=kind == "speck" and seed % 2 == 0, seed=seed), CHIPS[kind], _frames(seed))


def test_weights_on_a_coarse_grid_reach_the_threshold_exactly_and_agree_too() -> None:
    network = _network(Neuron(np.array(1.0)), pool=True, seed=3)
    coarse = [
        replace(la, op=replace(la.op, weight=np.rint(la.op.weight * 4) / 4, bias=None))
        if isinstance(la.op, Conv2d | Dense)
        else la
        for la in network
    ]
    for chip in CHIPS.values():
        if chip is loihi.NUMBERS:
            network = _network(Neuron(np.array(1.0)), pool=False, seed=3)
        _assert_equal(replace(network, layers=tuple(coarse)) if chip is speck.NUMBERS else network, chip, _frames(3))


def test_gradients_reach_every_weight_and_bias() -> None:
    net = IntegerNet(_network(Neuron(np.array(0.8), leak=Leak(0.9)), pool=False, seed=1), loihi.NUMBERS)
    activity = net(torch.tensor(_frames(1).astype(np.float32)))
    (activity.spikes.mean() + activity.current.mean()).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert float((parameter.grad != 0).float().mean()) > 0.5, name


def test_the_real_network_comes_back_with_the_trained_weights_and_quantises_to_what_ran() -> None:
    net = IntegerNet(_network(Neuron(np.array(1.0)), pool=False, seed=2), loihi.NUMBERS)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(1.07).add_(0.01)
    _assert_equal(net.to_network(), loihi.NUMBERS, _frames(2))
    assert net.to_network().history[-1] == "adapt"


def test_a_bias_faded_out_is_gone() -> None:
    net = IntegerNet(_network(Neuron(np.array(0.5)), pool=False, seed=2), speck.NUMBERS)
    net.bias_share = 0.0
    faded = net.to_network()
    assert all(la.op.bias is None for la in faded if isinstance(la.op, Conv2d | Dense))
    with torch.no_grad():
        activity = net(torch.tensor(_frames(2).astype(np.float32)))
    expected = reference.run(quantise(faded, speck.NUMBERS)[0], _frames(2))
    for name, layer in expected.layers.items():
        assert layer.spikes > 50
        np.testing.assert_array_equal(activity.values[name].numpy().reshape(layer.raster.shape), layer.raster)


def test_weights_are_capped_at_their_own_threshold() -> None:
    net = IntegerNet(_network(Neuron(np.array(0.4)), pool=False, seed=2), speck.NUMBERS)
    assert max(float(w.detach().max()) for w in net.weights.values()) > 0.4
    lowest = {key: float(w.detach().min()) for key, w in net.weights.items()}
    net.cap_weights()
    assert max(float(w.detach().max()) for w in net.weights.values()) == pytest.approx(0.4)
    assert {key: float(w.detach().min()) for key, w in net.weights.items()} == lowest


def test_masks_silence_their_channels_only() -> None:
    net = IntegerNet(_network(Neuron(np.array(1.0)), pool=False, seed=4), loihi.NUMBERS)
    frames = torch.tensor(_frames(4).astype(np.float32))
    mask = torch.tensor([1.0, 0.0, 1.0, 1.0, 0.0, 1.0])
    with torch.no_grad():
        plain, masked = net(frames), net(frames, {"n1": mask})
    assert plain.values["n1"][:, [1, 4]].sum() > 0
    assert masked.values["n1"][:, [1, 4]].sum() == 0
    assert torch.equal(plain.values["n1"][:, [0, 2, 3, 5]], masked.values["n1"][:, [0, 2, 3, 5]])
    assert not torch.equal(plain.values["n2"], masked.values["n2"])


def test_what_cannot_be_quantised_is_refused() -> None:
    norm = BatchNorm(np.ones(6), np.zeros(6), np.zeros(6), np.ones(6), 1e-5)
    layers = list(_network(Neuron(np.array(1.0)), pool=True, seed=0).layers)
    layers.insert(1, Layer("bn", norm, ("c1",)))
    layers[2] = replace(layers[2], inputs=("bn",))
    with pytest.raises(UnsupportedError, match="cannot be quantised"):
        IntegerNet(Network(SPEC, tuple(layers), 4), speck.NUMBERS)
    with pytest.raises(UnsupportedError, match="cannot be quantised"):
        IntegerNet(_network(Neuron(np.array(1.0), leak=Leak(0.5)), pool=False, seed=0), speck.NUMBERS)
