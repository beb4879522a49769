# SPDX-License-Identifier: Apache-2.0
"""Prophesee's files: the text header of ``.raw`` and ``.dat``, EVT 2.0 words, and the events of ``.dat``.

Formats: https://docs.prophesee.ai/stable/data/file_formats/raw.html and dat.html,
https://docs.prophesee.ai/stable/data/encoding_formats/evt2.html. Little-endian; x from the left, y from above.

- EVT 2.0: words of 32 bits, bits 31-28 the type. CD_OFF 0 and CD_ON 1: time bits 27-22 (the lower six), x bits 21-11,
  y bits 10-0. EVT_TIME_HIGH 8: the upper 28 bits of the time of what follows, which runs over after 4.8 hours. Other
  types are no pixels.
- DAT: after the header a byte for the type (0 or 12: change detection) and one for the size of an event (8), then
  time in microseconds, which runs over after 71.6 minutes, and a word with x bits 13-0, y bits 27-14, polarity bits
  31-28.
"""

from __future__ import annotations

import re

import numpy as np

from spikefold.errors import DataError
from spikefold.train.data.formats.evt3 import decode_words
from spikefold.train.data.parsing.clocks import unrolled
from spikefold.train.data.parsing.headers import positive_size, text_lines
from spikefold.train.data.parsing.raw_events import RawEvents
from spikefold.train.data.parsing.reading import AS_IT_IS, Reading

MAGIC = b"% "
_CD_TYPES = (0, 12)
_EVT2_TIME_HIGH = 8


def decode_raw(data: bytes, reading: Reading = AS_IT_IS) -> RawEvents:
    """The events of a ``.raw`` file in EVT 2.0 or EVT 3.0.

    Raises:
        DataError: another encoding, or a header that names none.
    """
    lines, position = text_lines(data, MAGIC, b"% end")
    header = "\n".join(lines)
    encoding = re.search(r"^% evt (\S+)$", header, re.MULTILINE) or re.search(r"^% format EVT([^;\s]+)", header, re.M)
    known = {"2.0": _evt2, "2": _evt2, "3.0": decode_words, "3": decode_words}
    if encoding is None or encoding[1] not in known:
        name = f"EVT {encoding[1][:40]}" if encoding else "a header without `% evt`"
        hint = "EVT 2.0 and EVT 3.0 are read; convert with metavision_file_to_dat"
        raise DataError(f"{name} is no encoding that is read", hint=hint)
    if re.search(r"^% endianness big", header, re.MULTILINE):
        raise DataError("the words are big-endian", hint="convert with metavision_file_to_dat")
    geometry = re.search(r"^% geometry (\d+)x(\d+)", header, re.MULTILINE)
    height, width = (_value(header, r"[;\s]height=(\d+)"), _value(header, r"[;\s]width=(\d+)"))
    sensor = positive_size(geometry[2], geometry[1]) if geometry else positive_size(height, width)
    return known[encoding[1]](data, position, sensor, reading)


def decode_dat(data: bytes, reading: Reading = AS_IT_IS) -> RawEvents:
    """The events of a ``.dat`` file.

    Raises:
        DataError: events of another type, size or version.
    """
    lines, position = text_lines(data, b"%")
    header = "\n".join(lines)
    version = _value(header, r"^% [Vv]ersion (\d+)")
    if version not in (None, "2"):
        raise DataError(f"version {version} of DAT", hint="version 2 is read; convert with metavision_file_to_dat")
    if len(data) < position + 2:
        raise DataError("the header is cut short", hint="copy the file again")
    kind, size = data[position], data[position + 1]
    if kind not in _CD_TYPES or size != 8:
        what = f"events of type {kind} and {size} bytes"
        raise DataError(what, hint="change detection events have type 0 or 12 and 8 bytes")
    position += 2
    whole, lost = divmod(len(data) - position, 8)
    reading.check_events(whole, len(data))
    t, word = np.frombuffer(data, "<u4", 2 * whole, position).reshape(-1, 2).T
    sensor = positive_size(_value(header, r"^% [Hh]eight (\d+)"), _value(header, r"^% [Ww]idth (\d+)"))
    x, y, p = word & 0x3FFF, (word >> 14) & 0x3FFF, word >> 28
    return RawEvents(unrolled(t, 32), x, y, p, sensor, truncated=lost > 0, lost_bytes=lost)


def _evt2(data: bytes, position: int, sensor: tuple[int, int] | None, reading: Reading) -> RawEvents:
    whole, lost = divmod(len(data) - position, 4)
    reading.check_events(whole, len(data))
    words = np.frombuffer(data, "<u4", whole, position)
    kind = words >> 28
    is_high = kind == _EVT2_TIME_HIGH
    clock = unrolled(words[is_high] & 0xFFFFFFF, 28, 1 << 6, is_ordered=True)
    # which of the EVT_TIME_HIGH counts; before the first an event has no time
    counting = np.cumsum(is_high) - 1
    events = np.flatnonzero((kind <= 1) & (counting >= 0))
    words, high = words[events].astype(np.int64), clock[counting[events]]
    return RawEvents(
        (high << 6) | ((words >> 22) & 0x3F),
        (words >> 11) & 0x7FF,
        words & 0x7FF,
        kind[events],
        sensor,
        truncated=lost > 0,
        lost_bytes=lost,
    )


def _value(header: str, pattern: str) -> str | None:
    found = re.search(pattern, header, re.MULTILINE)
    return found[1] if found else None
