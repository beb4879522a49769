# SPDX-License-Identifier: Apache-2.0
"""What is done about faulty recordings, and the count of what was done."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum


class OnFault(StrEnum):
    """What a reader does about a file cut short, time that runs backwards and addresses outside the sensor."""

    REFUSE = "refuse"
    REPAIR = "repair"


@dataclass(frozen=True)
class Repairs:
    """What was mended in one recording, or, added up, in a data set. All zero where nothing was wrong.

    Attributes:
        truncated: files that end inside an event or packet, or that their writer never closed.
        lost_bytes: bytes at their ends that made no whole event and were left out.
        backwards: events earlier than one before them in the file; all events were put in order of time.
        outside: events whose address lies outside the sensor; left out.
        empty: labelled parts of a file in which no event was left; left out.
    """

    truncated: int = 0
    lost_bytes: int = 0
    backwards: int = 0
    outside: int = 0
    empty: int = 0

    def __add__(self, other: Repairs) -> Repairs:
        return Repairs(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def __bool__(self) -> bool:
        return any(getattr(self, f.name) for f in fields(self))

    def __str__(self) -> str:
        words = {
            "truncated": "files cut short",
            "lost_bytes": "bytes lost",
            "backwards": "events out of order",
            "outside": "events outside the sensor",
            "empty": "empty clips",
        }
        counts = [f"{getattr(self, key)} {text}" for key, text in words.items() if getattr(self, key)]
        return ", ".join(counts) or "nothing"


NONE = Repairs()
"""Nothing was wrong."""
