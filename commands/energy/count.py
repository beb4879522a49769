# SPDX-License-Identifier: Apache-2.0
"""``spikefold energy RUN``: count and price a run, and hold its numbers against gates."""

from __future__ import annotations

from typing import Annotated

import typer

from spikefold.commands.options import LATEST_RUN, Quiet, RunFolder, Sets
from spikefold.commands.screen import guarded
from spikefold.commands.stage_command import again
from spikefold.errors import MismatchError
from spikefold.session import open_session
from spikefold.stage_table import ENERGY

Gates = Annotated[list[str] | None, typer.Option("--gate", help='Exit code 1 unless it holds, as "energy_uj<50".')]


def count(folder: RunFolder = LATEST_RUN, sets: Sets = None, gate: Gates = None, quiet: Quiet = False) -> None:
    """Count operations of a simulated run and price them, with gates on any number; meant where none is named."""
    with guarded(quiet) as screen:
        from spikefold.energy.gate import evaluate, parse, scalars
        from spikefold.stages.files.energy import energy_of_run
        from spikefold.stages.files.simulate import SimulateFile

        gates = parse(gate or [])
        again(ENERGY, folder, sets or [], screen)
        if not gates:
            return
        session = open_session(folder, screen)
        variants = SimulateFile.of_run(session).variants
        networks = energy_of_run(session, variants)["networks"]
        numbers = {name: scalars(networks[name], variant.accuracy) for name, variant in variants.items()}
        if failures := evaluate(gates, numbers, deployed=session.config.chips.names):
            raise MismatchError(
                f"{len(failures)} gates do not hold",
                where=str(folder),
                issues=[failure.issue for failure in failures],
            )
        screen.line(f"{len(gates)} gates hold")
