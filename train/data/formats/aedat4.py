# SPDX-License-Identifier: Apache-2.0
"""AEDAT 4: packets of FlatBuffers, compressed or not, as DV and dv-processing write them.

Format: iniVation, "AEDAT 4.0"
(https://docs.inivation.com/software/software-advanced-usage/file-formats/aedat-4.0.html): the version line, the
``IOHE`` buffer (compression, position of the table of packets at the end, an XML text about the streams), then
packets of stream number and size (int32) and that many bytes; ``EVTS`` packets hold structures of 16 bytes: time in
microseconds int64, x and y int16, from above, polarity byte, three bytes of padding.

Why not a library: ``aedat`` 2.3.0 (MIT) ends the whole process on a damaged file ("panic in a destructor", measured),
and dv-processing is 24 MB of C++. LZ4 and Zstandard come from the packages of those names.
"""

from __future__ import annotations

import importlib
import re
import struct
from collections.abc import Callable
from types import ModuleType

import numpy as np

from spikefold.errors import DataError, EnvironmentLacksError
from spikefold.train.data.formats.flat import Table
from spikefold.train.data.formats.raw_events import RawEvents

MAGIC = b"#!AER-DAT4.0\r\n"
_EVENT = np.dtype([("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("on", "u1"), ("padding", "V3")])
_SIZE = re.compile(r'EVTS<.*?key="sizeX"[^>]*>(\d+)<.*?key="sizeY"[^>]*>(\d+)<', re.DOTALL)
_LARGEST = 2**30
"""Bytes that one packet may unpack to; DV writes packets of some 100 kB."""


def decode_aedat4(data: bytes) -> RawEvents:
    """The events of a file's one event stream.

    A file whose table of packets was never written (a recorder that died) counts as cut short.

    Raises:
        DataError: damaged buffers, or the events of several cameras in one file.
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
    unpack = _decompressor(about.scalar(0, "i", 0))
    table = about.scalar(1, "q", -1)
    place, length = about.vector(2, 1)
    size_found = _SIZE.search(header[place : place + length].decode("utf-8", "replace"))
    sensor = (int(size_found[2]), int(size_found[1])) if size_found else None
    closed = start + 4 + size <= table <= len(data)
    packets, position, streams = _packets(data, start + 4 + size, table if closed else len(data), unpack)
    if len(streams) > 1:
        hint = "export each camera to a file of its own"
        raise DataError(f"the file mixes {len(streams)} event streams", hint=hint)
    events = np.concatenate(packets) if packets else np.empty(0, _EVENT)
    lost = (table if closed else len(data)) - position
    return RawEvents(
        events["t"],
        events["x"],
        events["y"],
        events["on"],
        sensor,
        truncated=not closed or lost > 0,
        lost_bytes=lost,
    )


def _packets(
    data: bytes, position: int, end: int, unpack: Callable[[bytes], bytes]
) -> tuple[list[np.ndarray], int, set[int]]:
    """The events of every whole packet, where the last of them ends, and the streams that they belong to."""
    found: list[np.ndarray] = []
    streams: set[int] = set()
    while position + 8 <= end:
        stream, size = struct.unpack_from("<ii", data, position)
        if size < 0:
            raise DataError(f"no packet at byte {position}: {size} bytes", hint="the file is damaged")
        if position + 8 + size > end:
            break
        body = unpack(data[position + 8 : position + 8 + size])
        if len(body) < 12 or struct.unpack_from("<I", body)[0] + 4 > len(body):
            raise DataError(f"the packet at byte {position} is shorter than it says", hint="the file is damaged")
        if body[8:12] == b"EVTS":
            buffer = body[4:]
            place, count = Table(buffer).vector(0, _EVENT.itemsize)
            found.append(np.frombuffer(buffer, _EVENT, count, place))
            streams.add(stream)
        position += 8 + size
    return found, position, streams


def _decompressor(compression: int) -> Callable[[bytes], bytes]:
    if compression == 0:
        return bytes
    if compression in (1, 2):
        return _lz4(_package("lz4.frame"))
    if compression in (3, 4):
        return _zstd(_package("zstandard"))
    raise DataError(f"unknown compression {compression}", hint="AEDAT 4 knows none, LZ4 and Zstandard")


def _lz4(lz4: ModuleType) -> Callable[[bytes], bytes]:
    def unpack(packed: bytes) -> bytes:
        try:
            return bytes(lz4.LZ4FrameDecompressor().decompress(packed, _LARGEST))
        except (RuntimeError, EOFError, MemoryError) as error:
            raise DataError(f"a packet does not unpack: {error}", hint="the file is damaged") from error

    return unpack


def _zstd(zstandard: ModuleType) -> Callable[[bytes], bytes]:
    def unpack(packed: bytes) -> bytes:
        try:
            limited = zstandard.ZstdDecompressor(max_window_size=_LARGEST)
            return bytes(limited.decompressobj().decompress(packed))
        except (zstandard.ZstdError, MemoryError) as error:
            raise DataError(f"a packet does not unpack: {error}", hint="the file is damaged") from error

    return unpack


def _package(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.split(".")[0]
        raise EnvironmentLacksError(
            f"the file is compressed, and the package {package} that unpacks it is not installed",
            hint=f"pip install {package}; or convert the file with DV to AEDAT 4 without compression",
        ) from error
