# SPDX-License-Identifier: Apache-2.0
"""Event Stream 2 (``.es``): bytes that count the time since the event before.

Format: https://github.com/neuromorphic-paris/event_stream, README, version 2.0. "Event Stream", three bytes of
version, the type of stream (1: DVS, 2: ATIS), width and height uint16, little-endian; then events of five bytes: time
since the last event and flags, x uint16, y uint16. Between events, a byte of ones (the ATIS: its upper six) lets time
pass, and the same with the lowest bits clear is a reset without meaning. Times are differences, which never run over.
Rows count from below: the format's text does not say so, but its authors turn them over where they convert from
cameras and to images (their ``dvs_flip_y.py``, and Prophesee's ``.raw`` to ``.es``). Own code, because the package
``event_stream`` names two licences (MIT and GPL).
"""

from __future__ import annotations

import struct
from dataclasses import replace

import numpy as np

from spikefold.compiled import compiled
from spikefold.errors import DataError
from spikefold.train.data.parsing.headers import positive_size
from spikefold.train.data.parsing.raw_events import RawEvents
from spikefold.train.data.parsing.reading import AS_IT_IS, Reading

MAGIC = b"Event Stream"
_START = 20
_EVENT_BYTES = 5
_FLAG_BITS = {1: 1, 2: 2}
"""Lowest bits of an event's first byte that are flags, not time, by the type of stream."""


def decode_event_stream(data: bytes, reading: Reading = AS_IT_IS) -> RawEvents:
    """The DVS events of a stream; an ATIS's exposure measurements are left out.

    Raises:
        DataError: another version, or a stream of something else.
    """
    if len(data) < _START:
        raise DataError("the header is cut short", hint="copy the file again")
    if data[12] != 2 or data[15] not in _FLAG_BITS:
        what = f"version {data[12]} of Event Stream, type {data[15]}"
        raise DataError(what, hint="version 2 with DVS (1) or ATIS (2) events is read")
    width, height = struct.unpack_from("<HH", data, 16)
    sensor = positive_size(str(height), str(width))
    body = np.frombuffer(data, np.uint8, offset=_START)
    most = len(body) // _EVENT_BYTES
    reading.check_events(most, len(data))
    t, x, y, flags = np.empty((4, most), np.int64)
    count, used = _run(body, _FLAG_BITS[data[15]], t, x, y, flags)
    t, x, y, flags = t[:count], x[:count], y[:count], flags[:count]
    lost = len(body) - used
    raw = RawEvents(t, x, y, flags & 1, sensor, truncated=lost > 0, lost_bytes=lost, from_below=True)
    if data[15] == 1:
        return raw
    # an ATIS event has its polarity above the flag of an exposure measurement
    change = np.flatnonzero((flags & 1) == 0)
    return replace(raw.where(change), p=flags[change] >> 1)


@compiled()
def _run(
    body: np.ndarray, flag_bits: int, t: np.ndarray, x: np.ndarray, y: np.ndarray, flags: np.ndarray
) -> tuple[int, int]:
    """Fill the columns; return the number of events, and of bytes up to the end of the last whole one."""
    count, now, place = 0, 0, 0
    longest = 0xFF >> flag_bits
    lowest = (1 << flag_bits) - 1
    while place < len(body):
        first = int(body[place])
        if first >> flag_bits == longest:
            now += longest * (first & lowest)  # none for a reset, whose lowest bits are clear
            place += 1
            continue
        if place + _EVENT_BYTES > len(body):
            break
        now += first >> flag_bits
        t[count], flags[count] = now, first & lowest
        x[count] = int(body[place + 1]) | int(body[place + 2]) << 8
        y[count] = int(body[place + 3]) | int(body[place + 4]) << 8
        count += 1
        place += _EVENT_BYTES
    return count, place
