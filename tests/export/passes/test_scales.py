# SPDX-License-Identifier: Apache-2.0
"""Layers in other units, channels with one threshold: the same spikes, bit for bit where a factor is a power of 2."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from spikefold.errors import UnsupportedError
from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Fire, Leak, Neuron, Order, Reset
from spikefold.export.ops import Conv2d, Dense, SumPool2d
from spikefold.export.passes.quantise import quantise
from spikefold.export.passes.rescale import rescale
from spikefold.export.passes.uniform_thresholds import uniform_thresholds
from spikefold.hardware.simulators import reference
from spikefold.hardware.simulators.flips import flips
from spikefold.hardware.speck import chip as speck
from tests.norms import batch_norm

SPEC = InputSpec((2, 7, 6), 1000, 9)
NEURONS = {
    "zero": Neuron(np.array(0.7)),
    "above only, leaky": Neuron(np.array(0.7), Fire.GT, leak=Leak(0.37)),
    "by subtraction, bounded, many": Neuron(np.array(0.3), reset=Reset.SUBTRACT, v_min=-0.4, max_spikes=None),
    "value, bounded": Neuron(np.array(0.7), reset=Reset.VALUE, reset_value=-0.3, v_min=-0.45),
    "input first": Neuron(np.array(0.6), leak=Leak(0.8), order=Order.INPUT_FIRST),
}


def _network(neuron: Neuron, threshold: np.ndarray | None = None) -> tuple[Network, np.ndarray]:
    rng = np.random.default_rng(0)
    layers = (
        Layer("c", Conv2d(rng.normal(0.2, 0.3, (4, 1, 3, 3)), rng.normal(0, 0.1, 4), groups=2, padding=(1, 0))),
        Layer("n", neuron if threshold is None else replace(neuron, threshold=threshold)),
        Layer("p", SumPool2d((2, 2))),
        Layer("d", Dense(rng.normal(0.03, 0.2, (5, 24)))),
        Layer("o", neuron),
    )
    return Network(SPEC, layers, 1), rng.poisson(0.5, (9, 6, *SPEC.shape))


def _issues(call: Callable[[], object]) -> list[tuple[str, str]]:
    with pytest.raises(UnsupportedError) as caught:
        call()
    assert all(issue.hint and issue.where in str(caught.value) for issue in caught.value.issues)
    return [(issue.where, issue.got) for issue in caught.value.issues]


# ---- rescale ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NEURONS)
@pytest.mark.parametrize("powers", [(1, -1), (-9, 12), (0, 40)])
def test_a_power_of_two_changes_no_bit_of_any_state(name: str, powers: tuple[int, int]) -> None:
    network, frames = _network(NEURONS[name])
    factors = {"n": 2.0 ** powers[0], "o": 2.0 ** powers[1]}
    other = rescale(network, factors)
    assert other.history == ("rescale",)
    one, two = (reference.run(net, frames, potentials=True).layers for net in (network, other))
    for layer, factor in factors.items():
        assert one[layer].spikes > 50
        assert 0.01 < one[layer].raster.mean() < 0.9 or NEURONS[name].max_spikes is None
        np.testing.assert_array_equal(one[layer].raster, two[layer].raster)
        np.testing.assert_array_equal(one[layer].potentials * factor, two[layer].potentials)


@pytest.mark.parametrize("name", NEURONS)
@pytest.mark.parametrize("factor", [1 / 3, 0.1, 7.3])
def test_other_factors_flip_nothing_beyond_rounding(name: str, factor: float) -> None:
    network, frames = _network(NEURONS[name])
    report = flips(network, rescale(network, {"n": factor}), frames)
    assert all(max(flip.distance) <= flip.bound < 1e-11 for flip in report.roots)
    assert report.spikes > 100


def test_every_number_of_the_layer_is_scaled_and_no_other() -> None:
    network, _ = _network(NEURONS["value, bounded"])
    other = rescale(network, {"n": 4.0})
    for field in ("weight", "bias"):
        np.testing.assert_array_equal(getattr(other["c"].op, field), 4 * getattr(network["c"].op, field))
    one, two = network["n"].op, other["n"].op
    assert isinstance(one, Neuron)
    assert isinstance(two, Neuron)
    assert (two.threshold, two.v_min, two.reset_value) == (4 * 0.7, 4 * -0.45, 4 * -0.3)
    assert [other[name].op is network[name].op for name in ("p", "d", "o")] == [True] * 3
    assert rescale(network, {}) is network


def test_layers_that_cannot_be_rescaled_are_all_named() -> None:
    conv, one = Conv2d(np.ones((2, 2, 1, 1))), Neuron(np.array(1.0))
    layers = (
        Layer("c", conv),
        Layer("b", batch_norm(np.ones((4, 2)))),
        Layer("normed", one),
        Layer("shared", conv),
        Layer("n1", one),
        Layer("n2", one, ("shared",)),
        Layer("pool", SumPool2d((1, 1))),
        Layer("pooled", one),
        Layer("c2", conv),
        Layer("narrow", replace(one, state_bits=16)),
        Layer("c3", conv),
        Layer("fine", one),
    )
    network = Network(SPEC, layers, 1)
    names = ["nobody", "normed", "n1", "n2", "pooled", "narrow", "fine"]
    found = _issues(lambda: rescale(network, dict.fromkeys(names, 2.0)))
    assert [where for where, _ in found] == names[:-1]
    for factor in (0.0, -1.0, float("inf"), float("nan")):
        assert _issues(lambda factor=factor: rescale(network, {"fine": factor})) == [("fine", f"factor {factor}")]  # type: ignore[misc]
    whole, _ = quantise(_network(NEURONS["zero"])[0], speck.NUMBERS)
    assert ("n", "whole numbers") in _issues(lambda: rescale(whole, {"n": 2.0}))


# ---- one threshold a layer --------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [(4, 1, 1), (4, 7, 4)])
@pytest.mark.parametrize("name", ["zero", "above only, leaky", "input first"])
def test_thresholds_by_channel_become_one_and_dyadic_ratios_change_no_bit(form: tuple[int, ...], name: str) -> None:
    theta = np.broadcast_to(np.array([0.6, 0.3, 1.2, 0.6]).reshape(4, 1, 1), form)
    network, frames = _network(replace(NEURONS[name], reset=Reset.SUBTRACT), theta)
    other = uniform_thresholds(network)
    made = other["n"].op
    assert isinstance(made, Neuron)
    assert (made.threshold.shape, made.threshold.item()) == ((), 0.6)
    one, two = (reference.run(net, frames, potentials=True).layers for net in (network, other))
    np.testing.assert_array_equal(one["n"].raster, two["n"].raster)
    factor = np.array([1, 2, 0.5, 1]).reshape(4, 1, 1)
    np.testing.assert_array_equal(one["n"].potentials * factor, two["n"].potentials)
    np.testing.assert_array_equal(one["o"].raster, two["o"].raster)
    assert min(one["n"].raster.sum(axis=(0, 1, 3, 4))) > 5
    assert uniform_thresholds(other) is other


@pytest.mark.parametrize("name", ["zero", "above only, leaky", "input first"])
def test_any_thresholds_become_one_within_rounding_and_can_then_be_quantised(name: str) -> None:
    theta = np.random.default_rng(1).uniform(0.3, 1.1, (4, 1, 1))
    network, frames = _network(NEURONS[name], theta)
    other = uniform_thresholds(network)
    report = flips(network, other, frames)
    assert all(max(flip.distance) <= flip.bound < 1e-11 for flip in report.roots)
    assert report.spikes > 200
    assert other["n"].op.threshold in theta
    if name == "zero":
        with pytest.raises(UnsupportedError, match="one threshold a layer"):
            quantise(network, speck.NUMBERS)
        assert quantise(other, speck.NUMBERS)[0].is_integer


def test_layers_that_cannot_have_one_threshold_are_all_named() -> None:
    conv, one = Conv2d(np.ones((2, 2, 1, 1))), np.array([1.0, 2]).reshape(2, 1, 1)
    bad = {
        "differs": Neuron(np.random.default_rng(0).uniform(1, 2, (2, 7, 6))),
        "bounded": Neuron(one, v_min=-1.0),
        "value": Neuron(one, reset=Reset.VALUE, reset_value=-1.0),
        "narrow": Neuron(one, state_bits=16),
    }
    layers = [layer for name, op in bad.items() for layer in (Layer(f"c {name}", conv), Layer(name, op))]
    layers += [
        Layer("pool", SumPool2d((1, 1))),
        Layer("pooled", Neuron(one)),
        Layer("c", conv),
        Layer("fine", Neuron(one)),
    ]
    found = _issues(lambda: uniform_thresholds(Network(SPEC, tuple(layers), 1)))
    assert [where for where, _ in found] == [*bad, "pooled"]
    assert "lower bound -1.0" in found[1]
    whole = Network(SPEC, (Layer("c", Conv2d(np.ones((2, 2, 1, 1), int))), Layer("n", Neuron(one.astype(int)))), 1)
    assert _issues(lambda: uniform_thresholds(whole)) == [("n", "whole numbers")]
