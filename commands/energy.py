# SPDX-License-Identifier: Apache-2.0
"""``spikefold energy``: count and price a run, with gates; and what stands beside it in the same group."""

from __future__ import annotations

from typing import Annotated

import typer

from spikefold.commands.calibrate import calibrate
from spikefold.commands.default_command import DefaultCommandGroup
from spikefold.commands.options import LATEST_RUN, Quiet, RunFolder, Sets
from spikefold.commands.profiles import profiles
from spikefold.commands.run import again
from spikefold.commands.screen import guarded
from spikefold.commands.silicon import silicon
from spikefold.commands.table3 import table3
from spikefold.errors import MismatchError
from spikefold.session import ENERGY, RESULTS, SIMULATE, open_session, read_json

Gates = Annotated[list[str] | None, typer.Option("--gate", help='Exit code 1 unless it holds, as "energy_uj<50".')]


def count(folder: RunFolder = LATEST_RUN, sets: Sets = None, gate: Gates = None, quiet: Quiet = False) -> None:
    """Count operations of a simulated run and price them, with gates on any number; meant where none is named."""
    with guarded(quiet) as screen:
        from spikefold.energy.gate import evaluate, parse, scalars
        from spikefold.energy.outputs import read_energy

        gates = parse(gate or [])
        again("energy", folder, sets or [], screen)
        if not gates:
            return
        session = open_session(folder, screen)
        networks = read_energy(session.path(ENERGY) / RESULTS)["networks"]
        variants = read_json(session.path(SIMULATE) / "simulate.json")
        numbers = {name: scalars(found, variants[name]["accuracy"]) for name, found in networks.items()}
        if failures := evaluate(gates, numbers, deployed=session.config.chips.names):
            raise MismatchError(
                f"{len(failures)} gates do not hold",
                where=str(folder),
                issues=[failure.issue for failure in failures],
            )
        screen.line(f"{len(gates)} gates hold")


energy = typer.Typer(
    cls=DefaultCommandGroup,
    subcommand_metavar="[COMMAND] [ARGS]...",
    help="Operations of a run and their energy; `spikefold energy RUN` counts and prices one.",
)
for _command in (count, calibrate, table3, profiles, silicon):
    energy.command(_command.__name__)(_command)
