# SPDX-License-Identifier: Apache-2.0
"""Adapts a folded network to a chip: fine-tunes it in the chip's own integers.

The forward pass is `IntegerNet`, the chip's arithmetic bit for bit. The loss mixes cross-entropy on the labels with
the divergence from a teacher, the float network with dynamic attention (Hinton et al. 2015, without a temperature,
because its logits are rates times a gain already)::

    (1 - distill) CE(labels) + distill KL(p_teacher || p) + max(0, synops / budget - 1)

A blend is a weighted mean of the weights before and after, in which the tuned weights have the share ``blend``. The
mean of two such close networks is usually better than both on data that neither has seen (Wortsman et al., "Robust
fine-tuning of zero-shot models", CVPR 2022). Where channels, biases or a leak were removed, the start is not a
working network, and nothing is blended.

With recordings held out (`trial`) the result is the best on them of the network from before, that after each epoch,
and the blend (`selection`); where channels or biases had to go, one of the epochs. Without them it is the blend.
Neurons that fire several times a step have no most of spikes, so their logits are those of `adapt_by_events`: with a
factor on the rate that suits one spike a step they would saturate the loss.

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
from spikefold.train.deploy.selection import BEFORE, Selection
from spikefold.train.deploy.trial import Candidates, Trial
from spikefold.train.state import Epoch, EpochReport

_RANKING_BATCHES = 8
SPIKES_TO_LOGIT = 0.15
"""Of the output spikes of a class in a clip, where neurons may fire several times a step. Chosen on held-out training
recordings, see this folder's README."""


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
        trial: recordings held out that choose the result; None: the last epoch, or the blend, is the result.
    """

    chip: NumberFormat
    clips: ClipSet
    teacher: np.ndarray | None
    adapt: AdaptConfig
    train: TrainConfig
    seed: int
    from_far: bool = False
    trial: Trial | None = None


def adapt(network: Network, task: Task, report: EpochReport) -> Adapted:
    """Fine-tune a real, folded network; equal inputs and thread counts give equal weights on one platform.

    Raises:
        UnsupportedError: the network cannot be quantised for the chip.
        ConfigError: the budget cannot be met.
    """
    torch.set_num_threads(task.train.threads)
    torch.manual_seed(task.seed)
    net = IntegerNet(network, task.chip)
    before: float | None = None
    channels: dict[str, tuple[int, int]] = {}
    if task.adapt.synops_budget is not None:
        net, before, channels = within_budget(net, task.adapt.synops_budget, task)
    if not task.adapt.epochs:
        return Adapted(net.to_network() if channels else network, (), before, channels)
    fade, tuning, epochs = task.adapt.bias == "fade", _Tuning(net, task), []
    found = Candidates(task.chip, task.trial, task.adapt.synops_budget)
    if not channels and not fade:
        found.add(BEFORE, network)
    for number in range(1, task.adapt.epochs + 1):
        loss, right = tuning.epoch(number)
        told = None
        if not fade or not net.bias_share:
            told = found.add(f"epoch {number}", net.to_network())
        epochs.append(Epoch(number, task.adapt.epochs, loss, right, told))
        report(epochs[-1])
    if not fade and not channels and not task.from_far and task.adapt.blend < 1:
        tuning.blend()
        found.add(f"blend {task.adapt.blend:g}", net.to_network())
    selection = found.selection()
    result = net.to_network() if selection is None else selection.kept.network
    return Adapted(result, tuple(epochs), before, channels, selection)


class _Tuning:
    """The epochs of one adaptation."""

    def __init__(self, net: IntegerNet, task: Task) -> None:
        self.net, self.task, self.data = net, task, _Data(task, net.network)
        self.fans, self.start = fan_maps(net.network), [p.detach().clone() for p in net.parameters()]
        self.optimiser = torch.optim.Adam(net.parameters(), lr=task.adapt.lr, fused=True)
        self.batches = -(-len(task.clips) // task.train.batch)
        steps = task.adapt.epochs * self.batches
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimiser, task.adapt.lr, total_steps=steps, pct_start=0.1
        )

    def epoch(self, number: int) -> tuple[float, float]:
        """Train on every clip once; the mean loss and the share that was classified correctly."""
        net, task, data = self.net, self.task, self.data
        losses, right = 0.0, 0
        for index, chosen in enumerate(torch.randperm(len(task.clips)).split(task.train.batch)):
            if task.adapt.bias == "fade":
                done = (number - 1 + index / self.batches) / task.adapt.epochs
                net.bias_share = max(0.0, 1 - 2 * done)
            activity = net(shifted(data.frames[:, chosen], task.train.shift))
            loss = data.loss(activity, chosen) + _over_budget(net, activity, self.fans, task, len(chosen))
            self.optimiser.zero_grad()
            loss.backward()
            self.optimiser.step()
            self.schedule.step()
            if task.adapt.cap_weights:
                net.cap_weights()
            losses += loss.item() * len(chosen)
            right += int((data.logits(activity).argmax(1) == data.labels[chosen]).sum())
        if task.adapt.bias == "fade" and number == task.adapt.epochs:
            net.bias_share = 0.0
        return losses / len(task.clips), right / len(task.clips)

    def blend(self) -> None:
        """Go back a part of the way to where the epochs began."""
        self.net.blend(self.start, self.task.adapt.blend)
        if self.task.adapt.cap_weights:
            self.net.cap_weights()


class _Data:
    """The tensors of one task, and its loss."""

    def __init__(self, task: Task, network: Network) -> None:
        self.task = task
        self.frames = torch.from_numpy(task.clips.frames.astype(np.float32))
        self.labels = torch.from_numpy(task.clips.labels)
        self.teacher = None if task.teacher is None else torch.tensor(task.teacher, dtype=torch.float32).softmax(1)
        self.classes, self.several = network.classes, network.neurons[-1].neuron.max_spikes != 1

    def logits(self, activity: Activity) -> torch.Tensor:
        if self.several and self.task.train.loss != "current":
            return SPIKES_TO_LOGIT * activity.spikes.unflatten(2, (self.classes, -1)).sum(dim=(0, 3))
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


def within_budget(net: IntegerNet, budget: float, task: Task) -> tuple[IntegerNet, float, dict[str, tuple[int, int]]]:
    """Remove the channels that do not fit the budget; the network, the operations before, and the channels kept.

    Raises:
        ConfigError: the budget cannot be met.
    """
    data = _Data(task, net.network)
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
