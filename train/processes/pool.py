# SPDX-License-Identifier: Apache-2.0
"""A pool of worker processes that ends with the process that started it, and says how a worker died.

A worker that the system ends (out of memory) or whose native code crashes is not a bug of this program: it becomes an
`EnvironmentLacksError` with the name of its signal, where Python alone would say ``BrokenProcessPool``.

Forking a process that has started PyTorch's threads can hang, so workers are forked from a server that starts none:
it imports what workers need, once for all of them. Where a system has no such server they are spawned.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import ParamSpec, TypeVar

from spikefold.errors import EnvironmentLacksError
from spikefold.train.processes.orphans import end_with_parent

P = ParamSpec("P")
T = TypeVar("T")


_PRELOADED = ["spikefold.train.baseline", "spikefold.train.deploy.adapt_by_events", "torch._dynamo"]
"""PyTorch's optimisers import the last one; alone it takes seconds."""


def worker_context() -> BaseContext:
    """How processes of this program start others; from now on their server imports what workers need."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    _start_server()
    return context


def _start_server() -> None:
    """Start the server that workers are forked from, unless it runs.

    Ctrl-C on a terminal goes to every process. This one answers it, and ends the workers; they and the server are
    started with the signal blocked, for the server would print where it was in importing PyTorch.
    """
    resource_tracker.ensure_running()  # it would be started by the server's start, and unblock the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class WorkerPool:
    """Processes that run functions of modules; made by `worker_pool`."""

    def __init__(self, executor: ProcessPoolExecutor) -> None:
        self._executor = executor
        self.started: set[BaseProcess] = set()

    def submit(self, work: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> Future[T]:
        """Start a call in one of the processes; its result is that of the future."""
        future = self._executor.submit(work, *arguments, **options)
        self.started.update(multiprocessing.active_children())  # the executor forgets them when one of them dies
        return future


@contextmanager
def worker_pool(workers: int, name: str, *, where: str, hint: str) -> Iterator[WorkerPool]:
    """Start worker processes, and end them at the end of the block.

    Args:
        workers: the most processes that run at once.
        name: what a process is, for the message: ``"a training process"``.
        where: the part of the program or the configuration key that a dead process concerns.
        hint: what the user can do when one dies.

    Raises:
        EnvironmentLacksError: the system ended a process, or its native code crashed.
    """
    context = worker_context()
    pool: WorkerPool | None = None
    try:
        with ProcessPoolExecutor(workers, mp_context=context, initializer=end_with_parent) as executor:
            pool = WorkerPool(executor)
            try:
                yield pool
            except KeyboardInterrupt:  # a signal to this process alone: the end of the block would wait for them
                executor.shutdown(wait=False, cancel_futures=True)
                for process in pool.started:
                    process.terminate()
                raise
    except BrokenProcessPool as error:
        how = _cause_of_death(pool.started if pool else ())
        raise EnvironmentLacksError(f"{name} {how}", where=where, hint=hint) from error


def _cause_of_death(started: Iterable[BaseProcess]) -> str:
    """How the process ended that broke the pool; the executor ends the others by SIGTERM."""
    codes = [process.exitcode for process in started if process.exitcode]
    own = next((code for code in codes if code != -signal.SIGTERM), None)
    if own is None:
        return "was ended from outside"
    return f"died of {signal.Signals(-own).name}" if own < 0 else f"ended with exit code {own}"
