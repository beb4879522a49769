# SPDX-License-Identifier: Apache-2.0
"""What was published of a chip: each point is one number of a TOML file in ``published/``, with how it was read."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from spikefold.errors import ConfigError
from spikefold.toml import parse_toml

Grade = Literal["A", "B", "C"]
GRADES: Mapping[Grade, str] = MappingProxyType(
    {
        "A": "printed as a number in a table, a log or a notebook that was read",
        "B": "read off a published picture, so within the thickness of a line",
        "C": "from an abstract or an excerpt only, or derived from other published numbers",
    }
)
_FOLDER = Path(__file__).parent / "published"
_STRICT = ConfigDict(extra="forbid", frozen=True, strict=True, str_strip_whitespace=True, allow_inf_nan=False)


class Point(BaseModel):
    """One published measurement.

    Attributes:
        key: its name, ``network/quantity``; predictions are found by it.
        quantity: what was measured, in words.
        measured: the number, or the two ends between which it was read.
        unit: of the number.
        read: how it was found in the source.
        grade: how sure the reading is; see `GRADES`.
        within: least and most ratio of prediction to measurement that counts as agreement; None where the
            prediction is an interval, which must hold the measurement.
        not_predictable: why nothing can be predicted for it; empty where something can.
    """

    model_config = _STRICT
    key: str = Field(min_length=1)
    quantity: str = Field(min_length=1)
    measured: float | tuple[float, float]
    unit: str = ""
    read: str = Field(min_length=1)
    grade: Grade
    within: tuple[float, float] | None = None
    not_predictable: str = ""

    @model_validator(mode="before")
    @classmethod
    def _pairs(cls, values: dict[str, object]) -> dict[str, object]:
        """TOML has lists where pairs are meant."""
        return {name: tuple(one) if isinstance(one, list) else one for name, one in values.items()}

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"{self.key}: measured from {self.low} to {self.high}")
        if self.not_predictable and self.within is not None:
            raise ValueError(f"{self.key}: ratios that agree, though nothing can be predicted")
        return self

    @property
    def low(self) -> float:
        """The least that was read."""
        return self.measured[0] if isinstance(self.measured, tuple) else self.measured

    @property
    def high(self) -> float:
        """The most that was read."""
        return self.measured[1] if isinstance(self.measured, tuple) else self.measured

    @property
    def middle(self) -> float:
        """What a ratio is taken to."""
        return (self.low + self.high) / 2


class Publication(BaseModel):
    """The points of one network on one chip, and where they were published.

    Attributes:
        chip: what was measured, for people.
        network: what ran, or why it cannot be run here.
        source: document, with its page or table.
        points: the numbers.
    """

    model_config = _STRICT
    chip: str = Field(min_length=1)
    network: str = Field(min_length=1)
    source: str = Field(min_length=1)
    points: list[Point] = Field(min_length=1)


@cache
def publications() -> tuple[Publication, ...]:
    """All that was published, by file name.

    Raises:
        ConfigError: a file cannot be read or lacks something, or two points have one key.
    """
    found = []
    for path in sorted(_FOLDER.glob("*.toml")):
        try:
            found.append(Publication.model_validate(parse_toml(path.read_text(encoding="utf-8"))))
        except (OSError, ValueError) as error:
            raise ConfigError(f"published measurements are incomplete: {error}", where=path.name) from error
    keys = [point.key for one in found for point in one.points]
    if twice := sorted({key for key in keys if keys.count(key) > 1}):
        raise ConfigError(f"two published points of one name: {', '.join(twice)}", where=str(_FOLDER))
    return tuple(found)
