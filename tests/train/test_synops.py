# SPDX-License-Identifier: Apache-2.0
"""Operations that a training counts, against the mean fan-out by hand; a penalty on them makes a network sparse."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import layer, neuron
from torch import nn

from spikefold.train.data.clips import ClipSet
from spikefold.train.loop import train
from spikefold.train.models.spiking_net import SpikingNet
from spikefold.train.state import Epoch
from spikefold.train.synops import SynopsMeter, mean_fanout
from tests.train.training_cases import changed, halves


@pytest.mark.parametrize(
    ("module", "fanout"),
    [
        (layer.Conv2d(4, 8, 3, padding=1), 72.0),
        (layer.Conv2d(4, 8, 4, stride=2, padding=1), 32.0),
        (layer.Conv2d(4, 8, 3, groups=2), 36.0),
        (layer.Linear(5, 7), 7.0),
        (nn.ReLU(), 0.0),
    ],
)
def test_the_mean_fan_out(module: nn.Module, fanout: float) -> None:
    assert mean_fanout(module) == fanout


def test_spikes_are_counted_at_their_fan_out_and_the_input_is_not() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        layer.Conv2d(2, 4, 4, stride=2, padding=1, step_mode="m"),
        neuron.IFNode(step_mode="m"),
        nn.Flatten(2),
        layer.Linear(4 * 3 * 3, 6, step_mode="m"),
    )
    spikes = []
    net[1].register_forward_hook(lambda module, inputs, output: spikes.append(output))
    meter = SynopsMeter(net)
    net(torch.rand(3, 2, 2, 6, 6) * 4)
    taken = meter.taken()
    assert spikes[0].sum() > 10
    assert taken.item() == spikes[0].sum().item() * 6
    taken.backward()
    (weight, *_) = net[0].parameters()
    assert weight.grad is not None
    assert weight.grad.abs().sum() > 0, "a penalty reaches the weights that make the spikes"
    assert meter.taken().item() == 0
    meter.close()
    net(torch.rand(3, 2, 2, 6, 6))
    assert meter.taken().item() == 0


def _spikes(model: SpikingNet, clips: ClipSet) -> float:
    found: list[float] = []
    hooks = [
        module.register_forward_hook(lambda module, inputs, output: found.append(float(output.sum())))
        for module in model.modules()
        if isinstance(module, neuron.BaseNode)
    ]
    with torch.no_grad():
        model(torch.from_numpy(clips.frames.astype(np.float32)))
    for hook in hooks:
        hook.remove()
    return sum(found[:-1]) / len(clips)


def test_a_penalty_makes_a_network_sparser_that_still_learns() -> None:
    fired, seen = [], []
    for penalty in (0.0, 5000.0):
        epochs: list[Epoch] = []
        model = train(changed(train={"synops_penalty": penalty}), halves(), 2, epochs.append)
        fired.append(_spikes(model, halves(40)))
        seen.append(epochs[-1].accuracy)
    assert 0 < fired[1] < 0.8 * fired[0]
    assert min(seen) > 0.9
