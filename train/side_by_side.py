# SPDX-License-Identifier: Apache-2.0
"""Long trainings side by side, each in a process of its own with its own PyTorch threads.

These processes end with the one that started them, however it ends: a training that outlived a killed run would write
its states beside those of the run that goes on in its place.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.managers import SyncManager
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from spikefold.errors import EnvironmentLacksError
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

    context = multiprocessing.get_context("spawn")  # forking after torch started threads can hang
    workers = min(len(tasks), os.cpu_count() or 1)
    manager = SyncManager(ctx=context)
    manager.start(end_with_parent)
    with manager, ProcessPoolExecutor(workers, mp_context=context, initializer=end_with_parent) as pool:
        channel = manager.Queue()
        waiting: set[Future[None]] = {pool.submit(_one, work, name, task, channel) for name, task in tasks.items()}
        started: set[BaseProcess] = set()
        while waiting:
            started.update(multiprocessing.active_children())
            drain(channel, _POLL_S)
            done, waiting = wait(waiting, timeout=0)
            for future in done:
                try:
                    future.result()
                except BrokenProcessPool as error:
                    raise _died(started) from error
        drain(channel, 0.0)
    return history


def _one(work: Work[T], name: str, task: T, channel: Any) -> None:
    work(task, lambda epoch: channel.put((name, epoch)))


def _died(started: Iterable[BaseProcess]) -> EnvironmentLacksError:
    """What is known of the process that broke the pool, which ends the others by SIGTERM."""
    codes = [process.exitcode for process in started if process.exitcode]
    own = next((code for code in codes if code != -signal.SIGTERM), None)
    if own is None:
        how = "was ended from outside"
    else:
        how = f"died of {signal.Signals(-own).name}" if own < 0 else f"ended with exit code {own}"
    return EnvironmentLacksError(
        f"a training process {how}",
        where="train",
        hint="SIGKILL is mostly lack of memory: a smaller train.batch; SIGSEGV or SIGABRT is PyTorch's own code on "
        "this processor: try train.threads=2. The training goes on with `spikefold train --resume RUN`",
    )
