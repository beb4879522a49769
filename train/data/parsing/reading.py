# SPDX-License-Identifier: Apache-2.0
"""`Reading`: how files are read, and how much a file may claim before any memory is taken for it.

A few kilobytes can claim billions of events, because HDF5 does not store what was never written, and because
compressed zeros take no room. Every reader therefore compares the claim with the size of the file first.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from spikefold.errors import DataError
from spikefold.train.data.repairs import OnFault

EVENTS_PER_BYTE = 4
"""Most events that a byte of a file may hold. The densest real encoding is EVT 3.0, where a flickering light over a
whole row gives five; a usual recording has less than one."""
SMALL_EVENTS = 2**20
"""A claim of up to so many events is believed whatever the size of the file."""
LARGE_EVENTS = 2**26
"""A claim of more events is refused whatever the size of the file; ``data.max_events`` replaces all three bounds."""
MOST_PIXELS = 2**22
"""Pixels of the largest sensor that is believed; the largest event cameras have 1280x960."""
MOST_LABEL = 2**16
"""Class indices are smaller than this."""
MOST_KEYS = 4096
"""Most arrays of one archive, and most nodes of one group."""
MOST_RECORDINGS = 2**17
"""Most recordings of one archive; N-MNIST has 60,000 for training."""
_EVENT_BYTES = 16
"""The longest event of all formats, that of AEDAT 4."""
_ARRAY_BYTES = 64
"""Bytes of arrays for each event: four columns of eight bytes, and as much again for labels, names and offsets."""


class TimeUnit(StrEnum):
    """The unit of times in files whose format does not say it: text, ``.npz``, ``.npy`` and HDF5."""

    MICROSECONDS = "us"
    MILLISECONDS = "ms"
    SECONDS = "s"
    NANOSECONDS = "ns"


@dataclass(frozen=True)
class Reading:
    """How files are read.

    Attributes:
        on_fault: whether the faults of a recording are refused or repaired.
        sensor: ``(H, W)`` that wins over what files say; without it, theirs, else the tightest square is taken.
        time_unit: of files whose format leaves it open.
        max_events: the most events that a recording may claim; without it, the bounds of this module hold.
        max_pixels: the most pixels that a sensor may claim.
    """

    on_fault: OnFault = OnFault.REFUSE
    sensor: tuple[int, int] | None = None
    time_unit: TimeUnit = TimeUnit.MICROSECONDS
    max_events: int | None = None
    max_pixels: int = MOST_PIXELS

    def most_events(self, size: int) -> int:
        """The most events that a file of ``size`` bytes may claim."""
        if self.max_events is not None:
            return self.max_events
        return min(max(SMALL_EVENTS, EVENTS_PER_BYTE * size), LARGE_EVENTS)

    def most_bytes(self, size: int) -> int:
        """The most bytes that the arrays of a file of ``size`` bytes may unpack to."""
        return _ARRAY_BYTES * self.most_events(size)

    def check_events(self, count: int, size: int) -> None:
        """Check a file's claim before memory is taken for it.

        Args:
            count: events that the file claims to hold.
            size: of the file in bytes.

        Raises:
            DataError: it claims more than a file of its size may.
        """
        if count > self.most_events(size):
            what = f"{size:,} bytes claim {count:,} events, more than the {self.most_events(size):,} allowed"
            raise DataError(what, hint=f"if it is right, set data.max_events = {count}")

    def check_bytes(self, claimed: int, size: int) -> None:
        """Check how many bytes the arrays of a file claim, before memory is taken for them.

        Raises:
            DataError: more than a file of its size may.
        """
        if claimed > self.most_bytes(size):
            raise DataError(
                f"the file of {size:,} bytes claims {claimed:,} bytes of arrays, more than the "
                f"{self.most_bytes(size):,} allowed",
                hint=f"if it is right, set data.max_events = {-(-claimed // _ARRAY_BYTES)}",
            )

    def check_sensor(self, sensor: tuple[int, int]) -> None:
        """Check the size of a sensor before anything is made in its size.

        Raises:
            DataError: a side that is not positive, or more pixels than are allowed.
        """
        height, width = sensor
        if height < 1 or width < 1:
            raise DataError(f"a sensor of {width}x{height} pixels", hint="both sides are at least 1; see data.sensor")
        if height * width > self.max_pixels:
            raise DataError(
                f"a sensor of {width}x{height} pixels, more than the {self.max_pixels:,} pixels allowed",
                hint=f"if it is right, set data.max_pixels = {height * width}; else say the size by data.sensor",
            )


AS_IT_IS = Reading()
"""Faults are refused, files say their sensor, and times are microseconds."""


def size_of(path: Path) -> int:
    """The size of a regular file in bytes.

    Raises:
        DataError: it is missing, or a folder, a pipe or a device, which might never end.
    """
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"cannot open the file: {reason}", where=str(path)) from error
    if not stat.S_ISREG(status.st_mode):
        raise DataError("it is no regular file", where=str(path), hint="a folder, pipe or device is not read")
    return status.st_size


def whole_file(path: Path, reading: Reading) -> bytes:
    """All bytes of a file of events.

    Raises:
        DataError: it is no regular file, or larger than all events that a recording may have.
    """
    size = size_of(path)
    most = _EVENT_BYTES * (LARGE_EVENTS if reading.max_events is None else max(SMALL_EVENTS, reading.max_events))
    if size > most:
        what = f"the file has {size:,} bytes, more than the {most:,} allowed"
        raise DataError(what, where=str(path), hint=f"if it is right, set data.max_events = {size // 4}")
    return path.read_bytes()
