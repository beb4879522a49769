# SPDX-License-Identifier: Apache-2.0
"""``spikefold energy silicon``: published measurements of chips, each beside what this program predicts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spikefold.commands.options import Json
from spikefold.commands.screen import guarded
from spikefold.commands.tables import say_json, show

if TYPE_CHECKING:
    from spikefold.energy.silicon.verdict import Row

_NETWORK = "PilotNet's network.net, in place of the one of lava-dl's wheel (downloaded once)."


def silicon(
    network: Annotated[Path | None, typer.Option(help=_NETWORK)] = None,
    as_json: Json = False,
) -> None:
    """Hold predicted operations, cores, times and energies against measurements that were published of chips.

    For example: spikefold energy silicon
    """
    with guarded(quiet=as_json):
        from spikefold.energy.silicon.point import GRADES
        from spikefold.hardware.chip import Table
        from spikefold.stages import silicon as stage

        found = stage.silicon(network)
        if as_json:
            say_json(found.to_json())
            return
        columns = ("point", "quantity", "predicted", "measured", "ratio", "grade", "verdict", "how, or why not")
        show(Table("Predictions against silicon", columns, tuple(map(_cells, found.rows))))
        for grade, meaning in GRADES.items():
            typer.echo(f"grade {grade}: {meaning}")
        for verdict, number in found.to_json()["verdicts"].items():
            typer.echo(f"{verdict}: {number} of {len(found.rows)} points")
        if found.balance is not None:
            typer.echo(f"PilotNet, balanced: {found.balance.describe()}")


def _cells(row: Row) -> tuple[str, ...]:
    point, found, ratio = row.point, row.prediction, row.ratio
    unit = f" {point.unit}" if point.unit else ""
    return (
        point.key,
        point.quantity,
        "" if found is None else _between(found.low, found.high) + unit,
        _between(point.low, point.high) + unit,
        "" if ratio is None else _between(*(round(one, 3) for one in ratio)),
        point.grade,
        row.verdict,
        row.why,
    )


def _between(low: float, high: float) -> str:
    return f"{low:.6g}" if low == high else f"{low:.6g} to {high:.6g}"
