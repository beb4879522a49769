# SPDX-License-Identifier: Apache-2.0
"""Adapts a folded network to an event-driven chip by running it event by event, and keeps it only if it is better.

The start is the folded network without biases, with neurons that subtract their threshold. Its weights are scaled
layer by layer, first layer first, so that each layer fires a wanted number of spikes *by events*: hidden layers a
little more often than the folded network does, the output often enough for a class to be read from its spikes.
Then `by_events.EventNet` is trained with augmented recordings (`augment.geometric`) and the loss ::

    CE(labels; GAIN * output spikes of each class) + penalty * hidden spikes, weighted by fan-out, / 1000

where labels are smoothed and the weights are those of the mean synapses that a spike of a layer reaches, over those
of the layer with most. A share of the training recordings is not trained on; it chooses (`selection`) among the
network before and that after each epoch, by accuracy by events and by spikes.

All constants were chosen on held-out training recordings, see this folder's README.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from spikefold.config import AdaptConfig, TrainConfig
from spikefold.export.fanout import fanout
from spikefold.export.network import INPUT, Network
from spikefold.export.neuron import Neuron, Reset
from spikefold.export.numbers import NumberFormat
from spikefold.export.ops import Conv2d, Dense
from spikefold.export.passes.quantise import quantise
from spikefold.hardware.simulators import clocked
from spikefold.hardware.simulators.accuracy import accuracy
from spikefold.train.data.augment import geometric
from spikefold.train.deploy.adapt import Adapted
from spikefold.train.deploy.by_events import EventNet, Recorded
from spikefold.train.deploy.integer_net import Activity
from spikefold.train.deploy.selection import Candidate, Selection
from spikefold.train.recipe import held_out
from spikefold.train.state import Epoch, EpochReport

GAIN = 0.15
"""From the output spikes of a class to its logit."""
SMOOTHING, WEIGHT_DECAY, WARM_UP = 0.05, 0.01, 0.15
"""Of the labels; AdamW's; the share of the steps in which the learning rate rises."""
_HIDDEN_MORE, _HIDDEN_LEAST, _OUTPUT = 1.3, 0.25, 5.0
"""Wanted spikes of a neuron a clip: times those of the folded network, but at least; and of the output."""
_SCALING_CLIPS, _BISECTIONS, _MOST_DOUBLINGS = 16, 10, 6.0
_JUDGED_AT_ONCE = 50


@dataclass(frozen=True, eq=False)
class EventTask:
    """The data and the settings of an adaptation by events.

    Attributes:
        chip: the chip's number format.
        recorded: the chip's event engine, and how recordings enter it.
        recordings: the events of each training recording, sorted by time.
        labels: class of each, ``(N,)``.
        adapt: the settings of the adaptation.
        train: the settings of the training, of which batch size and threads apply here too.
        seed: of what is held out, the order of clips and their augmentation.
    """

    chip: NumberFormat
    recorded: Recorded
    recordings: tuple[np.ndarray, ...]
    labels: np.ndarray
    adapt: AdaptConfig
    train: TrainConfig
    seed: int

    def only(self, chosen: np.ndarray) -> list[np.ndarray]:
        """The events of the chosen recordings, by index."""
        return [self.recordings[index] for index in chosen]


def adapt_by_events(network: Network, task: EventTask, report: EpochReport) -> Adapted:
    """Fine-tune a real, folded network; equal inputs and thread counts give equal weights on one platform.

    Raises:
        UnsupportedError: the network cannot be quantised for the chip, or its engine cannot run it.
        ConfigError: a class has only one recording, so that none can be held out.
    """
    if not task.adapt.epochs:
        return Adapted(network, (), None, {})
    torch.set_num_threads(task.train.threads)
    torch.manual_seed(task.seed)
    held = held_out(task.labels, task.adapt.held_share, task.seed, "adapt.by = steps")
    tuned = np.setdiff1d(np.arange(len(task.labels)), held)
    candidates = [judged("before", network, task, held)]
    drawn = np.random.default_rng([task.seed, 0]).permutation(tuned)[:_SCALING_CLIPS]
    net = EventNet(scaled(network, task.chip, task.recorded, task.only(drawn)), task.chip, task.recorded)
    fans = relative_fans(net.integers.network)
    optimiser = torch.optim.AdamW(net.parameters(), lr=task.adapt.event_lr, weight_decay=WEIGHT_DECAY)
    batches = -(-len(tuned) // task.train.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, task.adapt.event_lr, total_steps=task.adapt.epochs * batches, pct_start=WARM_UP
    )
    epochs = []
    for number in range(1, task.adapt.epochs + 1):
        losses, right = 0.0, 0
        for part in torch.randperm(len(tuned)).split(task.train.batch):
            chosen = tuned[part.numpy()]
            labels = torch.from_numpy(task.labels[chosen])
            activity = net(_augmented(task, chosen, number))
            logits = GAIN * activity.spikes[-1].unflatten(1, (network.classes, -1)).sum(2)
            loss = torch.nn.functional.cross_entropy(logits, labels, label_smoothing=SMOOTHING)
            penalty = task.adapt.spike_penalty * weighted_spikes(net, activity, fans, len(chosen)) / 1000
            optimiser.zero_grad()
            (loss + penalty).backward()
            optimiser.step()
            schedule.step()
            losses += loss.item() * len(chosen)
            right += int((logits.argmax(1) == labels).sum())
        candidates.append(judged(f"epoch {number}", net.to_network(), task, held))
        told = candidates[-1].accuracy
        epochs.append(Epoch(number, task.adapt.epochs, losses / len(tuned), right / len(tuned), told))
        report(epochs[-1])
    selection = Selection(len(held), tuple(candidates))
    return Adapted(selection.kept.network, tuple(epochs), None, {}, selection)


