# SPDX-License-Identifier: Apache-2.0
"""EVT 3.0: Prophesee's 16-bit words, each of which changes the state that the next ones are read in.

Format: https://docs.prophesee.ai/stable/data/encoding_formats/evt3.html. Bits 15-12 are the type: EVT_ADDR_Y 0 (y
bits 10-0), EVT_ADDR_X 2 (an event: polarity bit 11, x bits 10-0), VECT_BASE_X 3 (the same fields, no event), VECT_12
4 and VECT_8 5 (an event at base + i for every bit i set; the base then moves on by 12 or 8), EVT_TIME_LOW 6 and
EVT_TIME_HIGH 8 (12 bits each of a time in microseconds, which runs over every 16.8 s). Other types are no pixels.
x counts from the left, y
from the top. Until the first EVT_TIME_HIGH and EVT_ADDR_Y an event has no time or row, and is left out.
"""

from __future__ import annotations

import numpy as np

from spikefold.train.data.parsing.clocks import unrolled
from spikefold.train.data.parsing.raw_events import RawEvents
from spikefold.train.data.parsing.reading import AS_IT_IS, Reading

_ADDR_Y, _ADDR_X, _VECT_BASE_X, _VECT_12, _VECT_8, _TIME_LOW, _TIME_HIGH = 0, 2, 3, 4, 5, 6, 8
_TIME_BITS = 12


def decode_words(
    data: bytes, position: int, sensor: tuple[int, int] | None, reading: Reading = AS_IT_IS
) -> RawEvents:
    """The events of the words from ``position`` on."""
    whole, lost = divmod(len(data) - position, 2)
    words = np.frombuffer(data, "<u2", whole, position)
    kind, value = words >> 12, words & 0xFFF
    width = np.select([kind == _VECT_12, kind == _VECT_8, kind == _ADDR_X], [12, 8, 1])
    row, base = latest(kind == _ADDR_Y), latest(kind == _VECT_BASE_X)
    high = latest(kind == _TIME_HIGH)
    carriers = np.flatnonzero((width > 0) & (row >= 0) & (high >= 0))
    single = kind[carriers] == _ADDR_X
    # a single event is a vector of one bit, at its own x
    pixels = np.where(single, 1, value[carriers] & ((1 << width[carriers]) - 1)).astype(np.uint16)
    reading.check_events(int(np.bitwise_count(pixels).sum(dtype=np.int64)), len(data))
    start = np.where(single, carriers, base[carriers])
    # how far the vectors since their base have moved it; nothing has been said of x where there was no base
    moved = np.concatenate([[0], np.cumsum(np.where(kind == _ADDR_X, 0, width))])
    x = np.where(start >= 0, value[start] & 0x7FF, 0)
    x = x + np.where(single, 0, moved[carriers] - np.where(start >= 0, moved[start], 0))
    carrier, bit = np.nonzero((pixels[:, None] >> np.arange(12, dtype=np.uint16)) & 1)
    return RawEvents(
        _times(kind, value, high)[carriers][carrier],
        x[carrier] + bit,
        (value[row[carriers]] & 0x7FF)[carrier].astype(np.int64),
        np.where(start >= 0, value[start] >> 11, 0)[carrier],
        sensor,
        truncated=lost > 0,
        lost_bytes=lost,
    )


def latest(mask: np.ndarray) -> np.ndarray:
    """For each entry the index of the latest one up to it that the mask holds, -1 before the first."""
    return np.maximum.accumulate(np.where(mask, np.arange(len(mask)), -1))


def _times(kind: np.ndarray, value: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Time in microseconds at each word; ``high`` is the index of its EVT_TIME_HIGH."""
    places = np.flatnonzero(kind == _TIME_HIGH)
    upper = value[places].astype(np.int64)
    whole = np.zeros(len(kind), np.int64)
    whole[places] = unrolled(upper, _TIME_BITS, 1 << _TIME_BITS, is_ordered=True) << _TIME_BITS
    # a new upper half ends the old lower one: until the next EVT_TIME_LOW it is 0
    changed = np.zeros(len(kind), bool)
    changed[places] = np.concatenate([[True], upper[1:] != upper[:-1]])[: len(places)]
    low = latest(kind == _TIME_LOW)
    lower = np.where(low > latest(changed), value[low], 0)
    return np.asarray(whole[high] | lower)
