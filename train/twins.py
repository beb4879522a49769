# SPDX-License-Identifier: Apache-2.0
"""Train a network and its vanilla twin side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from spikefold.config import Config
from spikefold.train.checkpoint import Checkpoint, save
from spikefold.train.frames import Binning
from spikefold.train.loop import ClipSet, Epoch, train
from spikefold.train.side_by_side import Report, side_by_side


@dataclass(frozen=True)
class Job:
    """What every training of one run shares."""

    config: Config
    clips: ClipSet
    binning: Binning
    classes: tuple[str, ...]


def train_all(job: Job, folders: Mapping[str, tuple[str, Path]], report: Report) -> dict[str, list[Epoch]]:
    """Train one network for each name and write its checkpoint.

    Args:
        job: data and configuration.
        folders: for each name its attention and the folder of its checkpoint.
        report: told of every epoch of every network.

    Returns:
        The epochs of each network.
    """
    tasks = {name: (job, attention, folder) for name, (attention, folder) in folders.items()}
    return side_by_side(_train_one, tasks, report)


def _train_one(task: tuple[Job, str, Path], report: Callable[[Epoch], None]) -> None:
    job, attention, folder = task
    model = job.config.model.model_copy(update={"attention": attention})
    config = job.config.model_copy(update={"model": model})
    network = train(config, job.clips, len(job.classes), report)
    save(folder, Checkpoint(network, job.binning, job.classes))
