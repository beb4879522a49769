# SPDX-License-Identifier: Apache-2.0
"""Moves the events of a clip and counts them at once, as `augment.geometric` and `frames.cut` one after the other.

A training does it for every clip of every epoch. Events come as records of nine bytes, of which no vector can be
loaded. So a block of them is taken apart first; then a loop over plain numbers, in which a processor takes several
events at a time, finds where each goes; and a third one counts.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from spikefold.compiled import compiled

_BLOCK = 1024
OUTSIDE = 2**40
"""Added to a cell, it is one of no input."""


@compiled()
def moved_counts(
    counts: np.ndarray,
    events: np.ndarray,
    within: np.ndarray,
    matrix: np.ndarray,
    offset: np.ndarray,
    sides: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    dt_us: int,
    most: int,
) -> int:
    """Add each event, where it is moved to, to ``counts``; how many stay on the sensor.

    Args:
        counts: ``(T, C, H W)`` uint16, zeros; written to.
        events: structured array ``(N,)`` of `EVENT_DTYPE`, sorted by time, read-only; none later than the last bin.
        within: as for `event_loops.moved`.
        matrix: likewise.
        offset: likewise.
        sides: likewise.
        rows: what each row of the sensor adds to a pixel's index in ``H W``, ``(1 + height,)`` int64: at place 0
            `OUTSIDE`, then for row 0, 1, ...
        columns: likewise of each column.
        dt_us: length of a bin in microseconds.
        most: of a count; events beyond it are left out.

    Returns:
        How many stay; -1 where one comes to lie outside of the input, and the counts have no meaning.
    """
    steps, polarities, pixels = counts.shape
    x, y = np.empty(_BLOCK, np.int32), np.empty(_BLOCK, np.int32)
    right, down = np.empty(_BLOCK, np.int32), np.empty(_BLOCK, np.int32)
    start, kept = 0, 0
    for step in range(steps):
        end = len(events) if step == steps - 1 else _first_from(events, start, (step + 1) * dt_us)
        for first in range(start, end, _BLOCK):
            block, places = events[first : min(first + _BLOCK, end)], within[first : min(first + _BLOCK, end)]
            for index in range(len(block)):
                x[index], y[index] = block[index]["x"], block[index]["y"]
                right[index], down[index] = places[index] & np.uint32(0xFFFF), places[index] >> np.uint32(16)
            _move(x[: len(block)], y[: len(block)], right, down, matrix, offset, sides)
            for index in range(len(block)):
                pixel, polarity = rows[np.uint32(y[index])] + columns[np.uint32(x[index])], block[index]["p"]
                if pixel >= OUTSIDE:
                    continue
                if pixel >= pixels or polarity >= polarities:
                    return -1
                count = counts[np.uint64(step), polarity, np.uint64(pixel)]
                counts[np.uint64(step), polarity, np.uint64(pixel)] = count + np.uint16(count < most)
                kept += 1
        start = end
    return kept


@compiled()
def _move(
    x: np.ndarray,
    y: np.ndarray,
    right: np.ndarray,
    down: np.ndarray,
    matrix: np.ndarray,
    offset: np.ndarray,
    sides: np.ndarray,
) -> None:
    """Replace columns and rows by those after the move, counted from 1; 0 for those outside of the sensor."""
    a, b, c, d = matrix[0, 0], matrix[0, 1], matrix[1, 0], matrix[1, 1]
    first, second, width, height = offset[0], offset[1], sides[0], sides[1]
    for index in range(len(x)):
        from_left = x[index] + right[index] * (1.0 / 65536) - width / 2
        from_top = y[index] + down[index] * (1.0 / 65536) - height / 2
        column = a * from_left + b * from_top + first
        row = c * from_left + d * from_top + second
        x[index] = np.int32(column) + np.int32(1) if (column >= 0) & (column < width) else np.int32(0)
        y[index] = np.int32(row) + np.int32(1) if (row >= 0) & (row < height) else np.int32(0)


@compiled()
def _first_from(events: np.ndarray, low: Any, time_us: Any) -> int:
    """The index of the first event at a moment or later; none before ``low`` is."""
    high = len(events)
    while low < high:
        middle = (low + high) // 2
        if np.int64(events[middle]["t"]) < time_us:
            low = middle + 1
        else:
            high = middle
    return low
