# SPDX-License-Identifier: Apache-2.0
"""Writes a sweep: ``sweep.json`` with every point, ``front.svg``, and ``sweep.html`` with links to the runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spikefold import __version__
from spikefold.files import write_json, write_text
from spikefold.pages import templates
from spikefold.stages.sweep.front import with_front
from spikefold.stages.sweep.picture import picture
from spikefold.stages.sweep.point import Point

FILE, PICTURE, PAGE = "sweep.json", "front.svg", "sweep.html"
SCHEMA_VERSION = 1
_HERE = Path(__file__).parent
_PARTS = _HERE.parent / "report" / "parts"
_XMLNS = 'xmlns="http://www.w3.org/2000/svg"'


def write_sweep(points: Sequence[Point], folder: Path, name: str) -> dict[str, Any]:
    """Write the three files; the content of ``sweep.json``.

    Args:
        points: every design of the space, in its order.
        folder: of the sweep.
        name: of the space, for people.
    """
    marked = with_front(points)
    content = {
        "schema_version": SCHEMA_VERSION,
        "spikefold": __version__,
        "space": name,
        "designs": [point.model_dump(mode="json") for point in marked],
    }
    write_json(folder / FILE, content)
    drawn = picture(marked)
    if drawn:
        alone = drawn if _XMLNS in drawn else drawn.replace("<svg", f"<svg {_XMLNS}", 1)
        write_text(folder / PICTURE, alone)
    page = templates(_HERE, _PARTS).get_template("sweep.html.jinja")
    keys = list(dict.fromkeys(key for point in marked for key in point.values))
    write_text(folder / PAGE, page.render(name=name, points=marked, keys=keys, picture=drawn, version=__version__))
    return content
