# SPDX-License-Identifier: Apache-2.0
"""The little of FlatBuffers that AEDAT 4 needs, with every read checked against the end of the buffer.

Format: https://flatbuffers.dev/internals/. The library of that name generates readers from a schema, and those follow
a damaged file's offsets wherever they lead.
"""

from __future__ import annotations

import struct
from typing import Literal

from spikefold.errors import DataError

_SIZES = {"B": 1, "H": 2, "i": 4, "I": 4, "q": 8}
Kind = Literal["B", "H", "i", "I", "q"]


class Table:
    """The root table of one buffer.

    Args:
        buffer: the bytes, without size prefix.

    Raises:
        DataError: here and in every method, an offset that leads out of the buffer.
    """

    def __init__(self, buffer: bytes) -> None:
        self._buffer = buffer
        self._start = self._number("I", 0)
        self._fields = self._start - self._number("i", self._start)

    def scalar(self, field: int, kind: Kind, default: int) -> int:
        """Number of a field, by its index in the schema; ``default`` where it was left out."""
        place = self._place(field)
        return default if place is None else self._number(kind, place)

    def vector(self, field: int, size: int) -> tuple[int, int]:
        """Position in the buffer and number of a vector's entries of ``size`` bytes; none where it was left out."""
        place = self._place(field)
        if place is None:
            return 0, 0
        start = place + self._number("I", place)
        count = self._number("I", start)
        if start + 4 + count * size > len(self._buffer):
            raise DataError("a vector leads out of its packet", hint="the file is damaged")
        return start + 4, count

    def _place(self, field: int) -> int | None:
        entry = 4 + 2 * field
        if entry + 2 > self._number("H", self._fields):
            return None
        offset = self._number("H", self._fields + entry)
        return self._start + offset if offset else None

    def _number(self, kind: Kind, place: int) -> int:
        if not 0 <= place <= len(self._buffer) - _SIZES[kind]:
            raise DataError("an offset leads out of its packet", hint="the file is damaged")
        return int(struct.unpack_from("<" + kind, self._buffer, place)[0])
