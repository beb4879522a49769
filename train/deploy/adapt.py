# SPDX-License-Identifier: Apache-2.0
"""Adapts a folded network to a chip: fine-tunes it in the chip's own integers.

The forward pass is `IntegerNet`, the chip's arithmetic bit for bit. The loss mixes cross-entropy on the labels with
the divergence from a teacher, the float network with dynamic attention (Hinton et al. 2015, without a temperature,
because its logits are rates times a gain already)::

    (1 - distill) CE(labels) + distill KL(p_teacher || p) + max(0, synops / budget - 1)

The result is a weighted mean of the weights before and after, in which the tuned weights have the share ``blend``.
The mean of two such close networks is usually better than both on data that neither has seen (Wortsman et al.,
"Robust fine-tuning of zero-shot models", CVPR 2022). Where channels, biases or a leak were removed, the start is not
a working network, and the result is the tuned weights alone.

With a budget of synaptic operations, the channels that matter least for each operation are removed first (`pruning`),
and the last term of the loss keeps the rest within the budget. For chips whose bias is a slow clock, ``bias =
"fade"`` reduces the biases to zero over the first half of the epochs. ``cap_weights`` keeps every weight at or below
its threshold, so that one event makes at most one spike and the order of events inside a step matters less.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from spikefold.config import AdaptConfig, TrainConfig
from spikefold.export.fanout import fanout
from spikefold.export.network import Network
from spikefold.export.numbers import NumberFormat
from spikefold.export.ops import Conv2d, Dense
from spikefold.export.passes.remove_silent_channels import remove_silent_channels
from spikefold.train.data.augment import shifted
from spikefold.train.data.clips import ClipSet
from spikefold.train.deploy.integer_net import Activity, IntegerNet
from spikefold.train.deploy.pruning import (
    choose_channels,
    importance,
    remaining_operations,
    synapses,
    synaptic_operations,
)
from spikefold.train.deploy.selection import Selection
from spikefold.train.state import Epoch, EpochReport

_RANKING_BATCHES = 8


@dataclass(frozen=True, eq=False)
class Adapted:
    """A network after adaptation, and a record of the adaptation.

    Attributes:
        network: the real network; without a blend, `quantise` makes exactly the integers that were trained of it.
        epochs: the result of each epoch.
        synops_before: the synaptic operations a clip before any channel was removed, over the clips that rank the
            channels; None without a budget.
        channels: by hidden spiking layer the number of channels kept and of all channels; empty without a budget.
        selection: what was judged on recordings held out, and chosen; None where the last epoch is kept.
    """

    network: Network
    epochs: tuple[Epoch, ...]
    synops_before: float | None
    channels: dict[str, tuple[int, int]]
    selection: Selection | None = None

    def to_json(self) -> dict[str, object]:
        """Plain values for a report."""
        last = self.epochs[-1] if self.epochs else None
        return {
            "epochs": len(self.epochs),
            "loss": last.loss if last else None,
            "synops_before": self.synops_before,
            "channels": {name: list(kept) for name, kept in self.channels.items()},
            "selection": None if self.selection is None else self.selection.to_json(),
        }


@dataclass(frozen=True, eq=False)
class Task:
    """The data and the settings of an adaptation.

    Attributes:
        chip: the chip's number format.
        clips: the training clips.
        teacher: the logits ``(N, classes)`` of the float network; None without a teacher.
        adapt: the settings of the adaptation.
        train: the settings of the training, of which batch size, shift, loss and gain apply here too.
        seed: the seed of the order of clips and of their shifts.
        from_far: whether the network does not work on the chip yet because its neurons were replaced; then nothing is
            blended.
    """

    chip: NumberFormat
    clips: ClipSet
    teacher: np.ndarray | None
    adapt: AdaptConfig
    train: TrainConfig
    seed: int
    from_far: bool = False


def adapt(network: Network, task: Task, report: EpochReport) -> Adapted:
    """Fine-tune a real, folded network; equal inputs and thread counts give equal weights on one platform.

    Raises:
        UnsupportedError: the network cannot be quantised for the chip.
        ConfigError: the budget cannot be met.
    """
    torch.set_num_threads(task.train.threads)
    torch.manual_seed(task.seed)
    net, data = IntegerNet(network, task.chip), _Data(task, network.classes)
    before: float | None = None
    channels: dict[str, tuple[int, int]] = {}
    if task.adapt.synops_budget is not None:
        net, before, channels = _within_budget(net, task.adapt.synops_budget, data)
    if not task.adapt.epochs:
        return Adapted(net.to_network() if channels else network, (), before, channels)
    fans, start = fan_maps(net.network), [parameter.detach().clone() for parameter in net.parameters()]
    optimiser = torch.optim.Adam(net.parameters(), lr=task.adapt.lr, fused=True)
    batches = -(-len(task.clips) // task.train.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, task.adapt.lr, total_steps=task.adapt.epochs * batches, pct_start=0.1
    )
    epochs = []
    for number in range(1, task.adapt.epochs + 1):
        losses, right = 0.0, 0
        for index, chosen in enumerate(torch.randperm(len(task.clips)).split(task.train.batch)):
            if task.adapt.bias == "fade":
                done = (number - 1 + index / batches) / task.adapt.epochs
                net.bias_share = max(0.0, 1 - 2 * done)
            activity = net(shifted(data.frames[:, chosen], task.train.shift))
            loss = data.loss(activity, chosen) + _over_budget(net, activity, fans, task, len(chosen))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            if task.adapt.cap_weights:
                net.cap_weights()
            losses += loss.item() * len(chosen)
            right += int((data.logits(activity).argmax(1) == data.labels[chosen]).sum())
        epochs.append(Epoch(number, task.adapt.epochs, losses / len(task.clips), right / len(task.clips)))
        report(epochs[-1])
    if task.adapt.bias == "fade":
        net.bias_share = 0.0
    elif not channels and not task.from_far:
        net.blend(start, task.adapt.blend)
    if task.adapt.cap_weights:
        net.cap_weights()
    return Adapted(net.to_network(), tuple(epochs), before, channels)


class _Data:
    """The tensors of one task, and its loss."""

    def __init__(self, task: Task, classes: int) -> None:
        self.task = task
        self.frames = torch.from_numpy(task.clips.frames.astype(np.float32))
        self.labels = torch.from_numpy(task.clips.labels)
        self.teacher = None if task.teacher is None else torch.tensor(task.teacher, dtype=torch.float32).softmax(1)
        self.classes = classes

    def logits(self, activity: Activity) -> torch.Tensor:
        values, gain = (
            (activity.current, 1.0) if self.task.train.loss == "current" else (activity.spikes, self.task.train.gain)
        )
        return values.unflatten(2, (self.classes, -1)).mean(dim=(0, 3)) * gain

    def loss(self, activity: Activity, chosen: torch.Tensor) -> torch.Tensor:
        logits = self.logits(activity)
        right = torch.nn.functional.cross_entropy(logits, self.labels[chosen])
        share = self.task.adapt.distill
        if self.teacher is None or not share:
            return right
        teaching = torch.nn.functional.kl_div(logits.log_softmax(1), self.teacher[chosen], reduction="batchmean")
        return (1 - share) * right + share * teaching

    def batches(self, count: int) -> Iterator[torch.Tensor]:
        """The indices of the first batches of clips."""
        return iter(torch.arange(len(self.labels)).split(self.task.train.batch)[:count])


def fan_maps(network: Network) -> dict[str, torch.Tensor]:
    """The number of synapses ``(H, W)`` that leave each input position, for each weight layer."""
    return {
        layer.name: torch.tensor(fanout(layer.op, network.input_shape(layer)), dtype=torch.float32)
        for layer in network
        if isinstance(layer.op, Conv2d | Dense)
    }


def _over_budget(
    net: IntegerNet, activity: Activity, fans: dict[str, torch.Tensor], task: Task, clips: int
) -> torch.Tensor:
    if task.adapt.synops_budget is None:
        return torch.zeros(())
    share = synaptic_operations(net, activity, fans) / (clips * task.adapt.synops_budget)
    return torch.relu(share - 1)


def _within_budget(
    net: IntegerNet, budget: float, data: _Data
) -> tuple[IntegerNet, float, dict[str, tuple[int, int]]]:
    """Remove the channels that do not fit the budget; the network, the operations before, and the channels kept."""
    chosen = list(data.batches(_RANKING_BATCHES))
    ranking = torch.cat(chosen)
    layers = synapses(net, data.frames[:, ranking], fan_maps(net.network))
    channels = {layer.name: net.network.shapes[layer.name][0] for layer in net.network.neurons}
    weights = importance(net, ((data.frames[:, c], c) for c in chosen), data.loss)
    keep = choose_channels(weights, layers, channels, budget)
    smaller = remove_silent_channels(net.network, keep)
    return (
        IntegerNet(smaller, net.chip),
        remaining_operations(layers, {}, channels),
        {name: (int(kept.sum()), len(kept)) for name, kept in keep.items()},
    )
