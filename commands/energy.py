# SPDX-License-Identifier: Apache-2.0
"""``spikefold energy``, its gates, ``spikefold calibrate`` and ``spikefold diff``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from spikefold.commands.options import LATEST_RUN, Json, Quiet, RunFolder, Sets
from spikefold.commands.run import again
from spikefold.commands.screen import guarded
from spikefold.commands.tables import say_json
from spikefold.errors import ConfigError, MismatchError
from spikefold.session import ENERGY, RESULTS, SIMULATE, open_session, read_json

Gates = Annotated[list[str] | None, typer.Option("--gate", help='Exit code 1 unless it holds, as "energy_uj<50".')]


def energy(folder: RunFolder = LATEST_RUN, sets: Sets = None, gate: Gates = None, quiet: Quiet = False) -> None:
    """Count operations of a simulated run and price them; gates on any number of it."""
    with guarded(quiet) as screen:
        from spikefold.energy.gate import evaluate, parse, scalars
        from spikefold.energy.outputs import read_energy

        gates = parse(gate or [])
        again("energy", folder, sets or [], screen)
        if not gates:
            return
        session = open_session(folder, screen)
        networks = read_energy(session.path(ENERGY) / RESULTS)["networks"]
        rungs = read_json(session.path(SIMULATE) / "simulate.json")
        numbers = {name: scalars(found, rungs[name]["accuracy"]) for name, found in networks.items()}
        if failures := evaluate(gates, numbers, deployed=session.config.chips.names):
            raise MismatchError(f"{len(failures)} gates do not hold", where=str(folder),
                                issues=[failure.issue for failure in failures])  # fmt: skip
        screen.line(f"{len(gates)} gates hold")


def calibrate(
    csv: Annotated[Path, typer.Argument(help="Columns synops_per_s and power_mw, one line a measurement.")],
    out: Annotated[Path, typer.Option(help="The profile to write, for --set energy_profile=FILE.toml.")],
    device: Annotated[str, typer.Option(help="What was measured, for the profile.")],
    chip: Annotated[str, typer.Option(help="The profile that the measured numbers go into.")] = "speck",
) -> None:
    """Fit power = resting + pJ per synaptic operation x rate to measurements of a board, as a technology profile."""
    with guarded():
        from datetime import UTC, datetime

        from spikefold.energy.calibrate import fit, write_profile
        from spikefold.energy.calibration_data import read_points

        if out.exists():
            raise ConfigError("something is there, and would be lost", where=str(out), hint="choose another --out")
        found = fit(read_points(csv))
        write_profile(found, out, device=device, when=datetime.now(UTC).date(), chip=chip)
        typer.echo(found.describe())
        typer.echo(out)


def diff(
    a: Annotated[Path, typer.Argument(help="A finished run, the one compared with.")],
    b: Annotated[Path, typer.Argument(help="Another; a difference below 0 means that it has less.")],
    as_json: Json = False,
) -> None:
    """What two runs differ in: accuracy, spikes, operations, energy; clip by clip where both saw the same clips."""
    with guarded():
        from spikefold.stages.diff import diff_runs

        found = diff_runs(a, b)
        if as_json:
            say_json(found)
            return
        typer.echo(f"{'paired' if found['paired'] else 'not paired'}: {found['why']}")
        for name, network in found["networks"].items():
            for quantity in ("accuracy", "spikes", "synops", "energy_pj"):
                if network.get(quantity):
                    typer.echo(f"{name:>18}  {quantity:<10} {_line(network[quantity])}")


def _line(found: dict[str, Any]) -> str:
    return "  ".join(f"{key} {_shown(value)}" for key, value in found.items() if value is not None)


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.4g}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_shown(item) for item in value) + "]"
    return str(value)