def judged(name: str, network: Network, task: EventTask, chosen: np.ndarray) -> Candidate:
    """The accuracy and the spikes a clip of a real network's integers, by events, on the chosen recordings."""
    integer, _ = quantise(network, task.chip)
    counts, spikes = [], 0
    for start in range(0, len(chosen), _JUDGED_AT_ONCE):
        clips = task.only(chosen[start : start + _JUDGED_AT_ONCE])
        trace = task.recorded.spikes(integer, clips, task.recorded.frames(clips))
        counts.append(trace.output_counts(network.classes))
        spikes += trace.spikes
    share = accuracy(np.concatenate(counts), task.labels[chosen]).share
    return Candidate(name, share, spikes / len(chosen), network)


def scaled(network: Network, chip: NumberFormat, recorded: Recorded, clips: Sequence[np.ndarray]) -> Network:
    """The network without biases, thresholds 1, neurons that subtract, weights scaled so that layers fire as wanted.

    Args:
        network: real and folded.
        chip: the number format of the chip.
        recorded: the chip's event engine.
        clips: the events of each clip on which spikes are counted.
    """
    wanted = _wanted(network, recorded.frames(clips))
    found = _without_biases(network, chip)
    for block in found.blocks:
        theta = float(network.block(block.weights.name).neuron.threshold)
        low, high = -_MOST_DOUBLINGS, _MOST_DOUBLINGS
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            tried = _up_to(_times(found, block.weights.name, 2**middle / theta), block.spiking.name)
            spikes = recorded.spikes(quantise(tried, chip)[0], clips, recorded.frames(clips)).layers[
                block.spiking.name
            ]
            low, high = (low, middle) if spikes.spikes > wanted[block.spiking.name] else (middle, high)
        found = _times(found, block.weights.name, 2.0**low / theta)
    return found


def relative_fans(network: Network) -> dict[str, torch.Tensor]:
    """For each weight layer that reads spikes, its synapses a position ``(H, W)``, over a layer's largest mean."""
    fans = {
        layer.name: torch.tensor(fanout(layer.op, network.input_shape(layer)), dtype=torch.float32)
        for layer in network.weights
        if INPUT not in layer.inputs
    }
    largest = max((float(fan.mean()) for fan in fans.values()), default=1.0)
    return {name: fan / largest for name, fan in fans.items()}


def weighted_spikes(net: EventNet, activity: Activity, fans: dict[str, torch.Tensor], clips: int) -> torch.Tensor:
    """Hidden spikes a clip, each times the fan of what reads it."""
    total = torch.zeros(())
    for name, fan in fans.items():
        for source in net.integers.network[name].inputs:
            total = total + (activity.values[source][-clips:] * fan).sum()
    return total / clips


def _wanted(network: Network, frames: np.ndarray) -> dict[str, float]:
    """By spiking layer the wanted spikes on these clips, from those of the folded network, at most one a step."""
    once = network.rewritten(
        [
            replace(layer, op=replace(layer.op, max_spikes=1)) if isinstance(layer.op, Neuron) else layer
            for layer in network
        ],
        "once",
    )
    clips, output = frames.shape[1], network.neurons[-1].name
    wanted = {}
    for name, layer in clocked.run(once, frames).layers.items():
        neurons = clips * int(np.prod(network.shapes[name]))
        wanted[name] = (
            _OUTPUT * neurons if name == output else max(_HIDDEN_MORE * layer.spikes, _HIDDEN_LEAST * neurons)
        )
    return wanted


def _without_biases(network: Network, chip: NumberFormat) -> Network:
    """No biases, and neurons with threshold 1 that subtract it as often as the chip can."""
    layers = []
    for layer in network:
        op = layer.op
        if isinstance(op, Conv2d | Dense):
            op = replace(op, bias=None)
        elif isinstance(op, Neuron):
            lowest = None if op.v_min is None else op.v_min / float(op.threshold)
            reset = Reset.SUBTRACT if Reset.SUBTRACT in chip.resets else op.reset
            op = replace(op, threshold=np.array(1.0), v_min=lowest, reset=reset, max_spikes=chip.max_spikes)
        layers.append(replace(layer, op=op))
    return network.rewritten(layers, "subtract")


def _times(network: Network, name: str, factor: float) -> Network:
    layers = [
        replace(la, op=replace(la.op, weight=la.op.weight * factor))
        if la.name == name and isinstance(la.op, Conv2d | Dense)
        else la
        for la in network
    ]
    return replace(network, layers=tuple(layers))


def _up_to(network: Network, name: str) -> Network:
    """The layers that this one depends on, and itself as the output."""
    needed = {name}
    for layer in reversed(network.layers):
        if layer.name in needed:
            needed.update(layer.inputs)
    return replace(network, layers=tuple(layer for layer in network if layer.name in needed), classes=1)


def _augmented(task: EventTask, chosen: np.ndarray, epoch: int) -> list[np.ndarray]:
    """The chosen recordings, each turned, scaled, sheared and moved by what seed, epoch and its index draw."""
    sensor = task.recorded.binning.sensor
    return [
        geometric(task.recordings[index], sensor, np.random.default_rng([task.seed, epoch, int(index)]))
        for index in chosen
    ]
