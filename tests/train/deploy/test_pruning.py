# SPDX-License-Identifier: Apache-2.0
"""Costs are those that the counts find, importance is a gradient, and channels go until the budget is met."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from spikefold.energy.counts.count import count
from spikefold.errors import ConfigError
from spikefold.export.network import INPUT, InputSpec, Layer, Network
from spikefold.export.neuron import Neuron
from spikefold.export.ops import Conv2d, Dense, SumPool2d
from spikefold.export.passes.quantise import quantise
from spikefold.export.passes.remove_silent_channels import remove_silent_channels
from spikefold.hardware.simulators import clocked
from spikefold.hardware.speck import chip as speck
from spikefold.train.deploy.adapt import fan_maps
from spikefold.train.deploy.integer_net import IntegerNet
from spikefold.train.deploy.pruning import (
    Synapses,
    choose_channels,
    importance,
    remaining_operations,
    synapses,
    synaptic_operations,
)

FRAMES = np.random.default_rng(3).poisson(0.5, (6, 5, 2, 9, 9)).clip(0, 9).astype(np.uint16)
CHANNELS = {"n1": 6, "n2": 4, "out": 3}


def _network() -> Network:
    rng = np.random.default_rng(0)
    layers = (
        Layer("c1", Conv2d(rng.normal(0.05, 0.3, (6, 2, 3, 3)), None, (1, 1), (1, 1))),
        Layer("n1", Neuron(np.array(1.0))),
        Layer("p", SumPool2d((2, 2))),
        Layer("c2", Conv2d(rng.normal(0.02, 0.2, (4, 6, 3, 3)))),
        Layer("n2", Neuron(np.array(1.0))),
        Layer("d", Dense(rng.normal(0.0, 0.4, (3, 16)))),
        Layer("out", Neuron(np.array(0.6))),
    )
    return Network(InputSpec((2, 9, 9), 1000, 6, 9), layers, 3)


def _counted(network: Network) -> dict[str, float]:
    integer, _ = quantise(network, speck.NUMBERS)
    counts = count(integer, FRAMES, clocked.run(integer, FRAMES))
    assert all(layer.events > 100 for layer in counts.layers)
    return {layer.name: layer.events / 5 for layer in counts.layers}


def test_operations_are_the_counts() -> None:
    net = IntegerNet(_network(), speck.NUMBERS)
    frames = torch.tensor(FRAMES.astype(np.float32))
    layers, counted = synapses(net, frames, fan_maps(net.network)), _counted(_network())
    assert [layer.neurons for layer in layers] == ["n1", "n2", "out"]
    for layer, (name, events) in zip(layers, counted.items(), strict=True):
        assert remaining_operations([layer], {}, CHANNELS) == pytest.approx(events, rel=1e-6), name
    with torch.no_grad():
        total = synaptic_operations(net, net(frames), fan_maps(net.network))
    assert float(total) / 5 == pytest.approx(remaining_operations(layers, {}, CHANNELS), rel=1e-6)


def test_removing_channels_of_the_first_layer_saves_what_was_foretold() -> None:
    net = IntegerNet(_network(), speck.NUMBERS)
    layers = synapses(net, torch.tensor(FRAMES.astype(np.float32)), fan_maps(net.network))
    first, second = _network()["c1"].op.weight, _network()["c2"].op.weight
    # not the channels with the largest weights, which decide the scales
    largest = {int(np.abs(first).max((1, 2, 3)).argmax()), int(np.abs(second).max((0, 2, 3)).argmax())}
    keep = {"n1": np.isin(np.arange(6), [*largest, *sorted(set(range(6)) - largest)[:2]])}
    assert keep["n1"].sum() < 6
    smaller = _counted(remove_silent_channels(_network(), keep))
    # what the second layer's own spikes cause behind it changes with its input, and is no part of the forecast
    for layer, name in zip(layers[:2], ("c1", "c2"), strict=True):
        assert remaining_operations([layer], keep, CHANNELS) == pytest.approx(smaller[name], rel=1e-6)
        assert smaller[name] < _counted(_network())[name]


def test_importance_is_the_root_mean_square_gradient_of_a_channels_factor() -> None:
    net = IntegerNet(_network(), speck.NUMBERS)
    frames = torch.tensor(FRAMES.astype(np.float32))

    def loss(activity: object, labels: torch.Tensor) -> torch.Tensor:
        # linear in the spikes of n1: the gradient is known
        spikes = activity.values["n1"]  # type: ignore[attr-defined]
        return (spikes.sum((0, 2, 3)) * torch.arange(6.0)).sum() * labels.float().mean()

    batches = [(frames[:, :2], torch.tensor([1.0])), (frames[:, 2:], torch.tensor([3.0]))]
    with torch.no_grad():
        fired = [net(f).values["n1"].sum((0, 2, 3)).numpy() * np.arange(6) for f, _ in batches]
    expected = np.sqrt((fired[0] ** 2 + (3 * fired[1]) ** 2) / 2)
    assert (expected[1:] > 0).all()
    with pytest.raises(RuntimeError, match="not have been used"):
        importance(net, batches, loss)  # n2 plays no part in this loss

    def whole(activity: object, labels: torch.Tensor) -> torch.Tensor:
        return loss(activity, labels) + 0 * activity.values["n2"].sum()  # type: ignore[attr-defined]

    np.testing.assert_allclose(importance(net, batches, whole)["n1"], expected, rtol=1e-5)


def test_the_least_important_for_each_operation_go_first_and_a_quarter_stays() -> None:
    channels = {"a": 4, "b": 4, "out": 2}
    layers = [
        Synapses("a", {INPUT: np.array([60.0, 40.0])}),
        Synapses("b", {"a": np.array([10.0, 40.0, 0.0, 0.0])}),
        Synapses("out", {"b": np.array([25.0, 25.0, 25.0, 25.0])}),
    ]
    assert remaining_operations(layers, {}, channels) == 400 + 200 + 200
    weights = {"a": np.array([1.0, 1.5, 5.0, 6.0]), "b": np.array([0.9, 0.1, 9.0, 9.0])}
    # b1: 0.1 for 50 + 50; then a1: 1.5 for 100 + 3 * 40; then a0: 1.0 for 100 + 3 * 10
    assert choose_channels(weights, layers, channels, 799)["b"].tolist() == [True, False, True, True]
    kept = choose_channels(weights, layers, channels, 481)
    assert kept["a"].tolist() == [True, False, True, True]
    assert remaining_operations(layers, kept, channels) == 480
    assert choose_channels(weights, layers, channels, 479)["b"].tolist() == [True, False, True, True]
    least = choose_channels(weights, layers, channels, 150)
    assert (int(least["a"].sum()), int(least["b"].sum())) == (1, 1)
    assert remaining_operations(layers, least, channels) == 150
    with pytest.raises(ConfigError, match="cannot be met: 150 would remain of 800"):
        choose_channels(weights, layers, channels, 149)
