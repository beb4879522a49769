# SPDX-License-Identifier: Apache-2.0
"""How the packets of AEDAT 4 are unpacked: as they are, by LZ4 or by Zstandard, and never more than is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType

from spikefold.errors import DataError, EnvironmentLacksError

Unpack = Callable[[bytes, int], bytes]
"""From the bytes of a packet to at most so many unpacked ones."""
_WINDOW = 1 << 27
"""Bytes back that Zstandard may look; the most that its own program takes without being told."""


def unpacking(compression: int) -> Unpack:
    """What unpacks the packets of a file with that number of compression in its header.

    Raises:
        DataError: an unknown number.
        EnvironmentLacksError: the package that unpacks is missing.
    """
    if compression == 0:
        return lambda packed, most: packed[:most]
    if compression in (1, 2):
        return _lz4(_package("lz4.frame"))
    if compression in (3, 4):
        return _zstd(_package("zstandard"))
    raise DataError(f"unknown compression {compression}", hint="AEDAT 4 knows none, LZ4 and Zstandard")


def _lz4(lz4: ModuleType) -> Unpack:
    def unpack(packed: bytes, most: int) -> bytes:
        try:
            return bytes(lz4.LZ4FrameDecompressor().decompress(packed, most))
        except (RuntimeError, EOFError, MemoryError) as error:
            raise DataError(f"a packet does not unpack: {error}", hint="the file is damaged") from error

    return unpack


def _zstd(zstandard: ModuleType) -> Unpack:
    def unpack(packed: bytes, most: int) -> bytes:
        parts: list[bytes] = []
        try:
            reader = zstandard.ZstdDecompressor(max_window_size=_WINDOW).stream_reader(packed)
            while most > 0 and (part := reader.read(min(most, 1 << 20))):
                parts.append(part)
                most -= len(part)
        except (zstandard.ZstdError, MemoryError) as error:
            raise DataError(f"a packet does not unpack: {error}", hint="the file is damaged") from error
        return b"".join(parts)

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
