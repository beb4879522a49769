# SPDX-License-Identifier: Apache-2.0
"""``spikefold chips``: the targets and their rules, as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from spikefold.commands.screen import guarded

if TYPE_CHECKING:
    from spikefold.hardware.chip import Table


def chips(name: Annotated[str | None, typer.Argument(help="A chip, for its rules and limits.")] = None) -> None:
    """List the chips; with a name, every rule that a network must keep there, its numbers and its memory."""
    with guarded():
        from spikefold.hardware.chip_tables import details, overview
        from spikefold.hardware.registry import CHIPS, chip_named

        for table in details(chip_named(name)) if name else [overview(CHIPS.values())]:
            show(table, Console(highlight=False))


def show(table: Table, console: Console) -> None:
    """A framed table on a terminal; elsewhere one line a row, its cells two spaces or more apart."""
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
