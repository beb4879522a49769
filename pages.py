# SPDX-License-Identifier: Apache-2.0
"""The templates of every page: what they name must be there, text is escaped, and hidden characters are shown."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from spikefold.visible import visible


def templates(*folders: Path) -> Environment:
    """The templates of some folders."""
    return Environment(
        loader=FileSystemLoader(folders),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=visible,
    )


def template(path: Path) -> Template:
    """One template by its file."""
    return templates(path.parent).get_template(path.name)
