# SPDX-License-Identifier: Apache-2.0
"""Train a network and its vanilla twin side by side, each in a process of its own with its own PyTorch threads."""

from __future__ import annotations

import multiprocessing
import os
import queue
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spikefold.config import Config
from spikefold.train.checkpoint import Checkpoint, save
from spikefold.train.frames import Binning
from spikefold.train.loop import ClipSet, Epoch, train

Report = Callable[[str, Epoch], None]
_POLL_S = 0.2


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
    history: dict[str, list[Epoch]] = {name: [] for name in folders}

    def drain(channel: Any, timeout_s: float) -> None:
        try:
            while True:
                name, epoch = channel.get(timeout=timeout_s)
                history[name].append(epoch)
                report(name, epoch)
        except queue.Empty:
            return

    context = multiprocessing.get_context("spawn")  # forking after torch started threads can hang
    workers = min(len(folders), os.cpu_count() or 1)
    with context.Manager() as manager, ProcessPoolExecutor(workers, mp_context=context) as pool:
        channel = manager.Queue()
        waiting: set[Future[None]] = {
            pool.submit(_train_one, job, name, attention, folder, channel)
            for name, (attention, folder) in folders.items()
        }
        while waiting:
            drain(channel, _POLL_S)
            done, waiting = wait(waiting, timeout=0)
            for future in done:
                future.result()
        drain(channel, 0.0)
    return history


def _train_one(job: Job, name: str, attention: str, folder: Path, channel: Any) -> None:
    model = job.config.model.model_copy(update={"attention": attention})
    config = job.config.model_copy(update={"model": model})
    network = train(config, job.clips, len(job.classes), lambda epoch: channel.put((name, epoch)))
    save(folder, Checkpoint(network, job.binning, job.classes))
