# SPDX-License-Identifier: Apache-2.0
"""``spikefold config`` and ``spikefold version``."""

from __future__ import annotations

import typer

from spikefold import __version__
from spikefold.commands.options import ConfigFile, Data, Json, Sets, configured
from spikefold.commands.screen import guarded
from spikefold.commands.tables import say_json


def config(file: ConfigFile = None, sets: Sets = None, data: Data = None, as_json: Json = False) -> None:
    """Print the whole configuration as TOML, each key with its meaning.

    For example: spikefold config --data npz:recordings > mine.toml
    """
    with guarded():
        from spikefold.config import to_toml

        found = configured(file, sets or [], data)
        if as_json:
            say_json(found.model_dump(mode="json"))
            return
        typer.echo(to_toml(found), nl=False)


def version(as_json: Json = False) -> None:
    """Print the version."""
    with guarded():
        if as_json:
            say_json({"spikefold": __version__})
            return
        typer.echo(__version__)
