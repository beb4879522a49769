# SPDX-License-Identifier: Apache-2.0
"""The templates of the pages, and how they are read: what they name must be there, and text is escaped."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment

from spikefold import pages

_FOLDER = Path(__file__).parent


def templates() -> Environment:
    """The templates of the page and of its parts."""
    return pages.templates(_FOLDER)
