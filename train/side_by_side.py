# SPDX-License-Identifier: Apache-2.0
"""Long trainings side by side, each in a process of its own with its own PyTorch threads.

These processes end with the one that started them, however it ends: a training that outlived a killed run would write
its states beside those of the run that goes on in its place.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, wait
from multiprocessing.managers import SyncManager
from typing import Any, TypeVar

from spikefold.train.processes.orphans import end_with_parent
from spikefold.train.state import Epoch

T = TypeVar("T")
Report = Callable[[str, Epoch], None]
Work = Callable[[T, Callable[[Epoch], None]], None]
_POLL_S = 0.2


def side_by_side(work: Work[T], tasks: Mapping[str, T], report: Report) -> dict[str, list[Epoch]]:
    """Do the work of every task; as many at once as there are cores.

    Args:
        work: a function of a module, given the task and whom to tell of each epoch; its results go to files.
        tasks: by name.
        report: told of every epoch of every task.

    Returns:
        The epochs of each task.

    Raises:
        SpikefoldError: the first that a task raised.
    """
    history: dict[str, list[Epoch]] = {name: [] for name in tasks}
    if not tasks:
        return history

    def drain(channel: Any, timeout_s: float) -> None:
        try:
            while True:
                name, epoch = channel.get(timeout=timeout_s)
                history[name].append(epoch)
                report(name, epoch)
        except queue.Empty:
            return

    context = multiprocessing.get_context("spawn")  # forking after torch started threads can hang
    workers = min(len(tasks), os.cpu_count() or 1)
    manager = SyncManager(ctx=context)
    manager.start(end_with_parent)
    with manager, ProcessPoolExecutor(workers, mp_context=context, initializer=end_with_parent) as pool:
        channel = manager.Queue()
        waiting: set[Future[None]] = {pool.submit(_one, work, name, task, channel) for name, task in tasks.items()}
        while waiting:
            drain(channel, _POLL_S)
            done, waiting = wait(waiting, timeout=0)
            for future in done:
                future.result()
        drain(channel, 0.0)
    return history


def _one(work: Work[T], name: str, task: T, channel: Any) -> None:
    work(task, lambda epoch: channel.put((name, epoch)))
