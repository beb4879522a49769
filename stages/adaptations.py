# SPDX-License-Identifier: Apache-2.0
"""Lists the adaptations of a run: each chip's network and its baseline, what each is trained on, and what chooses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from spikefold.config import AdaptConfig
from spikefold.errors import ConfigError, Issue, SpikefoldError
from spikefold.hardware.registry import chip_named
from spikefold.session import BASELINE, NETWORK, Session
from spikefold.stage_table import FOLD, TRAIN
from spikefold.stages.files.fold import FoldFile
from spikefold.stages.files.networks import network_of_run
from spikefold.train import checkpoint
from spikefold.train.data.first_windows import FirstWindows
from spikefold.train.data.frames import Bins
from spikefold.train.deploy.adapt import Task
from spikefold.train.deploy.adapt_by_events import EventTask
from spikefold.train.deploy.by_events import Recorded
from spikefold.train.deploy.trial import ByEvents, InSteps, Trial
from spikefold.train.evaluate import class_logits, clips_at_once
from spikefold.train.recipe import held_recordings

_NO_BUDGET = {"synops_budget": None}
"""What the adaptation of the baseline goes without: nothing makes it sparser than it was trained."""


@dataclass(frozen=True, eq=False)
class Work:
    """One adaptation: its data, the network that it starts from, and where its result goes."""

    task: Task | EventTask
    source: Path
    folder: Path
    file: str
    unseen: bool

    @property
    def told(self) -> Path:
        """What the process that does it tells of it."""
        return self.folder / f"{self.file}.told.json"


@dataclass(frozen=True, eq=False)
class Plan:
    """The adaptations of a run.

    Attributes:
        works: by chip, and by chip with the baseline's name behind it.
        clips: how many clips each is trained on.
    """

    works: Mapping[str, Work]
    clips: int


def plan(session: Session, folder: Path) -> Plan:
    """The adaptations of a run, each into its place in a folder.

    Raises:
        ConfigError: see `goes_by_events`.
        DataError: a network of the fold is damaged; it is found here, not in a process of its own.
    """
    config, folds, inputs = session.config, session.path(FOLD), _Inputs(session)
    names, replaced = config.chips.names, FoldFile.of_run(session).replaced
    starts = {NETWORK: "target"}
    if all((folds / name / f"{BASELINE}.json").is_file() for name in names):
        starts[BASELINE] = BASELINE
    for name, file in product(names, starts.values()):
        network_of_run(session, FOLD, f"{name}/{file}")
    by_events = {name for name in names if goes_by_events(session, name)}
    teachers = {kind: inputs.teacher(kind) for kind in starts if by_events != set(names)}
    works = {}
    for (kind, start), name in product(starts.items(), names):
        # the baseline is adapted alike: it may fire more often than it did by the same factor
        own = config.adapt if kind == NETWORK else config.adapt.model_copy(update=_NO_BUDGET)
        if name in by_events:
            task: Task | EventTask = inputs.event_task(name, own)
        else:
            task = inputs.task(name, own, teachers[kind], from_far=bool(replaced[name]))
        key, file = (name, "adapted") if kind == NETWORK else (f"{name}.{BASELINE}", BASELINE)
        works[key] = Work(task, folds / name / start, folder / name, file, inputs.held.unseen)
    return Plan(works, len(inputs.tuned))


class _Inputs:
    """What the adaptations of one run have in common: what they train on, and what chooses."""

    def __init__(self, session: Session) -> None:
        self.session, config = session, session.config
        self.held = held_recordings(config, session.dataset, session.binning)
        clips = session.clips("train")
        self.tuned = np.setdiff1d(np.arange(len(clips)), self.held.indices)
        self.all, self.clips = clips, clips.only(self.tuned) if len(self.held.indices) else clips

    def teacher(self, kind: str) -> np.ndarray:
        """The logits of a float network on what the adaptations train on."""
        trained, config = checkpoint.load(self.session.path(TRAIN) / kind).model, self.session.config
        return class_logits(trained, self.clips.frames, config.train, clips_at_once(config))

    def trial(self, name: str) -> Trial | None:
        """How the recordings held out are run for a chip; by events wherever its engine can take them."""
        held, session, engine = self.held.indices, self.session, chip_named(name).event_engine
        if not len(held):
            return None
        labels = self.all.labels[held]
        if engine is None or session.binning.bins is not Bins.TIME:
            return InSteps(self.all.only(held).frames, labels)
        return ByEvents(Recorded(engine, session.binning, session.config.seed), self.recordings(held), labels)

    def recordings(self, chosen: np.ndarray) -> FirstWindows:
        """The events of the first clip of the chosen training recordings."""
        return FirstWindows(self.session.dataset.train, self.session.binning).only(chosen)

    def event_task(self, name: str, adapting: AdaptConfig) -> EventTask:
        """The adaptation by events."""
        chip, config = chip_named(name), self.session.config
        if chip.event_engine is None:
            raise SpikefoldError(f"{name} has no event engine")
        recorded = Recorded(chip.event_engine, self.session.binning, config.seed)
        recordings = self.recordings(self.tuned)
        return EventTask(
            chip.numbers, recorded, recordings, self.clips, adapting, config.train, config.seed, self.trial(name)
        )

    def task(self, name: str, adapting: AdaptConfig, teacher: np.ndarray | None, *, from_far: bool) -> Task:
        """The adaptation in steps."""
        config = self.session.config
        return Task(
            chip_named(name).numbers,
            self.clips,
            teacher,
            adapting,
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
