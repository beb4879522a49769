# SPDX-License-Identifier: Apache-2.0
"""``3_adapt``: fine-tune each chip's network in the chip's own integers, side by side; nothing without a chip."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from spikefold.export.io import load_network, save_network
from spikefold.hardware.registry import chip_named
from spikefold.session import NETWORK, Session
from spikefold.stage_table import ADAPT, FOLD, TRAIN
from spikefold.stages.files.adapt import AdaptFile
from spikefold.stages.files.base import plain
from spikefold.stages.files.fold import FoldFile
from spikefold.stages.files.networks import network_of_run
from spikefold.train import checkpoint
from spikefold.train.deploy.adapt import Task, adapt
from spikefold.train.evaluate import class_logits, clips_at_once
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
    clips = session.clips("train")
    trained = checkpoint.load(session.path(TRAIN) / NETWORK).model
    teacher = class_logits(trained, clips.frames, config.train, clips_at_once(config))
    with session.writing(ADAPT) as folder:
        tasks = {}
        for name in config.chips.names:
            task = Task(
                chip_named(name).numbers,
                clips,
                teacher,
                config.adapt,
                config.train,
                config.seed,
                from_far=bool(replaced[name]),
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


def _adapt_one(work: tuple[Task, Path, Path], report: Callable[[Epoch], None]) -> None:
    task, source, folder = work
    adapted = adapt(load_network(source), task, report)
    folder.mkdir()
    save_network(adapted.network, folder / "adapted")
    AdaptFile.of({"chips": {folder.name: adapted.to_json()}}).write(folder)
