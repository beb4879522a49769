# SPDX-License-Identifier: Apache-2.0
"""Run several trainings at once, each in a process of its own with its own PyTorch threads.

These processes end with the one that started them, however it ends. A training that outlived a killed run would write
its state into the folder of the run that continues in its place.
"""

from __future__ import annotations

import os
import queue
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from multiprocessing.managers import SyncManager
from typing import Any, TypeVar

from spikefold.errors import EnvironmentLacksError
from spikefold.train.processes.orphans import end_with_parent
from spikefold.train.processes.pool import worker_context, worker_pool
from spikefold.train.state import Epoch, EpochReport

T = TypeVar("T")
NamedEpochReport = Callable[[str, Epoch], None]
"""Called with the name of a training and with every epoch of it."""
Work = Callable[[T, EpochReport], None]
"""Does one task and reports its epochs."""
_POLL_S = 0.2
_WHEN_ONE_DIES = (
    "SIGKILL is mostly lack of memory: a smaller train.batch; SIGSEGV or SIGABRT is PyTorch's own code on this "
    "processor: try train.threads=2. The training goes on with `spikefold train --resume RUN`"
)


def side_by_side(work: Work[T], tasks: Mapping[str, T], report: NamedEpochReport) -> dict[str, list[Epoch]]:
    """Do the work of every task, as many tasks at once as there are cores.

    Args:
        work: a function of a module; it takes the task and a function to call with each epoch, and writes its
            results to files.
        tasks: the tasks by name.
        report: called with the task's name and the epoch, for every epoch of every task.

    Returns:
        The epochs of each task.

    Raises:
        SpikefoldError: the first error that a task raised.
        EnvironmentLacksError: the system ended a process, or its native code crashed.
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

    workers = min(len(tasks), os.cpu_count() or 1)
    manager = SyncManager(ctx=worker_context())
    manager.start(end_with_parent)
    with manager, worker_pool(workers, "a training process", where="train", hint=_WHEN_ONE_DIES) as pool:
        channel = manager.Queue()
        waiting: set[Future[None]] = {pool.submit(_one, work, name, task, channel) for name, task in tasks.items()}
        try:
            while waiting:
                drain(channel, _POLL_S)
                done, waiting = wait(waiting, timeout=0)
                for future in done:
                    future.result()
            drain(channel, 0.0)
        except (EOFError, ConnectionError) as error:
            what = "the process that passes on the epochs of the trainings was ended"
            raise EnvironmentLacksError(what, where="train", hint=_WHEN_ONE_DIES) from error
    return history


def _one(work: Work[T], name: str, task: T, channel: Any) -> None:
    work(task, lambda epoch: channel.put((name, epoch)))
