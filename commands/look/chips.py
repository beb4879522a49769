# SPDX-License-Identifier: Apache-2.0
"""``spikefold chips``: the targets and their rules, as tables."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from spikefold.commands.options import Json
from spikefold.commands.screen import guarded
from spikefold.commands.tables import say_json, show, tabled


def chips(
    name: Annotated[str | None, typer.Argument(help="A chip, for its rules and limits.")] = None,
    as_json: Json = False,
) -> None:
    """List the chips; with a name, every rule that a network must keep there, its numbers and its memory.

    For example: spikefold chips speck2f
    """
    with guarded():
        from spikefold.hardware.chip_tables import details, overview
        from spikefold.hardware.registry import chip_named
        from spikefold.hardware.registry import chips as known

        tables = details(chip_named(name)) if name else [overview(known().values())]
        if as_json:
            say_json([tabled(table) for table in tables])
            return
        for table in tables:
            show(table, Console(highlight=False))
