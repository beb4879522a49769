# SPDX-License-Identifier: Apache-2.0
"""``spikefold energy table3``: the paper's Table 3 computed again, and what of it cannot be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from spikefold.commands.options import Json
from spikefold.commands.screen import guarded
from spikefold.commands.tables import say_json, show

if TYPE_CHECKING:
    from spikefold.energy.table3 import Row

_TITLES = {
    "parameters": "Parameters",
    "MAC": "MACs that attention adds to a clip",
    "%": "Energy that attention saves on Gait-day, in percent",
    "vanilla": "What the printed percentages say of the network without attention",
}
_COUNTED = {"paper": "paper's rule", "executed": "as executed", "solved": "solved for"}
_MEANING = {
    "paper": "the decomposition that meets the printed number, or comes nearest; not the same rule for each row",
    "executed": "SA's own rule on what the published code executes; of parameters, what is trained",
    "solved": "the printed numbers turned round",
}


def table3(as_json: Json = False) -> None:
    """The paper's Table 3 computed again: by the paper's rule and as executed, and what cannot be derived.

    For example: spikefold energy table3
    """
    with guarded():
        from spikefold.energy.table3 import NOT_DERIVABLE
        from spikefold.energy.table3 import table3 as found
        from spikefold.hardware.chip import Table

        if as_json:
            say_json(_content(found(), NOT_DERIVABLE))
            return
        columns = ("module", "counted", "comes out", "printed", "agrees", "with what")
        for part, title in _TITLES.items():
            rows = tuple(_cells(row) for row in found() if _part(row) == part)
            show(Table(title, columns, rows))
        typer.echo("Not derivable from what is printed:")
        for missing in NOT_DERIVABLE:
            typer.echo(f"  {missing}")


def _part(row: Row) -> str:
    return "vanilla" if row.counted == "solved" else row.unit


def _content(rows: tuple[Row, ...], missing: tuple[str, ...]) -> dict[str, Any]:
    return {"counted": _MEANING, "rows": [row.to_json() for row in rows], "not_derivable": list(missing)}


def _cells(row: Row) -> tuple[str, ...]:
    verdict = {True: "yes", False: "no", None: ""}[row.agrees]
    notes = f"{row.assumptions}; {row.note}" if row.note else row.assumptions
    return row.module, _COUNTED[row.counted], _computed(row), _printed(row), verdict, notes


def _computed(row: Row) -> str:
    if row.unit in ("parameters", "MAC"):
        return f"{int(row.computed):,}"
    number = f"{float(row.computed):,.1f}" if row.unit == "%" else f"{float(row.computed):,.4g}"
    return number if row.unit == "%" else f"{number} {row.unit}"


def _printed(row: Row) -> str:
    if row.printed is None:
        return ""
    if row.unit == "MAC":
        return f"{float(row.printed)} M"
    return f"{int(row.printed):,}"
