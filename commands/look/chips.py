# SPDX-License-Identifier: Apache-2.0
"""``spikefold chips``: the targets and their rules, as tables."""

from __future__ import annotations

from typing import Annotated

import typer

from spikefold.commands.options import Json
from spikefold.commands.screen import guarded
from spikefold.commands.tables import say_json, show, tabled
from spikefold.errors import ConfigError


def chips(
    name: Annotated[str | None, typer.Argument(help="A chip, for its rules and limits.")] = None,
    as_json: Json = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Markdown, as SUPPORTED.md is made.")] = False,
) -> None:
    """List the chips; with a name, every rule that a network must keep there, its numbers and its memory.

    For example: spikefold chips speck2f
    """
    with guarded():
        from spikefold.hardware.chip_tables import details, markdown, overview, supported
        from spikefold.hardware.registry import chip_named
        from spikefold.hardware.registry import chips as known

        if as_json and as_markdown:
            raise ConfigError("--json and --markdown", where="chips", hint="choose one of them")
        tables = details(chip_named(name)) if name else [overview(known().values())]
        if as_json:
            say_json([tabled(table) for table in tables])
            return
        if as_markdown:
            typer.echo(markdown(tables) if name else supported(known().values()), nl=False)
            return
        for table in tables:
            show(table)
