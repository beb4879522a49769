# SPDX-License-Identifier: Apache-2.0
"""The templates of every page: what they name must be there, text is escaped, and hidden characters are shown."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from spikefold.visible import visible


def templates(folder: Path) -> Environment:
    """The templates of a folder."""
    return Environment(
        loader=FileSystemLoader(folder),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=visible,
    )


def template(path: Path) -> Template:
    """One template by its file."""
    return templates(path.parent).get_template(path.name)
