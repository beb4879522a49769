# SPDX-License-Identifier: Apache-2.0
"""What all pictures of the report share: colours, and a figure as an inline SVG."""

from __future__ import annotations

import html
import io
import re
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
