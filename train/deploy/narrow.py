# SPDX-License-Identifier: Apache-2.0
"""Narrows a folded network until it fits a chip: the channels that matter least are removed, other weights stay.

How many channels each layer keeps is the smallest change that fits (`smallest_change`: halved, then increased again).
Which channels are removed follows from their importance (`pruning`): the change of the loss without the channel, to
first order. The result is another function and should be fine-tuned (`adapt`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from spikefold.config import TrainConfig
from spikefold.errors import Issue, UnsupportedError
from spikefold.export.network import Layer, Network
from spikefold.export.ops import Conv2d, Dense
from spikefold.export.passes.remove_silent_channels import remove_silent_channels
from spikefold.hardware.chip import Chip
from spikefold.hardware.fit import broken_rules
from spikefold.train.data.clips import ClipSet
from spikefold.train.deploy.integer_net import Activity, IntegerNet
from spikefold.train.deploy.pruning import importance
from spikefold.train.deploy.smallest_change import SearchAxis, Setting, halvings, smallest_change

_RANKING_BATCHES = 8


@dataclass(frozen=True, eq=False)
class Narrowed:
    """A network that fits a chip.

    Attributes:
        network: the narrowed network.
        kept: the channels ``(C,)`` that stayed, for each hidden spiking layer that lost some.
    """

    network: Network
    kept: Mapping[str, np.ndarray]


def channel_importance(network: Network, chip: Chip, clips: ClipSet, train: TrainConfig) -> dict[str, np.ndarray]:
    """Measure the importance ``(C,)`` of the channels of each hidden spiking layer, on the first batches of clips.

    Args:
        network: a real, folded network with the chip's neurons.
        chip: the chip in whose integers the network runs.
        clips: the clips with their labels.
        train: the settings of the training, of which loss, gain and batch apply.
    """
    net = IntegerNet(network, chip.numbers)
    frames, labels = torch.from_numpy(clips.frames.astype(np.float32)), torch.from_numpy(clips.labels)

    def loss(activity: Activity, chosen: torch.Tensor) -> torch.Tensor:
        values, gain = (activity.current, 1.0) if train.loss == "current" else (activity.spikes, train.gain)
        logits = values.unflatten(2, (network.classes, -1)).mean(dim=(0, 3)) * gain
        return torch.nn.functional.cross_entropy(logits, labels[chosen])

    batches = torch.arange(len(clips)).split(train.batch)[:_RANKING_BATCHES]
    return importance(net, ((frames[:, chosen], chosen) for chosen in batches), loss)


def kept_counts(network: Network, chip: Chip) -> dict[str, int]:
    """Search how many channels each hidden spiking layer can keep; all of them where the network fits.

    Raises:
        UnsupportedError: fewer channels alone do not make it fit; the error lists the rules that it breaks.
    """
    hidden = network.neurons[:-1]
    counts = [network.shapes[layer.name][0] for layer in hidden]
    axes = [
        SearchAxis(layer.name, halvings(count), 1.0, _touched(network, layer), counts=True)
        for layer, count in zip(hidden, counts, strict=True)
    ]

    def check(setting: Setting) -> list[Issue] | None:
        alive = {
            layer.name: np.arange(count) < keep for layer, count, keep in zip(hidden, counts, setting, strict=True)
        }
        try:
            return broken_rules(remove_silent_channels(network, alive), chip)
        except UnsupportedError:
            return None  # for example, layers that are added up would lose different channels

    # fewer channels never break a rule, so no count helps against a rule that one channel a layer breaks; without a
    # hidden layer the check is that of the network itself
    if beyond := check(tuple(1 for _ in hidden)):
        raise UnsupportedError(f"fewer channels alone do not make it fit {chip.title}", issues=beyond)
    return dict(zip((layer.name for layer in hidden), smallest_change(axes, check), strict=True))


def narrow(network: Network, chip: Chip, ranking: Mapping[str, np.ndarray]) -> Narrowed:
    """Keep as many channels as fit, the most important ones.

    Args:
        network: a real, folded network with the chip's neurons.
        chip: the target.
        ranking: the importance ``(C,)`` of the channels of each hidden spiking layer, from `channel_importance`.

    Raises:
        UnsupportedError: fewer channels alone do not make it fit; the error lists the rules that it breaks.
    """
    kept = {}
    for name, count in kept_counts(network, chip).items():
        values = ranking[name]
        if count < len(values):
            kept[name] = np.zeros(len(values), bool)
            # a stable sort keeps the first of equal channels
            kept[name][np.argsort(-values, kind="stable")[:count]] = True
    narrowed = remove_silent_channels(network, kept)
    if issues := broken_rules(narrowed, chip):
        raise UnsupportedError("the narrowed network fits by its shapes, but not with its weights", issues=issues)
    return Narrowed(narrowed, kept)


def _touched(network: Network, layer: Layer) -> frozenset[str]:
    """The layers whose shapes depend on this layer's channels: its weights and all layers up to the next weights."""
    found, waiting = {layer.name, *layer.inputs}, [layer.name]
    while waiting:
        for reader in network.consumers(waiting.pop()):
            if reader.name not in found:
                found.add(reader.name)
                if not isinstance(reader.op, Conv2d | Dense):
                    waiting.append(reader.name)
    return frozenset(found)
