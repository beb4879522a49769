# SPDX-License-Identifier: Apache-2.0
"""What all pictures of the report share: colours, and a figure as an inline SVG."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterable
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.text import Text

from spikefold.visible import visible

_FORMULA = r"$\mathdefault"
COLOURS = ("#3b6fb6", "#d9822b", "#4b9b6b", "#a34f9f", "#7a7a7a", "#c14953")
_SETTINGS: Any = {
    "svg.hashsalt": "spikefold",  # element names must not differ from run to run
    "svg.fonttype": "none",
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


_INCH_OF_LETTER, _INCH_OF_LINE = 0.076, 0.18
"""Mean width of a letter and height of a line in the pictures' font."""


def arranged(
    figure: Figure, *, left: Iterable[str] = (), below: int = 2, above: int = 0, apart: float = 0.08
) -> Figure:
    """Give a figure's axes their place by the length of what stands around them.

    Matplotlib's own layouts draw everything twice to measure it, which takes longer than the picture.

    Args:
        figure: with its axes.
        left: the labels left of the first axes.
        below: lines of text below the axes.
        above: lines above them.
        apart: width between axes, as a share of theirs.
    """
    width, height = figure.get_size_inches()
    letters = max((len(label) for label in left), default=0) + 2
    figure.subplots_adjust(
        left=min(0.5, _INCH_OF_LETTER * letters / width),
        right=1 - 0.12 / width,
        bottom=_INCH_OF_LINE * (below + 0.9 * (below > 0)) / height,
        top=1 - _INCH_OF_LINE * (above + 0.4) / height,
        wspace=apart,
    )
    return figure


def svg(figure: Figure, title: str) -> str:
    """The figure as an ``<svg>`` element with an accessible title, equal for equal content."""
    buffer = io.StringIO()
    for said in figure.findobj(Text):
        # a dollar sign in a name is no formula; those of a logarithmic axis say what they are
        if "$" in said.get_text() and not said.get_text().startswith(_FORMULA):
            said.set_parse_math(False)
    with rc_context(_SETTINGS):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    text = visible(buffer.getvalue())
    # the ink of texts and axes is that of the page, so that it can be read on a dark one too
    text = re.sub(r"(?<=[ :])#000000", "currentColor", text[text.index("<svg") :])
    label = html.escape(title, quote=True)
    return re.sub(r"<svg ", f'<svg role="img" aria-label="{label}" ', text, count=1)
