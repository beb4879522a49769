# SPDX-License-Identifier: Apache-2.0
"""AEDAT 4: packets of FlatBuffers, compressed or not, as DV and dv-processing write them.

Format: iniVation, "AEDAT 4.0"
(https://docs.inivation.com/software/software-advanced-usage/file-formats/aedat-4.0.html): the version line, the
``IOHE`` buffer (compression, position of the table of packets at the end, an XML text about the streams), then
packets of stream number and size (int32) and that many bytes; ``EVTS`` packets hold structures of 16 bytes: time in
microseconds int64, x and y int16, from the left and from above, polarity byte, three bytes of padding.

Why not a library: ``aedat`` 2.3.0 (MIT) ends the whole process on a damaged file ("panic in a destructor", measured),
and dv-processing is 24 MB of C++. LZ4 and Zstandard come from the packages of those names.
"""

from __future__ import annotations

import re
import struct

import numpy as np

from spikefold.errors import DataError
from spikefold.train.data.formats.aedat4_packing import Unpack, unpacking
from spikefold.train.data.parsing.flat import Table
from spikefold.train.data.parsing.headers import positive_size, sensor_named
from spikefold.train.data.parsing.raw_events import RawEvents
from spikefold.train.data.parsing.reading import AS_IT_IS, Reading

MAGIC = b"#!AER-DAT4.0\r\n"
_EVENT = np.dtype([("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("on", "u1"), ("padding", "V3")])
_BEGINS = 12
"""Bytes at the start of a packet that say what it holds: its size, where its table is, and its kind."""
_AROUND = 1024
"""Bytes of a packet of events around its events, at most."""


def decode_aedat4(data: bytes, reading: Reading = AS_IT_IS) -> RawEvents:
    """The events of a file's one event stream.

    A file whose table of packets was never written (a recorder that died) counts as cut short.

    Raises:
        DataError: damaged buffers, more events than may be claimed, or the events of several cameras in one file.
        EnvironmentLacksError: the package that unpacks the file's compression is missing.
    """
    start = len(MAGIC)
    if len(data) < start + 4:
        raise DataError("the header is cut short", hint="copy the file again")
    (size,) = struct.unpack_from("<I", data, start)
    header = data[start + 4 : start + 4 + size]
    if len(header) < size or header[4:8] != b"IOHE":
        raise DataError("the header is damaged or cut short", hint="copy the file again")
    about = Table(header)
    unpack = unpacking(about.scalar(0, "i", 0))
    table = about.scalar(1, "q", -1)
    place, length = about.vector(2, 1)
    sensor = _sensor(header[place : place + length].decode("utf-8", "replace"))
    closed = start + 4 + size <= table <= len(data)
    end = table if closed else len(data)
    packets, position, streams = _packets(data, start + 4 + size, end, unpack, reading)
    if len(streams) > 1:
        hint = "export each camera to a file of its own"
        raise DataError(f"the file mixes {len(streams)} event streams", hint=hint)
    events = np.concatenate(packets) if packets else np.empty(0, _EVENT)
    lost = end - position
    return RawEvents(
        events["t"],
        events["x"],
        events["y"],
        events["on"],
        sensor,
        truncated=not closed or lost > 0,
        lost_bytes=lost,
    )


def _sensor(xml: str) -> tuple[int, int] | None:
    """The sensor of the event stream: its size, else that of the camera that it names; None where it says neither."""
    for stream in re.split(r'(?=<node name="\d+")', xml):
        if ">EVTS<" not in stream:
            continue
        sides = [re.search(rf'key="size{axis}"[^>]*>(\d+)<', stream) for axis in "YX"]
        if sides[0] and sides[1]:
            return positive_size(sides[0][1], sides[1][1])
        source = re.search(r'key="source"[^>]*>([^<]*)<', stream)
        return sensor_named(source[1]) if source else None
    return None


def _packets(
    data: bytes, position: int, end: int, unpack: Unpack, reading: Reading
) -> tuple[list[np.ndarray], int, set[int]]:
    """The events of every whole packet, where the last of them ends, and the streams that they belong to."""
    found: list[np.ndarray] = []
    streams: set[int] = set()
    left = reading.most_events(len(data))
    while position + 8 <= end:
        stream, size = struct.unpack_from("<ii", data, position)
        if size < 0:
            raise DataError(f"no packet at byte {position}: {size} bytes", hint="the file is damaged")
        if position + 8 + size > end:
            break
        packed = data[position + 8 : position + 8 + size]
        begins = unpack(packed, _BEGINS)
        # the kind of a FlatBuffer is four letters or digits
        if len(begins) < _BEGINS or not (begins[8:12].isascii() and begins[8:12].isalnum()):
            what = f"the packet at byte {position} is none, or is shorter than it says"
            raise DataError(what, hint="the file is damaged")
        if begins[8:12] == b"EVTS":
            body = unpack(packed, left * _EVENT.itemsize + _AROUND)
            if struct.unpack_from("<I", body)[0] + 4 > len(body):
                raise DataError(
                    f"the packet at byte {position} is shorter than it says, or claims more events than are allowed",
                    hint="the file is damaged; or set data.max_events",
                )
            buffer = body[4:]
            place, count = Table(buffer).vector(0, _EVENT.itemsize)
            left -= count
            reading.check_events(reading.most_events(len(data)) - left, len(data))
            found.append(np.frombuffer(buffer, _EVENT, count, place))
            streams.add(stream)
        position += 8 + size
    return found, position, streams
