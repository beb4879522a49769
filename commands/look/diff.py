# SPDX-License-Identifier: Apache-2.0
"""``spikefold diff``: what two runs differ in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from spikefold.commands.options import Json
from spikefold.commands.screen import guarded
from spikefold.commands.tables import say_json


def diff(
    a: Annotated[Path, typer.Argument(help="A finished run, the one compared with.")],
    b: Annotated[Path, typer.Argument(help="Another; a difference below 0 means that it has less.")],
    as_json: Json = False,
) -> None:
    """What two runs differ in: accuracy, spikes, operations, energy; clip by clip where both saw the same clips."""
    with guarded():
        from spikefold.stages.verbs.compare_runs import diff_runs

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
