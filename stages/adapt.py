# SPDX-License-Identifier: Apache-2.0
"""``3_adapt``: fine-tune each chip's network in the chip's own integers, side by side; nothing without a chip."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from spikefold.export.io import load_network, save_network
from spikefold.hardware.registry import chip_named
from spikefold.session import ADAPT, FOLD, NETWORK, TRAIN, Session, read_json, write_json
from spikefold.train import checkpoint
from spikefold.train.deploy.adapt import Task, adapt
from spikefold.train.evaluate import class_logits, clips_at_once
from spikefold.train.side_by_side import side_by_side
from spikefold.train.state import Epoch


def adapt_stage(session: Session) -> None:
    """Write each chip's adapted network; with 0 epochs and no budget it is the network of the fold."""
    config, folds = session.config, session.path(FOLD)
    if not config.chips.names:
        with session.writing(ADAPT) as folder:
            write_json(folder / "adapt.json", {})
        session.reporter.line("no chip is named, so there is nothing to adapt to")
        return
    clips = session.clips("train")
    trained = checkpoint.load(session.path(TRAIN) / NETWORK).model
    teacher = class_logits(trained, clips.frames, config.train, clips_at_once(config))
    replaced = read_json(folds / "fold.json")["replaced"]
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
        report = {name: read_json(folder / name / "adapt.json") for name in tasks}
        write_json(folder / "adapt.json", report)
    session.reporter.line(f"adapted to {', '.join(tasks)}: {config.adapt.epochs} epochs on {len(clips)} clips")


def _adapt_one(work: tuple[Task, Path, Path], report: Callable[[Epoch], None]) -> None:
    task, source, folder = work
    adapted = adapt(load_network(source), task, report)
    folder.mkdir()
    save_network(adapted.network, folder / "adapted")
    write_json(folder / "adapt.json", adapted.to_json())
