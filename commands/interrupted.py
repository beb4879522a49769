# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C, and a system or a scheduler that ends a job: what is told, what of a run is kept, and the exit code."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from spikefold.provenance.same_run import config_of
from spikefold.stage_table import STAGES, TRAIN

INTERRUPTED, TERMINATED = 130, 128 + signal.SIGTERM
"""Exit codes after Ctrl-C, and after SIGTERM as `kill` and Slurm send it."""


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived: handled as Ctrl-C is, so that nothing is left half-written, and no process left behind."""


@contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """Within the block SIGTERM raises `Terminated`; in a thread, where Python takes no signals, nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(number: int, frame: object) -> NoReturn:
    raise Terminated


def exit_code(interruption: KeyboardInterrupt) -> int:
    """What a shell sees: 128 and the number of the signal."""
    return TERMINATED if isinstance(interruption, Terminated) else INTERRUPTED


def what_is_kept(interrupted: str, run: Path) -> str:
    """One line after an interruption in a stage, or in the report: what is kept, and the command that goes on."""
    done = [one.name for one in STAGES if one.in_run and (run / one.folder).is_dir()]
    what = f"{', '.join(done)} {'is' if len(done) == 1 else 'are'} kept" if done else "no stage is done"
    if config_of(run) is None:
        return f"interrupted in {interrupted}: nothing is kept; the same command begins again"
    if interrupted == TRAIN.name:
        what = "the epochs of the training so far are kept"
    return f"interrupted in {interrupted}: {what}; `spikefold run --out {run}` goes on"
