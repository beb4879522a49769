# SPDX-License-Identifier: Apache-2.0
"""``3_adapt``: fine-tune each chip's network in the chip's own integers, side by side; nothing without a chip.

With ``adapt.by = "events"`` the network of an event-driven chip is tuned event by event, on the recordings
themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from spikefold.config import Config
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
from spikefold.train.evaluate import class_logits, clips_at_once
from spikefold.train.side_by_side import side_by_side
from spikefold.train.state import Epoch

_BY_STEPS = 'or adapt.by = "steps"'
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
    clips = session.clips("train")
    by_events = {name for name in config.chips.names if _goes_by_events(session, name)}
    teacher = None
    if by_events != set(config.chips.names):
        trained = checkpoint.load(session.path(TRAIN) / NETWORK).model
        teacher = class_logits(trained, clips.frames, config.train, clips_at_once(config))
    with session.writing(ADAPT) as folder:
        tasks: dict[str, tuple[Task | EventTask, Path, Path]] = {}
        for name in config.chips.names:
            task = (
                _event_task(session, name)
                if name in by_events
                else Task(
                    chip_named(name).numbers,
                    clips,
                    teacher,
                    config.adapt,
                    config.train,
                    config.seed,
                    from_far=bool(replaced[name]),
                )
            )
            tasks[name] = task, folds / name / "target", folder / name
        side_by_side(
            _adapt_one,
            tasks,
            lambda name, e: session.reporter.progress(
                f"adapt to {name}", e.number, e.of, f"loss {e.loss:.3f}, accuracy {e.accuracy:.3f}"
            ),
        )
        found = {name: AdaptFile.read(folder / name / AdaptFile.file, _HINT).chips[name] for name in tasks}
        AdaptFile.of({"chips": {name: plain(one) for name, one in found.items()}}).write(folder)
    session.reporter.line(f"adapted to {', '.join(tasks)}: {config.adapt.epochs} epochs on {len(clips)} clips")
    for name, one in found.items():
        if one.selection is not None:
            session.reporter.line(f"{name}: {_chosen(one.selection)}{_flattered(config)}")


def _chosen(selection: SelectionForm) -> str:
    before = selection.candidates[0]
    kept = next(one for one in selection.candidates if one.name == selection.kept)
    what = "no epoch is better, so nothing is changed: "
    if kept is not before:
        what = f"{kept.name} is kept, {kept.accuracy:.3f} with {kept.spikes:,.0f} spikes a clip; before it "
    was = f"{before.accuracy:.3f} with {before.spikes:,.0f} spikes a clip"
    return f"{what}{was}, by events on {selection.held} training recordings held out"


def held_share(config: Config) -> float:
    """The share of recordings that chooses: those that the training held out, where it did (same draw and seed)."""
    unseen = config.train.protocol == "validation"
    return config.train.validation_share if unseen else config.adapt.held_share


def _flattered(config: Config) -> str:
    if config.train.protocol == "validation":
        return ""
    return '; the float network was trained on them, which favours no change: train.protocol = "validation"'


def _goes_by_events(session: Session, name: str) -> bool:
    """Whether this chip's network is tuned event by event.

    Raises:
        ConfigError: it should be, but the clips are no bins of equal time, or a budget is asked for.
    """
    adapting = session.config.adapt
    if adapting.by != "events" or chip_named(name).event_engine is None:
        return False
    issues = []
    if session.binning.bins is not Bins.TIME:
        issues.append(Issue("bins of equal time", "data.bins", session.binning.bins.value, "time", _BY_STEPS))
    if adapting.synops_budget is not None:
        budget = f"{adapting.synops_budget:g}"
        issues.append(Issue("no budget by events", "adapt.synops_budget", budget, "none", _BY_STEPS))
    if issues:
        raise ConfigError("adaptation by events cannot do this", where="adapt.by", issues=issues)
    return True


def _event_task(session: Session, name: str) -> EventTask:
    chip, config, binning = chip_named(name), session.config, session.binning
    if chip.event_engine is None:
        raise SpikefoldError(f"{name} has no event engine")
    recordings = tuple(window(recording.events, binning, 0) for recording in session.dataset.train)
    return EventTask(
        chip.numbers,
        Recorded(chip.event_engine, binning, config.seed),
        recordings,
        session.dataset.labels("train"),
        config.adapt.model_copy(update={"held_share": held_share(config)}),
        config.train,
        config.seed,
    )


def _adapt_one(work: tuple[Task | EventTask, Path, Path], report: Callable[[Epoch], None]) -> None:
    task, source, folder = work
    network = load_network(source)
    adapted = adapt(network, task, report) if isinstance(task, Task) else adapt_by_events(network, task, report)
    folder.mkdir()
    save_network(adapted.network, folder / "adapted")
    AdaptFile.of({"chips": {folder.name: adapted.to_json()}}).write(folder)
