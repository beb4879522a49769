# SPDX-License-Identifier: Apache-2.0
"""Makes one design by the command ``run``, in a process of its own that takes no other design along where it dies."""

from __future__ import annotations

import contextlib
import io
import os

import typer

from spikefold.commands.run import run
from spikefold.errors import EnvironmentLacksError
from spikefold.stages.sweep.make import ToMake
from spikefold.stages.sweep.outcome import Outcome
from spikefold.train.processes.pool import worker_pool

_HINT = "mostly lack of memory: a smaller train.batch, or fewer --workers; the same command tries it again"


def made_apart(given: ToMake) -> Outcome:
    """Make the design in a process of its own; the process that died is an outcome too."""
    try:
        with worker_pool(1, "the process of a design", where=given.name, hint=_HINT) as pool:
            outcome = pool.submit(made, given).result()
    except EnvironmentLacksError as error:
        outcome = Outcome(code=error.exit_code, error=str(error))
    outcome.write(given.outcome)
    return outcome


def made(given: ToMake) -> Outcome:
    """Make the design in this process: goes on where a run was begun."""
    os.chdir(given.place)
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            run(config=given.config, out=given.run, as_json=True, quiet=True)
    except typer.Exit as end:
        return Outcome(code=end.exit_code, error=_message(said.getvalue()))
    return Outcome(code=0)


def _message(said: str) -> str:
    """The error itself, without what warnings of libraries stand before it."""
    lines = said.strip().splitlines()
    first = next((number for number, line in enumerate(lines) if line.startswith("E-")), 0)
    return "\n".join(lines[first:])
