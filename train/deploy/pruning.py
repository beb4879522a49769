# SPDX-License-Identifier: Apache-2.0
"""Chooses the channels to remove so that a network meets a budget of synaptic operations.

The importance of a channel is the first-order change of the loss when a factor on its spikes falls from 1 to 0, as
the root mean square over batches (Molchanov et al., "Importance estimation for neural network pruning", CVPR 2019,
eq. 8, for a gate of one channel). Removing a channel saves the operations of its own synapses and those that its
spikes cause in the next layer. The channel with the least importance for each saved operation is removed first, then
the next one, until the budget is met.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from spikefold.errors import ConfigError
from spikefold.export.network import INPUT, Network
from spikefold.export.ops import Conv2d, Dense, SumPool2d
from spikefold.train.deploy.integer_net import Activity, IntegerNet

_LEAST_KEPT = 0.25
"""The share of its channels that every layer keeps at least."""


@dataclass(frozen=True, eq=False)
class Synapses:
    """The synaptic operations per clip of one weight layer.

    Attributes:
        neurons: the spiking layer behind the weights.
        reached: for each spiking layer (or the input) that the weights read, the operations that each of its channels
            causes for one output channel, ``(C,)``.
    """

    neurons: str
    reached: Mapping[str, np.ndarray]


def remaining_operations(
    layers: Iterable[Synapses], keep: Mapping[str, np.ndarray], channels: Mapping[str, int]
) -> float:
    """Synaptic operations per clip with only the channels of ``keep``; ``channels`` counts those of all layers."""
    total = 0.0
    for layer in layers:
        outputs = keep[layer.neurons].sum() if layer.neurons in keep else channels[layer.neurons]
        for source, reached in layer.reached.items():
            total += float(outputs) * float(reached[keep[source]].sum() if source in keep else reached.sum())
    return total


def synaptic_operations(net: IntegerNet, activity: Activity, fans: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Synaptic operations of a forward pass over all clips, as a differentiable sum of events times synapses."""
    total = torch.zeros(())
    for name, fan in fans.items():
        layer = net.network[name]
        x = sum((activity.values[source] for source in layer.inputs[1:]), start=activity.values[layer.inputs[0]])
        total = total + (x * fan).sum()
    return total


def importance(
    net: IntegerNet, batches: Iterable[tuple[torch.Tensor, torch.Tensor]], loss: Callable[..., torch.Tensor]
) -> dict[str, np.ndarray]:
    """The importance ``(C,)`` of the channels of each hidden spiking layer, over batches of (frames, indices)."""
    hidden = [layer.name for layer in net.network.neurons[:-1]]
    squares = {name: np.zeros(net.network.shapes[name][0]) for name in hidden}
    count = 0
    for frames, chosen in batches:
        masks = {name: torch.ones(len(squares[name]), requires_grad=True) for name in hidden}
        gradients = torch.autograd.grad(loss(net(frames, masks), chosen), list(masks.values()))
        for name, gradient in zip(masks, gradients, strict=True):
            squares[name] += gradient.double().numpy() ** 2
        count += 1
    return {name: np.sqrt(values / count) for name, values in squares.items()}


@torch.no_grad()
def synapses(net: IntegerNet, frames: torch.Tensor, fans: Mapping[str, torch.Tensor]) -> list[Synapses]:
    """Count where the synaptic operations of clips ``(T, N, C, H, W)`` arise."""
    activity, clips, network, found = net(frames), frames.shape[1], net.network, []
    for layer in network:
        if not isinstance(layer.op, Conv2d | Dense):
            continue
        neurons = network.consumers(layer.name)[0].name
        outputs = network.shapes[neurons][0]
        reached: dict[str, np.ndarray] = {}
        for source in layer.inputs:
            by_channel = (activity.values[source] * fans[layer.name]).sum((0, 2, 3)).double().numpy()
            origin = _origin(network, source)
            reached[origin] = reached.get(origin, 0) + by_channel / (clips * outputs)
        found.append(Synapses(neurons, reached))
    return found


def choose_channels(
    weights: Mapping[str, np.ndarray], layers: list[Synapses], channels: Mapping[str, int], budget: float
) -> dict[str, np.ndarray]:
    """Choose the channels to keep, boolean ``(C,)`` by hidden spiking layer, so that the budget is met.

    Args:
        weights: the importance ``(C,)`` of the channels of each hidden spiking layer.
        layers: where the operations arise.
        channels: the number of channels of every spiking layer.
        budget: the most synaptic operations per clip, on the clips that ``layers`` was measured on.

    Raises:
        ConfigError: even a quarter of the channels needs more than the budget.
    """
    keep = {name: np.ones(len(values), bool) for name, values in weights.items()}
    left = total = remaining_operations(layers, keep, channels)
    while left > budget:
        best = None
        for name, values in weights.items():
            if keep[name].sum() <= max(1, np.ceil(_LEAST_KEPT * len(values))):
                continue
            for channel in np.flatnonzero(keep[name]):
                keep[name][channel] = False
                saved = left - remaining_operations(layers, keep, channels)
                keep[name][channel] = True
                price = values[channel] / max(saved, 1e-9)
                if best is None or price < best[0]:
                    best = price, name, channel
        if best is None:
            raise ConfigError(
                f"a budget of {budget:,.0f} synaptic operations a clip cannot be met: {left:,.0f} would remain of "
                f"{total:,.0f} with a quarter of the channels",
                where="adapt.synops_budget",
                hint="a larger budget, or fewer channels or a larger stride in the first convolution",
            )
        keep[best[1]][best[2]] = False
        left = remaining_operations(layers, keep, channels)
    return keep


def _origin(network: Network, name: str) -> str:
    while name != INPUT and isinstance(network[name].op, SumPool2d):
        name = network[name].inputs[0]
    return name
