# SPDX-License-Identifier: Apache-2.0
"""N-MNIST's and N-Caltech101's ``.bin``: five bytes an event.

Format: Orchard et al., "Converting static image datasets to spiking neuromorphic datasets using saccades", Frontiers
in Neuroscience 2015, and https://www.garrickorchard.com/datasets/n-mnist: bits 39-32 x, 31-24 y, 23 polarity, 22-0
time in microseconds. An event with y = 240 is none: the ATIS's clock ran over, and 2^13 us are to be added to all
that follow (the authors' ``Read_Ndataset.m``). Columns count from the left and rows from the top.
"""

from __future__ import annotations

import numpy as np

from spikefold.train.data.parsing.raw_events import RawEvents
from spikefold.train.data.parsing.reading import AS_IT_IS, Reading

_OVERFLOW_ROW = 240
_OVERFLOW_US = 2**13


def decode_bin(data: bytes, reading: Reading = AS_IT_IS) -> RawEvents:
    """The events of a file. The format has no header: the sensor is not known, and nothing can tell a wrong file."""
    whole, lost = divmod(len(data), 5)
    reading.check_events(whole, len(data))
    x, y, *tail = np.frombuffer(data, np.uint8, 5 * whole).reshape(-1, 5).T.astype(np.int64)
    high, middle, low = tail
    t = ((high & 0x7F) << 16) | (middle << 8) | low
    overflow = y == _OVERFLOW_ROW
    t += np.cumsum(overflow) * _OVERFLOW_US
    raw = RawEvents(t, x, y, high >> 7, truncated=lost > 0, lost_bytes=lost, from_start=True)
    return raw.where(~overflow)
