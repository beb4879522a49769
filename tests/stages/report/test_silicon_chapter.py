# SPDX-License-Identifier: Apache-2.0
"""The page's chapter of predictions against silicon: each point with its verdict, and the pointer where one lacks."""

from __future__ import annotations

import re

import pytest

from spikefold.stages import silicon as stage
from spikefold.stages.report.template_files import templates


def _chapter() -> str:
    rows = [row.to_json() for row in stage.at_hand()]
    text: str = templates().get_template("parts/silicon.html.jinja").render(silicon=rows)
    return text


def test_every_published_point_is_a_row_with_prediction_measurement_and_verdict(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stage, "kept_network", lambda name: None)
    text, rows = _chapter(), stage.at_hand()
    body = re.findall(r"<tr>(<td>.*?)</tr>", text, flags=re.DOTALL)
    assert len(body) == len(rows) >= 70
    for row, html in zip(rows, body, strict=True):
        cells = re.findall(r"<td[^>]*>(.*?)</td>", html, flags=re.DOTALL)
        assert (cells[0], cells[6], cells[7]) == (row.point.key, row.point.grade, row.verdict)
        assert cells[3], "what was measured"
        assert bool(cells[2]) == (row.prediction is not None)
    by_key = {html.split("</td>")[0].removeprefix("<td>"): html for html in body}
    # the interval that the five other networks of Yao et al. leave for the sixth, and what was measured
    power = re.findall(r"<td[^>]*>(.*?)</td>", by_key["speck-yao/power-gesture-vanilla"], flags=re.DOTALL)
    assert power[3:5] == ["9.5", "mW"]
    low, high = map(float, power[2].split(" to "))
    assert low < 9.5 < high
    assert "74 points" in text
    assert f"{sum(row.verdict == 'agrees' for row in rows)} agrees" in text


def test_pilotnets_rows_point_to_the_command_that_predicts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "kept_network", lambda name: None)
    text = _chapter()
    assert text.count("NOT PREDICTED</td>") > 25
    assert text.count("`spikefold energy silicon` fetches it") == text.count("NOT PREDICTED</td>")
