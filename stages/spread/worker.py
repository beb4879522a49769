# SPDX-License-Identifier: Apache-2.0
"""What a worker needs to compute what the asking process would: its number of threads, and nobody to tell."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from spikefold.train.processes.device import set_threads, threads_of_process


class Quiet:
    """A reporter that tells nobody: what a worker prints is lost or mixed with that of others."""

    def line(self, text: str) -> None:
        """Nothing."""

    def progress(self, task: str, done: int, of: int, note: str = "") -> None:
        """Nothing."""


@contextmanager
def with_threads(count: int) -> Iterator[None]:
    """PyTorch computes with so many threads in the block: its sums in floating point depend on it."""
    before = threads_of_process()
    set_threads(count)
    try:
        yield
    finally:
        set_threads(before)
