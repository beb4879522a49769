# SPDX-License-Identifier: Apache-2.0
"""Adapts a folded network to an event-driven chip by running it event by event, and keeps it only if it is better.

The start is the folded network without biases, with neurons that subtract their threshold. Its weights are scaled
layer by layer, first layer first, so that each layer fires a wanted number of spikes *by events*: hidden layers a
little more often than the folded network does, the output often enough for a class to be read from its spikes.
Then `by_events.EventNet` is trained with augmented recordings (`augment.geometric`) and the loss ::

    CE(labels; SPIKES_TO_LOGIT * output spikes of each class) + max(0, spikes / (spike_limit * spikes before) - 1)

where labels are smoothed, and the spikes are those of hidden layers, weighted by the mean synapses that a spike of
the layer reaches, over those of the layer with most; before: of the folded network in steps, one a step at most.
Recordings held out choose (`selection`) among the network before and those after the later half of the epochs, by
accuracy by events and by spikes. Where they choose the network before, the epochs are trained once more from the
last one's weights.

With a budget of synaptic operations the channels that matter least for each operation go first, measured in steps
(`adapt`), and ``max(0, synops / budget - 1)`` is added to the loss, counted by events.

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
from spikefold.hardware.simulators.trace import Trace
from spikefold.train.data.augment import geometric
from spikefold.train.data.clips import ClipSet
from spikefold.train.deploy.adapt import Adapted, Task, fan_maps, within_budget
from spikefold.train.deploy.by_events import EventNet, Recorded
from spikefold.train.deploy.integer_net import Activity, IntegerNet
from spikefold.train.deploy.selection import BEFORE
from spikefold.train.deploy.trial import Candidates, Trial, reads
from spikefold.train.state import Epoch, EpochReport

SMOOTHING, WEIGHT_DECAY, WARM_UP = 0.05, 0.01, 0.15
"""Of the labels; AdamW's; the share of the steps in which the learning rate rises."""
SPIKES_TO_LOGIT = 0.1
"""Of the output spikes of a class in a clip."""
_HIDDEN_MORE, _HIDDEN_LEAST, _OUTPUT = 1.3, 0.25, 15.0
"""Wanted spikes of a neuron a clip: times those of the folded network, but at least; and of the output."""
ROUNDS = 2
"""Where none of the epochs is kept, as many are trained again from the last, at half the rate, at most so often."""
_COUNTED_CLIPS, _SCALING_CLIPS, _BISECTIONS, _MOST_DOUBLINGS = 100, 16, 10, 6.0


@dataclass(frozen=True, eq=False)
class EventTask:
    """The data and the settings of an adaptation by events.

    Attributes:
        chip: the chip's number format.
        recorded: the chip's event engine, and how recordings enter it.
        recordings: the events of each training recording, sorted by time.
        clips: the same as frames, on which a budget ranks channels, and the class of each.
        adapt: the settings of the adaptation.
        train: the settings of the training, of which threads apply here too, and where channels are ranked the
            batch size.
        seed: of the order of clips and their augmentation.
        trial: recordings held out that choose the result; None: the last epoch is the result.
    """

    chip: NumberFormat
    recorded: Recorded
    recordings: Sequence[np.ndarray]
    clips: ClipSet
    adapt: AdaptConfig
    train: TrainConfig
    seed: int
    trial: Trial | None = None

    @property
    def labels(self) -> np.ndarray:
        """The class of each recording, ``(N,)``."""
        return self.clips.labels

    def only(self, chosen: np.ndarray) -> list[np.ndarray]:
        """The events of the chosen recordings, by index."""
        return [self.recordings[index] for index in chosen]


def adapt_by_events(network: Network, task: EventTask, report: EpochReport) -> Adapted:
    """Fine-tune a real, folded network; equal inputs and thread counts give equal weights on one platform.

    Raises:
        UnsupportedError: the network cannot be quantised for the chip, or its engine cannot run it.
        ConfigError: the budget cannot be met.
    """
    if not task.adapt.epochs_by_events:
        return Adapted(network, (), None, {})
    torch.set_num_threads(task.train.threads)
    torch.manual_seed(task.seed)
    smaller, operations, channels = _within_budget(network, task)
    found = Candidates(task.chip, task.trial, task.adapt.synops_budget)
    if not channels:
        found.add(BEFORE, network)
    drawn = np.random.default_rng([task.seed, 0]).permutation(len(task.recordings))[:_COUNTED_CLIPS]
    some = task.only(drawn[:_SCALING_CLIPS])
    net = EventNet(scaled(smaller, task.chip, task.recorded, some), task.chip, task.recorded)
    fans, limit = relative_fans(net.integers.network), 0.0
    if task.adapt.spike_limit:
        limit = task.adapt.spike_limit * _weighted_before(smaller, task, drawn, fans)
    costs = _Costs(fans, limit, fan_maps(net.integers.network), task.adapt.synops_budget)
    optimiser = torch.optim.AdamW(net.parameters(), lr=task.adapt.event_lr, weight_decay=WEIGHT_DECAY)
    each = task.adapt.epochs_by_events
    steps = each * -(-len(task.recordings) // task.adapt.event_batch)
    epochs: list[Epoch] = []
    for number in range(ROUNDS):
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, task.adapt.event_lr / 2**number, total_steps=steps, pct_start=WARM_UP
        )
        for of_round in range(1, each + 1):
            loss, right = _epoch(net, task, len(epochs) + 1, costs, optimiser, schedule)
            # before, the rate is high: what is good then is so by chance, for these recordings alone
            late = of_round > each // 2
            told = found.add(f"epoch {len(epochs) + 1}", net.to_network()) if late else None
            epochs.append(Epoch(len(epochs) + 1, (number + 1) * each, loss, right, told))
            report(epochs[-1])
        if not found.keep(BEFORE):
            break
    selection = found.selection()
    result = net.to_network() if selection is None else selection.kept.network
    return Adapted(result, tuple(epochs), operations, channels, selection)


