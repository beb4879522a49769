# SPDX-License-Identifier: Apache-2.0
"""AEDAT 2: pairs of address and time as jAER writes them, for the DVS128 and for the DAVIS cameras.

Format: iniVation, "AEDAT 2.0"
(https://docs.inivation.com/software/software-advanced-usage/file-formats/aedat-2.0.html): lines that begin with
``#``, then for each event a 32-bit address and a 32-bit time in microseconds, big-endian. What an address means
depends on the camera; the masks are those of jAER's ``DVS128.java`` and ``DavisBaseCamera.java``:

- DVS128: y bits 14-8, x bits 7-1, polarity bit 0; bit 15 and above mark what is no pixel.
- DAVIS: bit 31 set for what is no DVS event (frames, inertial samples); y bits 30-22, x bits 21-12, polarity bit 11;
  bit 10 marks an external input.

Both count y from below and x from the right. The DVS128's polarity bit is clear for ON: so says jAER's code
(``e.type = (1 - addr) & 1``), while the page above says the opposite; files were written for jAER.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from spikefold.train.data.formats.headers import sensor_named, text_lines
from spikefold.train.data.formats.raw_events import RawEvents

MAGIC = b"#!AER-DAT2.0"
_HEADER_END = b"#end of ascii header"


class _Layout(NamedTuple):
    """Where an address keeps its fields."""

    no_pixel: int
    y_shift: int
    y_bits: int
    x_shift: int
    x_bits: int
    polarity_shift: int
    on: int
    sensor: tuple[int, int]


_DVS128 = _Layout(0xFFFF8000, 8, 7, 1, 7, 0, 0, (128, 128))
_DAVIS = _Layout(0x80000400, 22, 9, 12, 10, 11, 1, (260, 346))


def decode_aedat2(data: bytes) -> RawEvents:
    """The polarity events of a file.

    The camera is the one of the ``AEChip`` line. Without that line, addresses of more than 16 bits are a DAVIS346's
    and shorter ones a DVS128's.
    """
    lines, position = text_lines(data, b"#", _HEADER_END)
    whole = (len(data) - position) // 8
    lost = len(data) - position - 8 * whole
    pairs = np.frombuffer(data, ">u4", 2 * whole, position).reshape(-1, 2).astype(np.int64)
    address, t = pairs.T
    chip = next((line for line in lines if "aechip" in line.lower()), "")
    layout = _layout(chip, address)
    height, width = sensor_named(chip) or layout.sensor
    pixel = (address & layout.no_pixel) == 0
    address, t = address[pixel], t[pixel]
    x, y = (
        (address >> shift) & ((1 << bits) - 1)
        for shift, bits in ((layout.x_shift, layout.x_bits), (layout.y_shift, layout.y_bits))
    )
    on = ((address >> layout.polarity_shift) & 1) == layout.on
    return RawEvents(
        t,
        width - 1 - x,
        height - 1 - y,
        on.astype(np.uint8),
        (height, width),
        truncated=lost > 0,
        lost_bytes=lost,
    )


def _layout(chip: str, address: np.ndarray) -> _Layout:
    name = chip.lower()
    if "davis" in name:
        return _DAVIS
    if "dvs128" in name:
        return _DVS128
    return _DAVIS if np.any(address >> 16) else _DVS128
