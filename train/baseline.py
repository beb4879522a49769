# SPDX-License-Identifier: Apache-2.0
"""Train a network and its vanilla baseline: side by side, or one after the other where many processes share each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from spikefold.config import Config
from spikefold.train.checkpoint import Checkpoint, save
from spikefold.train.data.clips import Clips
from spikefold.train.data.frames import Binning
from spikefold.train.loop import CheckpointSelector, train
from spikefold.train.processes.parallel import ALONE, Ranks
from spikefold.train.side_by_side import Report, side_by_side
from spikefold.train.state import Epoch


@dataclass(frozen=True, eq=False)
class Job:
    """What every training of one run shares.

    Attributes:
        selector: chooses among the epochs; None: the last one's weights are kept.
        states: folder for the state of each unfinished training; None: they start anew after an interruption.
    """

    config: Config
    clips: Clips
    binning: Binning
    classes: tuple[str, ...]
    selector: CheckpointSelector | None = None
    states: Path | None = None


def train_all(
    job: Job, folders: Mapping[str, tuple[str, Path]], report: Report, ranks: Ranks = ALONE
) -> dict[str, list[Epoch]]:
    """Train one network for each name and write its checkpoint.

    Args:
        job: data and configuration.
        folders: for each name its attention and the folder of its checkpoint.
        report: told of every epoch of every network.
        ranks: this process among those that share every training; only the first writes.

    Returns:
        The epochs of each network.
    """
    if ranks.count == 1:
        tasks = {name: (job, name, attention, folder) for name, (attention, folder) in folders.items()}
        return side_by_side(_train_one, tasks, report)
    history: dict[str, list[Epoch]] = {name: [] for name in folders}
    for name, (attention, folder) in folders.items():

        def told(epoch: Epoch, name: str = name) -> None:
            history[name].append(epoch)
            report(name, epoch)

        _train_one((job, name, attention, folder), told, ranks)
    return history


def _train_one(task: tuple[Job, str, str, Path], report: Callable[[Epoch], None], ranks: Ranks = ALONE) -> None:
    job, name, attention, folder = task
    model = job.config.model.model_copy(update={"attention": attention})
    config = job.config.model_copy(update={"model": model})
    state = None if job.states is None else job.states / f"{name}.safetensors"
    network = train(config, job.clips, len(job.classes), report, selector=job.selector, state=state, ranks=ranks)
    if ranks.first:
        save(folder, Checkpoint(network, job.binning, job.classes))
