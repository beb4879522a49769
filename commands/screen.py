# SPDX-License-Identifier: Apache-2.0
"""Where a command shows what it does, and how an error becomes a message and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NoReturn

import typer

from spikefold.commands.interrupted import exit_code, sigterm_interrupts
from spikefold.commands.system_errors import forget_output, from_system
from spikefold.errors import SpikefoldError
from spikefold.visible import visible

if TYPE_CHECKING:  # `spikefold --help` loads nothing of rich
    from rich.progress import Progress, TaskID


class Screen:
    """Progress for people: bars on a terminal, plain lines elsewhere. Results go to stdout, progress to stderr."""

    def __init__(self, quiet: bool) -> None:
        from rich.console import Console

        self._console = Console(stderr=True, quiet=quiet, highlight=False, soft_wrap=True)
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}

    def line(self, text: str) -> None:
        """One finished fact."""
        self._console.print(visible(text), markup=False)

    def progress(self, task: str, done: int, of: int, note: str = "") -> None:
        """A step of long work."""
        if not self._console.is_terminal:
            self.line(f"{task}: {done}/{of} {note}".rstrip())
            return
        if self._bars is None:
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.completed}/{task.total}"),
                TimeElapsedColumn(),
                TextColumn("{task.fields[note]}"),
            )
            self._bars = Progress(*columns, console=self._console)
            self._bars.start()
        if task not in self._tasks:
            self._tasks[task] = self._bars.add_task(task, total=of, note=note)
        self._bars.update(self._tasks[task], completed=done, note=note)

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._bars is not None:
            self._bars.stop()
            self._bars = None


@contextmanager
def guarded(quiet: bool = False) -> Iterator[Screen]:
    """Turn errors a user can cause, and what the system refuses, into a message on stderr and their exit code."""
    screen = Screen(quiet)
    try:
        with sigterm_interrupts():
            yield screen
        sys.stdout.flush()  # a full disk or a closed pipe is told here, not by the interpreter at its end
    except SpikefoldError as error:
        _fail(error, screen)
    except (OSError, MemoryError) as error:
        _fail(from_system(error), screen)
    except KeyboardInterrupt as interruption:
        screen.close()
        typer.echo("interrupted; what was not finished is as it was before", err=True)
        raise typer.Exit(exit_code(interruption)) from None
    finally:
        screen.close()


def _fail(error: SpikefoldError, screen: Screen) -> NoReturn:
    screen.close()
    try:
        sys.stdout.flush()
    except OSError:
        forget_output()
    with suppress(OSError):
        typer.echo(visible(str(error)), err=True)
    raise typer.Exit(error.exit_code) from error
