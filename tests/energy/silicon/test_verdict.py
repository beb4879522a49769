# SPDX-License-Identifier: Apache-2.0
"""Published points and their verdicts: every point is predicted or says why not, and a wrong prediction shows."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from spikefold.energy.silicon import loihi1, speck
from spikefold.energy.silicon.point import GRADES, Point, Publication, publications
from spikefold.energy.silicon.verdict import Prediction, held_against
from spikefold.errors import MismatchError


def _point(key: str = "net/power", measured: object = 10.0, **more: object) -> Point:
    return Point.model_validate(
        {"key": key, "quantity": "power", "measured": measured, "unit": "mW", "read": "table", "grade": "A"} | more
    )


def _publication(*points: Point) -> Publication:
    return Publication(chip="Chip", network="a network", source="a paper, Table 1", points=list(points))


@pytest.mark.parametrize(
    ("measured", "within", "predicted", "verdict"),
    [
        (10.0, [0.9, 1.1], (10.9, 10.9), "agrees"),
        (10.0, [0.9, 1.1], (11.1, 11.1), "differs"),
        ([9.0, 10.0], [1.0, 1.0], (9.5, 9.5), "agrees"),
        ([9.0, 10.0], [1.0, 1.0], (10.1, 10.1), "differs"),
        (-60.0, [0.9, 1.1], (-57.0, -57.0), "agrees"),
        (-60.0, [0.9, 1.1], (-50.0, -50.0), "differs"),
        (10.0, None, (0.0, 20.0), "inside the interval"),
        ([9.0, 21.0], None, (0.0, 20.0), "outside the interval"),
    ],
)
def test_a_prediction_agrees_within_what_the_point_allows(
    measured: Any, within: list[float] | None, predicted: tuple[float, float], verdict: str
) -> None:
    more: dict[str, Any] = {} if within is None else {"within": within}
    (row,) = held_against(
        (_publication(_point(measured=measured, **more)),),
        {"net/power": Prediction(predicted[0], predicted[1], "h")},
        {},
    )
    assert row.verdict == verdict
    assert row.ratio == pytest.approx([end / row.point.middle for end in predicted])
    assert row.to_json()["verdict"] == verdict


def test_a_point_without_a_prediction_says_why() -> None:
    points = _point(not_predictable="the network is not public"), _point("file/power", 3.0, within=[0.9, 1.1])
    rows = held_against((_publication(*points),), {}, {"file": "the file could not be had"})
    assert [row.verdict for row in rows] == ["NOT PREDICTABLE", "NOT PREDICTED"]
    assert [row.why for row in rows] == ["the network is not public", "the file could not be had"]
    assert [row.ratio for row in rows] == [None, None]
    with pytest.raises(MismatchError, match="neither a prediction nor a reason: file/power"):
        held_against((_publication(*points),), {}, {})
    with pytest.raises(MismatchError, match="of no published point: net/power"):
        held_against((_publication(*points),), {"net/power": Prediction(1, 1, "h")}, {"file": "why"})
    with pytest.raises(MismatchError, match="predicted from 2 to 1"):
        Prediction(2, 1, "h")


@pytest.mark.parametrize(
    "wrong",
    [{"measured": [2.0, 1.0]}, {"within": [0.9, 1.1], "not_predictable": "why"}, {"grade": "D"}, {"extra": 1}],
)
def test_a_point_that_is_not_whole_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        _point(**wrong)


def test_what_was_published_is_read_whole() -> None:
    found = publications()
    points = [point for one in found for point in one.points]
    assert len(points) >= 70
    assert len({point.key for point in points}) == len(points)
    assert {point.grade for point in points} == set(GRADES)
    assert sum(not point.not_predictable for point in points) >= 50
    assert {one.chip for one in found} >= {"Loihi 1", "Loihi 2", "Speck"}


def test_speck_and_loihi_1_are_predicted_from_the_other_rows() -> None:
    found = dict([*speck.predictions(), *loihi1.predictions()])
    chosen = tuple(
        one.model_copy(update={"points": [point for point in one.points if point.key in found]})
        for one in publications()
        if any(point.key in found for point in one.points)
    )
    rows = {row.point.key: row for row in held_against(chosen, found, {})}
    assert len(rows) == 16
    verdicts = {key: row.verdict for key, row in rows.items()}
    # spikes alone do not predict Gait-night, and a run at another rate is not the line's
    assert {key for key, verdict in verdicts.items() if verdict == "differs"} == {
        "speck-yao/change-gait-night",
        "keyword-spotting/dynamic-copies-0",
    }
    assert sum(verdict == "inside the interval" for verdict in verdicts.values()) == 6
    assert sum(verdict == "agrees" for verdict in verdicts.values()) == 8


def test_the_line_through_the_copies_is_the_published_one() -> None:
    running, each = loihi1.line()
    assert running == pytest.approx(76.5, abs=0.05)
    assert each == pytest.approx(1.876, abs=0.001)
