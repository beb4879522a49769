# SPDX-License-Identifier: Apache-2.0
"""AEDAT 2: pairs of address and time as jAER and v2e write them.

Format: iniVation, "AEDAT 2.0"
(https://docs.inivation.com/software/software-advanced-usage/file-formats/aedat-2.0.html): lines that begin with
``#``, then for each event a 32-bit address and a 32-bit time in microseconds, big-endian. What an address means
depends on the chip, see `spikefold.train.data.formats.jaer_chips`; all of them count rows from below, and most of
them columns from the right. The time runs over after 71.6 minutes.
"""

from __future__ import annotations

import numpy as np

from spikefold.train.data.formats.jaer_chips import chip_of
from spikefold.train.data.parsing.clocks import unrolled
from spikefold.train.data.parsing.headers import text_lines
from spikefold.train.data.parsing.raw_events import RawEvents
from spikefold.train.data.parsing.reading import AS_IT_IS, Reading

MAGIC = b"#!AER-DAT2.0"
_HEADER_END = b"#end of ascii header"


def decode_aedat2(data: bytes, reading: Reading = AS_IT_IS) -> RawEvents:
    """The polarity events of a file.

    Raises:
        DataError: the chip is told neither by the header nor by the addresses nor by a configured sensor.
    """
    lines, position = text_lines(data, b"#", _HEADER_END)
    whole, lost = divmod(len(data) - position, 8)
    reading.check_events(whole, len(data))
    address, t = np.frombuffer(data, ">u4", 2 * whole, position).reshape(-1, 2).astype(np.int64).T
    layout, sensor = chip_of(lines, address, reading.sensor)
    t = unrolled(t, 32)
    pixel = layout.pixels(address)
    x, y, p = layout.fields(address[pixel])
    return RawEvents(
        t[pixel],
        x,
        y,
        p,
        sensor,
        truncated=lost > 0,
        lost_bytes=lost,
        from_right=layout.from_right,
        from_below=True,
    )
