# SPDX-License-Identifier: Apache-2.0
"""Neurons that a chip lacks are replaced by its nearest, firing about as often; what it has stays as it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spikefold.errors import UnsupportedError
from spikefold.export.network import InputSpec, Layer, Network, WeightLayer
from spikefold.export.neuron import Leak, Neuron, Reset
from spikefold.export.ops import Conv2d, Dense
from spikefold.export.passes.quantise import quantise
from spikefold.hardware.loihi import chip as loihi
from spikefold.hardware.simulators import reference
from spikefold.hardware.speck import chip as speck
from spikefold.train.deploy.target_neuron import channel_thresholds, for_chip

SPEC = InputSpec((2, 10, 10), 1000, 10)
FRAMES = np.random.default_rng(5).poisson(0.5, (10, 12, 2, 10, 10)).astype(np.uint16)


def _network(neuron: Neuron) -> Network:
    rng = np.random.default_rng(2)
    layers = (
        Layer("c1", Conv2d(rng.normal(0.06, 0.25, (6, 2, 3, 3)), None, (1, 1), (1, 1))),
        Layer("n1", neuron),
        Layer("c2", Conv2d(rng.normal(0.02, 0.2, (6, 6, 3, 3)), None, (2, 2), (1, 1))),
        Layer("n2", neuron),
        Layer("d", Dense(rng.normal(0.03, 0.2, (8, 150)))),
        Layer("out", neuron),
    )
    return Network(SPEC, layers, 4)


def test_a_leaky_network_gets_neurons_without_leak_that_fire_as_often() -> None:
    network = _network(Neuron(np.array(1.0), leak=Leak(0.5)))
    found, replaced = for_chip(network, speck.NUMBERS, FRAMES)
    assert [entry.layer for entry in replaced] == ["n1", "n2", "out"]
    before, after = reference.run(network, FRAMES), reference.run(found, FRAMES)
    for entry in replaced:
        op = found[entry.layer].op
        assert isinstance(op, Neuron)
        assert op.leak is None
        assert float(op.threshold) == pytest.approx(entry.threshold_factor)
        assert 1 < entry.threshold_factor < 32
        assert entry.what == "leak -> none"
        assert entry.spikes_before == before.layers[entry.layer].spikes / 12 > 5
        assert entry.spikes_after == after.layers[entry.layer].spikes / 12
        assert entry.spikes_after == pytest.approx(entry.spikes_before, rel=0.12)
    assert found.history[-1] == "target_neuron"


def test_nothing_is_replaced_where_the_chip_has_it_all() -> None:
    network = _network(Neuron(np.array(1.0), leak=Leak(0.5)))
    assert for_chip(network, loihi.NUMBERS, FRAMES) == (network, ())


def test_resets_and_several_spikes_that_a_chip_lacks_are_named() -> None:
    network = _network(Neuron(np.array(1.0), reset=Reset.SUBTRACT, max_spikes=None))
    found, replaced = for_chip(network, loihi.NUMBERS, FRAMES)
    assert {entry.what for entry in replaced} == {"reset subtract -> zero, several spikes a step -> one"}
    ops = [layer.op for layer in found.neurons]
    assert all(isinstance(op, Neuron) and op.reset is Reset.ZERO and op.max_spikes == 1 for op in ops)
    assert for_chip(network, speck.NUMBERS, FRAMES) == (network, ())


def test_several_spikes_a_step_where_the_chip_can_and_the_user_wants_them() -> None:
    network = _network(Neuron(np.array(1.0)))
    found, replaced = for_chip(network, speck.NUMBERS, FRAMES, several=True)
    assert {entry.what for entry in replaced} == {"spikes a step -> as many as fit"}
    assert all(isinstance(la.op, Neuron) and la.op.max_spikes is None for la in found.neurons)
    assert reference.run(found, FRAMES).layers["n1"].raster.max() > 1
    assert for_chip(network, loihi.NUMBERS, FRAMES, several=True) == (network, ())


NO_BIAS = replace(speck.NUMBERS, bias_bits=None, max_spikes=3)


def test_a_chip_without_biases_gets_none_and_its_layers_fire_as_often() -> None:
    network = _network(Neuron(np.array(1.0)))
    layers = tuple(
        replace(la, op=replace(la.op, bias=np.full(len(la.op.weight), 0.3))) if isinstance(la, WeightLayer) else la
        for la in network
    )
    biased = replace(network, layers=layers)
    with pytest.raises(UnsupportedError) as told:
        quantise(biased, NO_BIAS)
    assert {issue.rule for issue in told.value.issues} == {"no bias"}
    found, replaced = for_chip(biased, NO_BIAS, FRAMES)
    assert {entry.what for entry in replaced} == {"bias -> none"}
    assert all(la.op.bias is None for la in found if hasattr(la.op, "weight"))
    # without its bias a layer fires less, so that its threshold must fall
    assert all(entry.threshold_factor < 1 for entry in replaced)
    for entry in replaced:
        assert entry.spikes_before > 5
        assert entry.spikes_after == pytest.approx(entry.spikes_before, rel=0.2)
    assert quantise(found, NO_BIAS)[0].is_integer
    assert for_chip(network, NO_BIAS, FRAMES) == (network, ())


def test_spikes_a_step_go_up_to_what_the_chip_makes_and_no_further() -> None:
    assert [NO_BIAS.allows(most) for most in (1, 3, 4, None)] == [True, True, False, False]
    assert [speck.NUMBERS.allows(most) for most in (1, 3, 4, None)] == [True] * 4
    with pytest.raises(ValueError, match="at most 0 spikes"):
        replace(NO_BIAS, max_spikes=0)
    for given, several, wanted in ((None, False, 3), (5, False, 3), (2, False, 2), (2, True, 3), (1, True, 3)):
        network = _network(Neuron(np.array(1.0), max_spikes=given))
        found, replaced = for_chip(network, NO_BIAS, FRAMES, several=several)
        assert {la.op.max_spikes for la in found.neurons if isinstance(la.op, Neuron)} == {wanted}
        assert (replaced == ()) == (given == wanted)
        assert 1 < reference.run(found, FRAMES).layers["n1"].raster.max() <= wanted


def test_a_current_and_a_lower_bound_that_a_chip_lacks_are_replaced() -> None:
    network = _network(Neuron(np.array(1.0), v_min=-0.5, current=Leak(0.5)))
    for chip, what in ((speck.NUMBERS, "synaptic current -> none"), (loihi.NUMBERS, "lower bound -> none")):
        found, replaced = for_chip(network, chip, FRAMES)
        assert {entry.what for entry in replaced} == {what}
        for entry in replaced:
            assert entry.spikes_before > 5
            if "current" in what:  # its input is less, so its threshold falls until it fires as often
                assert entry.threshold_factor < 1
                assert entry.spikes_after == pytest.approx(entry.spikes_before, rel=0.2)
        assert quantise(found, chip)[0].is_integer


def test_thresholds_of_each_neuron_become_those_of_the_mean_gate_of_their_channel() -> None:
    gates = np.random.default_rng(1).uniform(0.5, 2, (6, 10, 10))
    plain = _network(Neuron(np.array(1.0)))
    layers = [replace(la, op=Neuron(1 / gates)) if la.name == "n1" else la for la in plain]
    network = replace(plain, layers=tuple(layers))
    found, names = channel_thresholds(network)
    assert names == ("n1",)
    theta = found.neurons[0].neuron.threshold
    assert theta.shape == (6, 1, 1)
    assert theta.ravel() == pytest.approx(1 / gates.mean(axis=(1, 2)), rel=1e-12)
    assert found.history[-1] == "channel_thresholds"
    assert channel_thresholds(found) == (found, ())
