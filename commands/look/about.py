# SPDX-License-Identifier: Apache-2.0
"""``spikefold config`` and ``spikefold version``."""

from __future__ import annotations

import typer

from spikefold import __version__
from spikefold.commands.options import ConfigFile, Sets
from spikefold.commands.screen import guarded
from spikefold.config import load_config, to_toml


def config(file: ConfigFile = None, sets: Sets = None) -> None:
    """Print the whole configuration as TOML, each key with its meaning."""
    with guarded():
        typer.echo(to_toml(load_config(file, tuple(sets or []))), nl=False)


def version() -> None:
    """Print the version."""
    typer.echo(__version__)
