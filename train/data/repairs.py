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
    """What was repaired in one recording, or, added up, in a data set. All zero where nothing was wrong.

    Attributes:
        truncated: files that end inside an event or packet, or that their writer never closed.
        lost_bytes: bytes at their ends that made no whole event and were left out.
        backwards: events that were late by at most a millisecond, and were put in order of time.
        outside: events whose address lies outside the sensor; left out.
        empty: labelled parts of a file in which no event was left; left out.
        cuts: places where a clock was set back; the recording was cut in two there.
    """

    truncated: int = 0
    lost_bytes: int = 0
    backwards: int = 0
    outside: int = 0
    empty: int = 0
    cuts: int = 0

    def __add__(self, other: Repairs) -> Repairs:
        return Repairs(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def __bool__(self) -> bool:
        return any(getattr(self, f.name) for f in fields(self))

    def __str__(self) -> str:
        words = {
            "truncated": "files cut short, of which the rest was kept",
            "lost_bytes": "bytes at their ends left out",
            "backwards": "late events put in order of time",
            "outside": "events outside the sensor left out",
            "empty": "clips without an event left out",
            "cuts": "cuts where a clock was set back",
        }
        counts = [f"{getattr(self, key)} {text}" for key, text in words.items() if getattr(self, key)]
        return ", ".join(counts) or "nothing"


NONE = Repairs()
"""Nothing was wrong."""
