# SPDX-License-Identifier: Apache-2.0
"""Makes what is needed next while what is there is worked on, in one thread more.

A processor that is idle then takes a part of the work of a training that is the last to end. What is made must not
depend on when: the clips of a batch follow from seed, epoch and index.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Asked = TypeVar("Asked")
Made = TypeVar("Made")


def made_ahead(make: Callable[[Asked], Made], asked: Iterable[Asked]) -> Iterator[tuple[Asked, Made]]:
    """What is asked for, one after the other, and what is made of it; the next is begun before one is given.

    Args:
        make: called in a thread of its own, one call after the other; what it raises is raised where it is due.
        asked: what is made something of.
    """
    with ThreadPoolExecutor(1) as thread:
        waiting: tuple[Asked, Future[Made]] | None = None
        for one in asked:
            due, waiting = waiting, (one, thread.submit(make, one))
            if due is not None:
                yield due[0], due[1].result()
        if waiting is not None:
            yield waiting[0], waiting[1].result()
