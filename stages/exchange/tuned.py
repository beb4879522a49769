# SPDX-License-Identifier: Apache-2.0
"""Tunes a network that was trained elsewhere to a chip whose neurons it lacks, as a run's own network is tuned.

What the chip has not (a leak, a reset, several spikes, a lower bound, biases, a threshold for each neuron) is
replaced (`target_neuron`), pools and kernels are rewritten, and the weights are tuned in the
chip's integers: event by event on event-driven chips, else in steps, on training recordings, of which a tenth of each
class chooses what is kept. The teacher is the network as it came. A chip that has all its neurons changes nothing.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from spikefold.config import Config
from spikefold.errors import UnsupportedError
from spikefold.export.network import Network, SpikingLayer
from spikefold.export.passes.uniform_thresholds import uniform_thresholds
from spikefold.hardware.chip import Chip
from spikefold.hardware.rewrites import rewritten
from spikefold.hardware.simulators import clocked
from spikefold.hardware.simulators.accuracy import Accuracy
from spikefold.session import EVENTS, Reporter
from spikefold.stages.exchange.foreign import Recorded
from spikefold.train.data.clips import ClipSet
from spikefold.train.data.first_windows import FirstWindows
from spikefold.train.data.frames import Bins, to_frames
from spikefold.train.deploy import by_events
from spikefold.train.deploy.adapt import SPIKES_TO_LOGIT, Adapted, Task, adapt
from spikefold.train.deploy.adapt_by_events import EventTask, adapt_by_events
from spikefold.train.deploy.target_neuron import channel_thresholds, for_chip
from spikefold.train.deploy.trial import ByEvents, InSteps, Trial, tried
from spikefold.train.recipe import held_recordings
from spikefold.train.state import Epoch


@dataclass(frozen=True, eq=False)
class Tuned:
    """A network for one chip, before and after its adaptation.

    Attributes:
        before: real, with the chip's neurons, rewritten for it, its weights as they came.
        network: the same, tuned.
        told: what was replaced, and what the adaptation did, as plain values.
    """

    before: Network
    network: Network
    told: dict[str, Any]


class Tuning:
    """The adaptations of one network to several chips, which share recordings and teacher.

    Args:
        real: the network as it came, whose counts of output spikes teach.
        clips: recordings.
        config: settings, of which ``adapt``, ``train`` and ``seed`` apply here.
        reporter: told each epoch, and what was kept.
    """

    def __init__(self, real: Network, clips: Recorded, config: Config, reporter: Reporter) -> None:
        self.clips, self.reporter = clips, reporter
        self.config = config.model_copy(update={"chips": config.chips.model_copy(update={"names": ("any",)})})
        dataset, binning = clips.dataset, clips.binning
        self.held = held_recordings(self.config, dataset, binning).indices
        self.tuned = np.setdiff1d(np.arange(len(dataset.train)), self.held)
        self.all = ClipSet(to_frames(dataset.train, binning), dataset.labels("train"))
        self._real = real

    def tune(self, folded: Network, chip: Chip) -> Tuned | None:
        """The network tuned to a chip; None where the chip has all its neurons, and nothing may change.

        Args:
            folded: real and folded; thresholds may be of any shape.
            chip: the target.

        Raises:
            UnsupportedError: what neither a replacement nor a rewrite can do.
        """
        replaced = _replaced(folded, chip, self.clips.calibration)
        if replaced is None:
            return None
        target, what = replaced
        made = rewritten(target, chip)
        if made.issues:
            raise UnsupportedError(f"the network cannot be rewritten for {chip.title}", issues=made.issues)
        adapted = self._adapted(made.network, chip)
        told = adapted.to_json() | {"replaced": what, "how": "by events" if self.goes_by_events(chip) else "in steps"}
        if adapted.selection is not None:
            self.reporter.line(f"{chip.name}: {adapted.selection.kept.name} is kept of {len(adapted.epochs)} epochs")
        return Tuned(target, adapted.network, told)

    def goes_by_events(self, chip: Chip) -> bool:
        """Whether a chip's network is tuned, and quoted, event by event."""
        bins = self.clips.binning.bins is Bins.TIME
        return self.config.adapt.by != "steps" and chip.event_engine is not None and bins

    def quoted(self, network: Network, chip: Chip) -> dict[str, Any]:
        """The test recordings event by event: what an event-driven chip does; by the name of the variant.

        Args:
            network: real, tuned; what `quantise` makes of it is run.
            chip: the target.
        """
        if not self.goes_by_events(chip):
            return {}
        test = self.clips.dataset.test
        events = FirstWindows(test, self.clips.binning)
        trial = ByEvents(self._engine(chip), events, self.clips.dataset.labels("test"))
        name = f"{chip.name}.{EVENTS}"
        found = tried(name, network, chip.numbers, trial)
        share = Accuracy(round(found.accuracy * len(test)), len(test))
        told = {"accuracy": share.share, "interval": list(share.interval), "clips": len(test)}
        return {name: told | {"spikes_per_clip": found.spikes, "synops_per_clip": found.synops}}

    def _adapted(self, network: Network, chip: Chip) -> Adapted:
        def told(epoch: Epoch) -> None:
            note = f"loss {epoch.loss:.3f}, accuracy {epoch.accuracy:.3f}"
            self.reporter.progress(f"adapt to {chip.name}", epoch.number, epoch.of, note)

        config, clips = self.config, self.all.only(self.tuned)
        if self.goes_by_events(chip):
            events = self._events(self.tuned)
            parts = chip.numbers, self._engine(chip), events, clips, config.adapt, config.train, config.seed
            return adapt_by_events(network, EventTask(*parts, self._trial(chip)), told)
        # a weight above its threshold disturbs the order of events, which a clocked chip has not
        capped = config.adapt.cap_weights and chip.event_driven
        task = Task(
            chip.numbers,
            clips,
            self._teacher(clips),
            config.adapt.model_copy(update={"cap_weights": capped}),
            config.train,
            config.seed,
            from_far=True,
            trial=self._trial(chip),
        )
        return adapt(network, task, told)

    def _teacher(self, clips: ClipSet) -> np.ndarray:
        """The logits of the network as it came, as those of the adaptation are made."""
        counts = clocked.run(self._real, clips.frames).output_counts(self._real.classes)
        if self._real.neurons[-1].neuron.max_spikes != 1:
            return np.asarray(SPIKES_TO_LOGIT * counts)
        outputs = int(np.prod(self._real.shapes[self._real.layers[-1].name])) // self._real.classes
        return np.asarray(counts / (len(clips.frames) * outputs) * self.config.train.gain)

    def _trial(self, chip: Chip) -> Trial | None:
        if not len(self.held):
            return None
        labels = self.all.labels[self.held]
        if self.goes_by_events(chip):
            return ByEvents(self._engine(chip), self._events(self.held), labels)
        return InSteps(self.all.only(self.held).frames, labels)

    def _engine(self, chip: Chip) -> by_events.Recorded:
        if chip.event_engine is None:
            raise UnsupportedError(f"{chip.title} has no event engine", where=chip.name)
        return by_events.Recorded(chip.event_engine, self.clips.binning, self.config.seed)

    def _events(self, chosen: np.ndarray) -> FirstWindows:
        return FirstWindows(self.clips.dataset.train, self.clips.binning).only(chosen)


def _replaced(folded: Network, chip: Chip, frames: np.ndarray) -> tuple[Network, list[dict[str, Any]]] | None:
    """The network with neurons that the chip has, and what was replaced; None where nothing had to be."""
    level, names = channel_thresholds(folded)
    told = [{"layer": name, "what": "a threshold for each neuron -> one a channel"} for name in names]
    if chip.numbers.v_min is None:
        level, bounded = _without_bound(level)
        told += [{"layer": name, "what": "lower bound -> none"} for name in bounded]
    target, replaced = for_chip(uniform_thresholds(level), chip.numbers, frames)
    told += [asdict(one) for one in replaced]
    return (target, told) if told else None


def _without_bound(network: Network) -> tuple[Network, tuple[str, ...]]:
    """No lower bound where channels have thresholds of their own: rescaled channels could not share it."""
    names = tuple(one.name for one in network.neurons if one.neuron.v_min is not None and one.neuron.threshold.ndim)
    layers = [
        replace(layer, op=replace(layer.neuron, v_min=None))
        if isinstance(layer, SpikingLayer) and layer.name in names
        else layer
        for layer in network
    ]
    return (replace(network, layers=tuple(layers)) if names else network), names
