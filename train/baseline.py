# SPDX-License-Identifier: Apache-2.0
"""Trains a network and its vanilla baseline: side by side, or one after the other where processes share each.

The baseline has neither attention nor the penalty on synaptic operations (``train.synops_penalty``): it stands for
the network as one trains it who saves nothing. Everything else is the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from spikefold.config import Config
from spikefold.train.checkpoint import Checkpoint, save
from spikefold.train.data.clips import Clips
from spikefold.train.data.frames import Binning
from spikefold.train.loop import CheckpointSelector, train
from spikefold.train.processes.parallel import ALONE, Ranks
from spikefold.train.side_by_side import NamedEpochReport, side_by_side
from spikefold.train.state import Epoch, EpochReport


@dataclass(frozen=True, eq=False)
class Job:
    """The data and the settings that all trainings of one run share.

    Attributes:
        config: the configuration of the run.
        clips: the training clips.
        binning: how frames are made of a clip's events; it goes into the checkpoint.
        classes: the names of the classes.
        selector: chooses among the epochs; without one the weights of the last epoch are kept.
        states: the folder for the state of each unfinished training; without one an interrupted training starts anew.
    """

    config: Config
    clips: Clips
    binning: Binning
    classes: tuple[str, ...]
    selector: CheckpointSelector | None = None
    states: Path | None = None


@dataclass(frozen=True)
class Training:
    """One of the networks of a run.

    Attributes:
        attention: see ``model.attention``.
        folder: of its checkpoint.
        sparse: whether the configuration's penalty on synaptic operations applies.
    """

    attention: str
    folder: Path
    sparse: bool = True


def train_all(
    job: Job, folders: Mapping[str, Training], report: NamedEpochReport, ranks: Ranks = ALONE
) -> dict[str, list[Epoch]]:
    """Train one network for each name and write its checkpoint.

    Args:
        job: the data and the configuration.
        folders: for each name what is trained.
        report: called with the name and the epoch, for every epoch of every network.
        ranks: this process among those that share every training; only the first one writes.

    Returns:
        The epochs of each network.
    """
    if ranks.count == 1:
        tasks = {name: (job, name, training) for name, training in folders.items()}
        return side_by_side(_train_one, tasks, report)
    history: dict[str, list[Epoch]] = {name: [] for name in folders}
    for name, training in folders.items():

        def note(epoch: Epoch, name: str = name) -> None:
            history[name].append(epoch)
            report(name, epoch)

        _train_one((job, name, training), note, ranks)
    return history


def _train_one(task: tuple[Job, str, Training], report: EpochReport, ranks: Ranks = ALONE) -> None:
    job, name, training = task
    model = job.config.model.model_copy(update={"attention": training.attention})
    settings = job.config.train
    if not training.sparse:
        settings = settings.model_copy(update={"synops_penalty": 0.0})
    config = job.config.model_copy(update={"model": model, "train": settings})
    state = None if job.states is None else job.states / f"{name}.safetensors"
    network = train(config, job.clips, len(job.classes), report, selector=job.selector, state=state, ranks=ranks)
    if ranks.first:
        save(training.folder, Checkpoint(network, job.binning, job.classes))
