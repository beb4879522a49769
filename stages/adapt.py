# SPDX-License-Identifier: Apache-2.0
"""``3_adapt``: fine-tune each chip's network in the chip's own integers, side by side; nothing without a chip.

The network of an event-driven chip is tuned event by event, on the recordings themselves, unless ``adapt.by`` or the
clips are against it. Training recordings that no weight was trained on choose what is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from spikefold.errors import ConfigError, Issue, SpikefoldError
from spikefold.export.io import load_network, save_network
from spikefold.hardware.registry import chip_named
from spikefold.session import NETWORK, Session
from spikefold.stage_table import ADAPT, FOLD, TRAIN
from spikefold.stages.files.adapt import AdaptFile, SelectionForm
from spikefold.stages.files.base import plain
from spikefold.stages.files.fold import FoldFile
from spikefold.stages.files.networks import network_of_run
from spikefold.train import checkpoint
from spikefold.train.data.frames import Bins, window
from spikefold.train.deploy.adapt import Task, adapt
from spikefold.train.deploy.adapt_by_events import EventTask, adapt_by_events
from spikefold.train.deploy.by_events import Recorded
from spikefold.train.deploy.trial import ByEvents, InSteps, Trial
from spikefold.train.evaluate import class_logits, clips_at_once
from spikefold.train.recipe import held_recordings
from spikefold.train.side_by_side import side_by_side
from spikefold.train.state import Epoch

_HINT = "the process that adapted it has just written it: is the disk full?"


def adapt_stage(session: Session) -> None:
    """Write each chip's adapted network; with 0 epochs and no budget it is the network of the fold."""
    config, folds = session.config, session.path(FOLD)
    if not config.chips.names:
        with session.writing(ADAPT) as folder:
            AdaptFile.of({"chips": {}}).write(folder)
        session.reporter.line("no chip is named, so there is nothing to adapt to")
        return
    replaced = FoldFile.of_run(session).replaced
    for name in config.chips.names:
        network_of_run(session, FOLD, f"{name}/target")  # a damaged one is found here, not in a process of its own
    by_events = {name for name in config.chips.names if goes_by_events(session, name)}
    inputs, teacher = _Inputs(session), None
    if by_events != set(config.chips.names):
        trained = checkpoint.load(session.path(TRAIN) / NETWORK).model
        teacher = class_logits(trained, inputs.clips.frames, config.train, clips_at_once(config))
    with session.writing(ADAPT) as folder:
        tasks: dict[str, tuple[Task | EventTask, Path, Path, bool]] = {}
        for name in config.chips.names:
            if name in by_events:
                task: Task | EventTask = inputs.event_task(name)
            else:
                task = inputs.task(name, teacher, from_far=bool(replaced[name]))
            tasks[name] = task, folds / name / "target", folder / name, inputs.held.unseen
        side_by_side(
            _adapt_one,
            tasks,
            lambda name, e: session.reporter.progress(
                f"adapt to {name}", e.number, e.of, f"loss {e.loss:.3f}, accuracy {e.accuracy:.3f}"
            ),
        )
        found = {name: AdaptFile.read(folder / name / AdaptFile.file, _HINT).chips[name] for name in tasks}
        AdaptFile.of({"chips": {name: plain(one) for name, one in found.items()}}).write(folder)
    session.reporter.line(f"adapted to {', '.join(tasks)}: {config.adapt.epochs} epochs on {len(inputs.tuned)} clips")
    for name, one in found.items():
        if one.selection is not None:
            session.reporter.line(f"{name}: {_chosen(one.selection)}")


def _chosen(selection: SelectionForm) -> str:
    before = next((one for one in selection.candidates if one.name == "before"), None)
    kept = next(one for one in selection.candidates if one.name == selection.kept)
    told = f"{kept.accuracy:.3f} with {kept.spikes:,.0f} spikes and {kept.synops:,.0f} operations a clip"
    if kept is before:
        told = f"nothing is better than before the adaptation, so nothing is changed: {told}"
    else:
        told = f"{kept.name} is kept, {told}"
        if before is not None:
            told += f"; before {before.accuracy:.3f} with {before.spikes:,.0f} and {before.synops:,.0f}"
    told += f", {selection.how} on {selection.held} training recordings held out"
    if not selection.unseen:
        told += "; the float network was trained on them, which favours no change"
    if selection.budget is not None and kept.synops > selection.budget:
        told += f"; NONE keeps the budget of {selection.budget:,.0f} operations"
    return told


class _Inputs:
    """What the adaptations of one run have in common: what they train on, and what chooses."""

    def __init__(self, session: Session) -> None:
        self.session, config = session, session.config
        self.held = held_recordings(config, session.dataset, session.binning)
        clips = session.clips("train")
        self.tuned = np.setdiff1d(np.arange(len(clips)), self.held.indices)
        self.all, self.clips = clips, clips.only(self.tuned) if len(self.held.indices) else clips

    def trial(self, name: str) -> Trial | None:
        """How the recordings held out are run for a chip; by events wherever its engine can take them."""
        held, session, engine = self.held.indices, self.session, chip_named(name).event_engine
        if not len(held):
            return None
        labels = self.all.labels[held]
        if engine is None or session.binning.bins is not Bins.TIME:
            return InSteps(self.all.only(held).frames, labels)
        return ByEvents(Recorded(engine, session.binning, session.config.seed), self.recordings(held), labels)

    def recordings(self, chosen: np.ndarray) -> tuple[np.ndarray, ...]:
        """The events of the first clip of the chosen training recordings."""
        train, binning = self.session.dataset.train, self.session.binning
        return tuple(window(train[index].events, binning, 0) for index in chosen)

    def event_task(self, name: str) -> EventTask:
        """The adaptation by events."""
        chip, config = chip_named(name), self.session.config
        if chip.event_engine is None:
            raise SpikefoldError(f"{name} has no event engine")
        recorded = Recorded(chip.event_engine, self.session.binning, config.seed)
        recordings = self.recordings(self.tuned)
        return EventTask(
            chip.numbers, recorded, recordings, self.clips, config.adapt, config.train, config.seed, self.trial(name)
        )

    def task(self, name: str, teacher: np.ndarray | None, *, from_far: bool) -> Task:
        """The adaptation in steps."""
        config = self.session.config
        return Task(
            chip_named(name).numbers,
            self.clips,
            teacher,
            config.adapt,
            config.train,
            config.seed,
            from_far=from_far,
            trial=self.trial(name),
        )


def goes_by_events(session: Session, name: str) -> bool:
    """Whether this chip's network is tuned event by event.

    Raises:
        ConfigError: it is asked for, but the clips are no bins of equal time.
    """
    by, bins = session.config.adapt.by, session.binning.bins
    if by == "steps" or chip_named(name).event_engine is None:
        return False
    if bins is not Bins.TIME and by == "events":
        issues = [Issue("bins of equal time", "data.bins", bins.value, "time", 'or adapt.by = "steps"')]
        raise ConfigError("adaptation by events cannot do this", where="adapt.by", issues=issues)
    return bins is Bins.TIME


def _adapt_one(work: tuple[Task | EventTask, Path, Path, bool], report: Callable[[Epoch], None]) -> None:
    task, source, folder, unseen = work
    network = load_network(source)
    adapted = adapt(network, task, report) if isinstance(task, Task) else adapt_by_events(network, task, report)
    folder.mkdir()
    save_network(adapted.network, folder / "adapted")
    found = adapted.to_json()
    if isinstance(selection := found["selection"], dict):
        selection["unseen"] = unseen
    AdaptFile.of({"chips": {folder.name: found}}).write(folder)
