# SPDX-License-Identifier: Apache-2.0
"""Results on stdout: tables for people, JSON for programs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:  # `spikefold --help` loads nothing of rich
    from rich.console import Console

    from spikefold.hardware.chip import Table


def show(table: Table, console: Console | None = None) -> None:
    """A framed table on a terminal; elsewhere one line a row, its cells two spaces or more apart."""
    if console is None:
        from rich.console import Console

        console = Console(highlight=False)
    if console.is_terminal:
        from rich.table import Table as Framed
        from rich.text import Text

        framed = Framed(*table.columns, title=table.title, title_justify="left", show_header=bool(table.columns))
        for row in table.rows:
            framed.add_row(*map(Text, row))
        console.print(framed)
        return
    lines = ([table.columns] if table.columns else []) + list(table.rows)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    typer.echo(f"{table.title}:")
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        typer.echo("  " + "  ".join(cells).rstrip())


def tabled(table: Table) -> dict[str, Any]:
    """A table as plain values: its rows by the names of its columns, or as they are where it has none."""
    rows = [dict(zip(table.columns, row, strict=True)) if table.columns else list(row) for row in table.rows]
    return {"title": table.title, "rows": rows}


def say_json(content: Any) -> None:
    """One JSON document."""
    typer.echo(json.dumps(content, indent=1, allow_nan=False))
