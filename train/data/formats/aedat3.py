# SPDX-License-Identifier: Apache-2.0
"""AEDAT 3.1: typed packets of events; the format of DVS128 Gesture.

Format: iniVation, "AEDAT 3.1"
(https://docs.inivation.com/software/software-advanced-usage/file-formats/aedat-3.1.html) and the page of DVS128
Gesture (https://research.ibm.com/interactive/dvsgesture/). Lines that begin with ``#`` up to ``#!END-HEADER``, then
packets, little-endian: a header of 28 bytes (type and source int16; size of an event, offset of its time, overflows,
capacity, number, valid: int32) and ``number`` events. A polarity event (type 1) has 32 bits of data, x bits 31-17, y
bits 16-2 from above, polarity bit 1, validity bit 0, and 31 bits of time in microseconds; the packet's overflows
count the times that those have run over. x counts from the left.
"""

from __future__ import annotations

import struct

import numpy as np

from spikefold.errors import DataError
from spikefold.train.data.parsing.headers import sensor_named, text_lines
from spikefold.train.data.parsing.raw_events import RawEvents
from spikefold.train.data.parsing.reading import AS_IT_IS, Reading

MAGIC = b"#!AER-DAT3.1"
_HEADER_END = b"#!end-header"
_PACKET = struct.Struct("<hhiiiiii")
_POLARITY = 1
_EVENT_BYTES = 8


def decode_aedat3(data: bytes, reading: Reading = AS_IT_IS) -> RawEvents:
    """The valid polarity events of a file.

    Raises:
        DataError: a header without end, or bytes that are no packet.
    """
    lines, position = text_lines(data, b"#", _HEADER_END)
    if not lines or lines[-1].lower().encode() != _HEADER_END:
        raise DataError("the header has no end", hint="AEDAT 3.1 ends its header with a line #!END-HEADER")
    packing = next(
        (line.split()[1] for line in lines if line.startswith("#Format:") and len(line.split()) > 1), "RAW"
    )
    if packing != "RAW":
        raise DataError(f"packets in the form {packing[:40]}", hint="RAW is read; export the recording again with it")
    reading.check_events((len(data) - position) // _EVENT_BYTES, len(data))
    sensor = next((size for line in lines if line.startswith("#Source") and (size := sensor_named(line))), None)
    found: list[np.ndarray] = []
    sources: set[int] = set()
    truncated, lost = False, 0
    while position < len(data):
        if position + _PACKET.size > len(data):
            truncated, lost = True, len(data) - position
            break
        kind, source, size, _, overflows, _, number, _ = _PACKET.unpack_from(data, position)
        if size <= 0 or number < 0 or kind < 0 or overflows < 0 or (kind == _POLARITY and size != _EVENT_BYTES):
            what = f"no packet at byte {position}: type {kind}, {number} events of {size} bytes"
            raise DataError(what, hint="the file is damaged, or no AEDAT 3.1")
        position += _PACKET.size
        whole = min(number, (len(data) - position) // size)
        if kind == _POLARITY:
            words = np.frombuffer(data, "<u4", 2 * whole, position).reshape(-1, 2).astype(np.int64)
            words[:, 1] += overflows << 31
            found.append(words)
            sources.add(source)
        if whole < number:
            truncated, lost = True, len(data) - position - whole * size
            break
        position += number * size
    if len(sources) > 1:
        hint = "export each camera to a file of its own"
        raise DataError(f"the file mixes the events of {len(sources)} cameras", hint=hint)
    words = np.concatenate(found) if found else np.empty((0, 2), np.int64)
    address, t = words[(words[:, 0] & 1) == 1].T
    return RawEvents(
        t,
        (address >> 17) & 0x7FFF,
        (address >> 2) & 0x7FFF,
        ((address >> 1) & 1).astype(np.uint8),
        sensor,
        truncated=truncated,
        lost_bytes=lost,
    )
