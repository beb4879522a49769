# SPDX-License-Identifier: Apache-2.0
"""What the forms of ``energy.json`` are made of: whole numbers exact at any size, closed and open records."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

LARGEST_EXACT = 2**53
"""Every whole number up to here is one of its own in float64, which is what most readers of JSON have."""


def _whole(value: object) -> object:
    """Digits of a whole number too large for JSON; anything else is for pydantic to check."""
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value


Whole = Annotated[
    int,
    BeforeValidator(_whole),
    Field(ge=0, strict=True),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0, "maximum": LARGEST_EXACT},
                {"type": "string", "pattern": "^[1-9][0-9]{15,}$"},
            ],
        }
    ),
]
Real = Annotated[float, Field(strict=True)]
Interval = Annotated[list[Real], Field(min_length=2, max_length=2)]


class Closed(BaseModel):
    """A record whose keys are all described."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Open(BaseModel):
    """A record that may hold more."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)