def _epoch(
    net: EventNet,
    task: EventTask,
    number: int,
    costs: _Costs,
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
) -> tuple[float, float]:
    """Train once on each recording; the mean loss without the costs of spikes, and the share that was right."""
    losses, right, count = 0.0, 0, len(task.recordings)
    for part in torch.randperm(count).split(task.adapt.event_batch):
        chosen = part.numpy()
        labels = torch.from_numpy(task.labels[chosen])
        activity = net(_augmented(task, chosen, number))
        logits = SPIKES_TO_LOGIT * activity.spikes[-1].unflatten(1, (net.integers.network.classes, -1)).sum(2)
        loss = torch.nn.functional.cross_entropy(logits, labels, label_smoothing=SMOOTHING)
        optimiser.zero_grad()
        (loss + costs.of(net, activity, len(chosen))).backward()
        optimiser.step()
        schedule.step()
        losses += loss.item() * len(chosen)
        right += int((logits.argmax(1) == labels).sum())
    return losses / count, right / count


@dataclass(frozen=True, eq=False)
class _Costs:
    """What spikes cost in the loss.

    Attributes:
        fans: of the layers whose inputs count against the limit, see `relative_fans`.
        limit: of what they read, a clip; 0: none.
        all_fans: the synapses a position of all layers.
        budget: of the synaptic operations, a clip; None: none.
    """

    fans: dict[str, torch.Tensor]
    limit: float
    all_fans: dict[str, torch.Tensor]
    budget: float | None

    def of(self, net: EventNet, activity: Activity, clips: int) -> torch.Tensor:
        """The share beyond the limit, and that beyond the budget."""
        cost = torch.zeros(())
        if self.limit:
            cost = torch.relu(weighted_spikes(net, activity, self.fans, clips) / self.limit - 1)
        if self.budget is not None:
            cost = cost + torch.relu(weighted_spikes(net, activity, self.all_fans, clips) / self.budget - 1)
        return cost


def _within_budget(network: Network, task: EventTask) -> tuple[Network, float | None, dict[str, tuple[int, int]]]:
    """The network with as many channels as the budget allows, as `adapt.within_budget` chooses them in steps."""
    if task.adapt.synops_budget is None:
        return network, None, {}
    ranking = Task(task.chip, task.clips, None, task.adapt, task.train, task.seed)
    net, before, channels = within_budget(IntegerNet(network, task.chip), task.adapt.synops_budget, ranking)
    if all(kept == all_of_them for kept, all_of_them in channels.values()):
        return network, before, {}
    return net.to_network(), before, channels


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
            tried = _times(found, block.weights.name, 2**middle / theta).up_to(block.spiking.name)
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
    """What the layers named in ``fans`` read, a clip: each spike, or event of the input, times its fan there."""
    total = torch.zeros(())
    for name, fan in fans.items():
        for source in net.integers.network[name].inputs:
            total = total + (activity.values[source][-clips:] * fan).sum()
    return total / clips


def _wanted(network: Network, frames: np.ndarray) -> dict[str, float]:
    """By spiking layer the wanted spikes on these clips, from those of the folded network."""
    clips, output = frames.shape[1], network.neurons[-1].name
    wanted = {}
    for name, layer in _once(network, frames).layers.items():
        neurons = clips * int(np.prod(network.shapes[name]))
        wanted[name] = (
            _OUTPUT * neurons if name == output else max(_HIDDEN_MORE * layer.spikes, _HIDDEN_LEAST * neurons)
        )
    return wanted


def _weighted_before(network: Network, task: EventTask, drawn: np.ndarray, fans: dict[str, torch.Tensor]) -> float:
    """What the layers named in ``fans`` read in the folded network, a drawn clip; as `weighted_spikes`."""
    factors, found = {name: fan.numpy() for name, fan in fans.items()}, 0.0
    for start in range(0, len(drawn), _SCALING_CLIPS):  # a few at a time: every layer's spikes are held
        frames = task.recorded.frames(task.only(drawn[start : start + _SCALING_CLIPS]))
        found += reads(network, _once(network, frames), frames, factors)
    return found / len(drawn)


def _once(network: Network, frames: np.ndarray) -> Trace:
    """The folded network in steps, each neuron at most one spike a step."""
    layers = [
        replace(layer, op=replace(layer.op, max_spikes=1)) if isinstance(layer.op, Neuron) else layer
        for layer in network
    ]
    return clocked.run(network.rewritten(layers, "once"), frames)


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


def _augmented(task: EventTask, chosen: np.ndarray, epoch: int) -> list[np.ndarray]:
    """The chosen recordings, each turned, scaled, sheared and moved by what seed, epoch and its index draw."""
    sensor = task.recorded.binning.sensor
    return [
        geometric(task.recordings[index], sensor, np.random.default_rng([task.seed, epoch, int(index)]))
        for index in chosen
    ]
