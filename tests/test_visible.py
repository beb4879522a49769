# SPDX-License-Identifier: Apache-2.0
"""Names from strangers: hidden characters are shown, in pages, pictures and on the terminal; nothing else changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup
from matplotlib.figure import Figure

from spikefold.commands.screen import Screen
from spikefold.errors import UnsupportedError
from spikefold.hardware.simulators.trace import as_raster
from spikefold.pages import template
from spikefold.report_style import svg
from spikefold.visible import visible

HOSTILE = "wave\u202egnp.exe\u202c\x1b[2J\x00\u200b\u2066\ud800"
SHOWN = r"wave\u202egnp.exe\u202c\x1b[2J\x00\u200b\u2066\ud800"


def test_hidden_characters_are_written_out() -> None:
    assert visible(HOSTILE) == SHOWN
    assert visible(3) == 3
    marked = visible(Markup("<b>\u202e</b>"))
    assert type(marked) is Markup
    assert marked == r"<b>\u202e</b>"


@given(st.text())
def test_what_can_be_seen_is_left_and_nothing_is_shown_twice(text: str) -> None:
    shown = visible(text)
    assert visible(shown) == shown
    shown.encode("utf-8")
    if text.isprintable():
        assert shown == text


@pytest.mark.parametrize("name", ["schön", "手", "موجة", "क्ष\u200dत्र", "a\tb\nc", "two  blanks", "👩\u200d🚀"])
def test_scripts_and_emoji_stay(name: str) -> None:
    assert visible(name) == name


def test_a_page_shows_them_and_escapes_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "page.html.jinja"
    path.write_text("<p title='{{ name }}'>{{ name }}</p>{{ picture|safe }}", encoding="utf-8")
    page = template(path).render(name=f"<script>{HOSTILE}", picture="<svg>\u202e</svg>")
    assert page == rf"<p title='&lt;script&gt;{SHOWN}'>&lt;script&gt;{SHOWN}</p><svg>\u202e</svg>"


def test_a_picture_shows_them_and_takes_a_dollar_sign_for_no_formula() -> None:
    figure = Figure()
    axes = figure.subplots()
    axes.plot(np.logspace(0, 4), label="$\\broken")
    axes.set_yscale("log")
    axes.set_xticks([0, 1], ["left\u202e", "$a_{b$"])
    axes.legend()
    drawn = svg(figure, f"title {'x' * 3}")
    assert r"left\u202e" in drawn
    assert "$a_{b$" in drawn
    assert "$\\broken" in drawn
    assert drawn.count("<tspan") >= 2  # the scale's own labels stay formulas: a ten and its exponent


def test_the_terminal_shows_them(capsys: pytest.CaptureFixture[str]) -> None:
    Screen(quiet=False).line(HOSTILE)
    assert capsys.readouterr().err == SHOWN + "\n"


def test_counts_beyond_a_raster_are_refused_and_none_wraps() -> None:
    assert as_raster(np.array([0, 65535]), "sn").tolist() == [0, 65535]
    for wrong in (np.array([65536]), np.array([-1]), np.array([1e9]), np.array([2**40])):
        with pytest.raises(UnsupportedError, match="sn"):
            as_raster(wrong, "sn")
