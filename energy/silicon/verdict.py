# SPDX-License-Identifier: Apache-2.0
"""A prediction beside a measurement: their ratio, and whether they agree within what the point allows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from spikefold.energy.silicon.point import Point, Publication
from spikefold.errors import MismatchError

Verdict = Literal[
    "agrees", "differs", "inside the interval", "outside the interval", "NOT PREDICTABLE", "NOT PREDICTED"
]
NOT_PREDICTABLE: Literal["NOT PREDICTABLE"] = "NOT PREDICTABLE"
NOT_PREDICTED: Literal["NOT PREDICTED"] = "NOT PREDICTED"


@dataclass(frozen=True)
class Prediction:
    """What the program says, in the unit of the point.

    Attributes:
        low: the least it can be.
        high: the most; equal to the least where the prediction is one number.
        how: what computed it, in words.

    Raises:
        MismatchError: the ends are the wrong way round.
    """

    low: float
    high: float
    how: str

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise MismatchError(f"predicted from {self.low:g} to {self.high:g}: {self.how}")

    @property
    def is_interval(self) -> bool:
        """Whether it has two ends."""
        return self.low != self.high


@dataclass(frozen=True)
class Row:
    """One point with its prediction.

    Attributes:
        publication: where the point was published.
        point: what was measured.
        prediction: None where there is none.
        missing: why there is none here, though one could be made: the environment lacks something.
    """

    publication: Publication
    point: Point
    prediction: Prediction | None
    missing: str = ""

    @property
    def ratio(self) -> tuple[float, float] | None:
        """Prediction over measurement, at the low and the high end; None without a prediction or at a measured 0."""
        if self.prediction is None or not self.point.middle:
            return None
        return self.prediction.low / self.point.middle, self.prediction.high / self.point.middle

    @property
    def verdict(self) -> Verdict:
        """In words. An interval is held against the whole range that was read, one number by the ratio."""
        point, found = self.point, self.prediction
        if point.not_predictable:
            return NOT_PREDICTABLE
        if found is None:
            return NOT_PREDICTED
        if found.is_interval or point.within is None:
            inside = found.low <= point.low and point.high <= found.high
            return "inside the interval" if inside else "outside the interval"
        ends = [share * one for share in point.within for one in (point.low, point.high)]
        return "agrees" if min(ends) <= found.low <= max(ends) else "differs"

    @property
    def why(self) -> str:
        """How it was predicted, or why it was not."""
        return self.point.not_predictable or self.missing or (self.prediction.how if self.prediction else "")

    def to_json(self) -> dict[str, Any]:
        """Plain values for a report."""
        found, ratio = self.prediction, self.ratio
        return {
            "key": self.point.key,
            "chip": self.publication.chip,
            "network": self.publication.network,
            "quantity": self.point.quantity,
            "unit": self.point.unit,
            "predicted": None if found is None else [found.low, found.high],
            "measured": [self.point.low, self.point.high],
            "ratio": None if ratio is None else list(ratio),
            "within": None if self.point.within is None else list(self.point.within),
            "verdict": self.verdict,
            "grade": self.point.grade,
            "read": self.point.read,
            "why": self.why,
            "source": self.publication.source,
        }


def held_against(
    published: tuple[Publication, ...], predictions: Mapping[str, Prediction], missing: Mapping[str, str]
) -> tuple[Row, ...]:
    """Every published point with its prediction.

    Args:
        published: of `publications`.
        predictions: by the key of the point.
        missing: for points without a prediction why, by the part of the key before the first ``/``.

    Raises:
        MismatchError: a prediction of no point or of one that is said not to be predictable, or a point that has
            neither a prediction nor a reason.
    """
    rows = tuple(_rows(published, predictions, missing))
    known = {row.point.key for row in rows if not row.point.not_predictable}
    if strange := sorted(predictions.keys() - known):
        raise MismatchError(f"predictions of no published point: {', '.join(strange)}")
    if without := [row.point.key for row in rows if not row.why]:
        raise MismatchError(f"points with neither a prediction nor a reason: {', '.join(without)}")
    return rows


def _rows(
    published: tuple[Publication, ...], predictions: Mapping[str, Prediction], missing: Mapping[str, str]
) -> Iterator[Row]:
    for one in published:
        for point in one.points:
            found = predictions.get(point.key)
            yield Row(one, point, found, "" if found else missing.get(point.key.split("/", 1)[0], ""))
