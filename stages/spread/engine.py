# SPDX-License-Identifier: Apache-2.0
"""Does tasks on Ray's workers: each at most twice, its result in the order of the tasks."""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Generic, TypeVar

from spikefold.errors import ConfigError, EnvironmentLacksError, SpikefoldError
from spikefold.session import Reporter

Argument = TypeVar("Argument")
Result = TypeVar("Result")
TRIES = 2
"""How often a task is begun before its worker's death is an error."""
_POLL_S = 0.5
_HINT = "pip install 'spikefold[ray]'; without --workers and --address one process does it all"


@dataclass(frozen=True)
class Cluster:
    """Where tasks run.

    Attributes:
        workers: how many tasks run at once.
        address: of a cluster that runs, as Ray takes it (``auto``, ``HOST:PORT``, ``ray://...``); None for processes
            of this machine.

    Raises:
        ConfigError: no worker at all.
    """

    workers: int
    address: str | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.workers <= 10_000:
            raise ConfigError(f"{self.workers} workers", where="--workers", hint="from 1 to 10,000")


def cluster_of(workers: int | None, address: str | None) -> Cluster | None:
    """What ``--workers`` and ``--address`` ask for; None for this process alone.

    Raises:
        ConfigError: an address without workers, or a number of them that makes no sense.
    """
    if workers is None:
        if address is not None:
            raise ConfigError("an address without workers", where="--address", hint="say how many: --workers N")
        return None
    return Cluster(workers, address)


@dataclass(frozen=True)
class Task(Generic[Argument]):
    """One task.

    Attributes:
        name: for messages.
        argument: what the work is given; it is pickled on its way to a worker.
        size: how much it is, for the progress.
    """

    name: str
    argument: Argument
    size: int = 1


def spread(
    work: Callable[[Argument], Result],
    tasks: Sequence[Task[Argument]],
    cluster: Cluster,
    reporter: Reporter,
    what: str,
) -> list[Result]:
    """Do the work of every task.

    Args:
        work: a function of a module, which the workers import.
        tasks: all of them.
        cluster: where.
        reporter: told what is done, and in the end what it cost.
        what: the work is, for the progress.

    Raises:
        EnvironmentLacksError: Ray is not there or cannot be reached; the workers of one task died twice.
        SpikefoldError: the first that a task raised.
    """
    results: list[Any] = [None] * len(tasks)
    tries, waiting = [0] * len(tasks), deque(range(len(tasks)))
    started, spent, done = time.monotonic(), 0.0, 0
    with _connected(cluster) as ray:
        remote = ray.remote(num_cpus=1, max_retries=0)(_measured)
        running: dict[Any, int] = {}
        while waiting or running:
            while waiting and len(running) < cluster.workers:
                number = waiting.popleft()
                tries[number] += 1
                running[remote.remote(work, tasks[number].argument)] = number
            for reference in ray.wait(list(running), num_returns=1, timeout=_POLL_S)[0]:
                number = running.pop(reference)
                try:
                    results[number], seconds = ray.get(reference)
                except ray.exceptions.RayTaskError as error:
                    if isinstance(error.cause, SpikefoldError):
                        raise error.cause from error
                    raise
                except ray.exceptions.RayError as error:
                    _again(tasks[number], tries[number], error, reporter)
                    waiting.appendleft(number)
                    continue
                spent, done = spent + seconds, done + tasks[number].size
                reporter.progress(what, done, sum(task.size for task in tasks))
    wall = time.monotonic() - started
    reporter.line(
        f"{len(tasks)} tasks on {cluster.workers} workers: {spent:.1f} s of processors in {wall:.1f} s of the clock"
    )
    return results


def _measured(work: Callable[[Argument], Result], argument: Argument) -> tuple[Result, float]:
    """Done in a worker: the result, and the seconds of processors, those of its ended child processes among them."""
    started = sum(os.times()[:4])
    return work(argument), sum(os.times()[:4]) - started


def _again(task: Task[Any], tries: int, error: Exception, reporter: Reporter) -> None:
    """Say that a worker died, and raise where it is enough."""
    first = str(error).strip().splitlines()[:1]
    said = f"{type(error).__name__}: {first[0][:200] if first else 'no reason told'}"
    if tries >= TRIES:
        raise EnvironmentLacksError(
            f"the worker of {task.name} died {tries} times ({said})",
            where=task.name,
            hint="mostly lack of memory: fewer --workers on each machine, or more shards",
        ) from error
    reporter.line(f"the worker of {task.name} died ({said}); it is done again")


@contextmanager
def _connected(cluster: Cluster) -> Iterator[Any]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent home
    try:
        ray = import_module("ray")
    except ImportError as error:
        raise EnvironmentLacksError("Ray is not installed", where="--workers", hint=_HINT) from error
    options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if cluster.address is None:
        options |= {"num_cpus": cluster.workers, "include_dashboard": False}
    else:
        options |= {"address": cluster.address}
    try:
        ray.init(**options)
    except Exception as error:  # on a loaded machine it gives up its own start with a bare Exception
        where = cluster.address or "this machine"
        raise EnvironmentLacksError(f"cannot start or reach Ray: {error}", where=where, hint=_HINT) from error
    try:
        yield ray
    finally:
        ray.shutdown()
