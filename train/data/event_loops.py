# SPDX-License-Identifier: Apache-2.0
"""The two loops over events that a training does for every clip of every epoch, compiled.

Both do exactly what one reads in `augment.geometric` and `frames.cut`; in NumPy they took as long as the network.
They take events as read-only arrays, so that each is compiled once.
"""

from __future__ import annotations

import numpy as np

from spikefold.compiled import compiled


@compiled()
def moved(
    events: np.ndarray, within: np.ndarray, matrix: np.ndarray, offset: np.ndarray, sides: np.ndarray, out: np.ndarray
) -> int:
    """Put each event elsewhere on the sensor; how many stay on it.

    Args:
        events: structured array ``(N,)`` of `EVENT_DTYPE`, read-only.
        within: where in its pixel each event lies, ``(N,)`` uint32: the column in the lower 16 bits, 2**16 of them a
            pixel, the row in the upper ones.
        matrix: ``(2, 2)``, applied to places counted from the middle of the sensor.
        offset: ``(2,)``, what is added then, column first.
        sides: ``(2,)`` width and height of the sensor in pixels.
        out: ``(N,)`` like the events; those that stay stand at its front then, in their order.
    """
    count, pixel = 0, 1.0 / 65536
    for index in range(len(events)):
        event, place = events[index], within[index]
        right = event["x"] + (place & np.uint32(0xFFFF)) * pixel - sides[0] / 2
        down = event["y"] + (place >> np.uint32(16)) * pixel - sides[1] / 2
        column = np.floor(matrix[0, 0] * right + matrix[0, 1] * down + offset[0])
        row = np.floor(matrix[1, 0] * right + matrix[1, 1] * down + offset[1])
        if 0 <= column < sides[0] and 0 <= row < sides[1]:
            out[count]["t"], out[count]["p"] = event["t"], event["p"]
            out[count]["x"], out[count]["y"] = np.uint16(column), np.uint16(row)
            count += 1
    return count


@compiled()
def counted(counts: np.ndarray, events: np.ndarray, cells: np.ndarray, each: int, by_time: bool, most: int) -> int:
    """Add each event to ``counts`` ``(T, C, H, W)``, no count above ``most``.

    Args:
        counts: uint16, zeros; written to.
        events: structured array ``(N,)`` of `EVENT_DTYPE`, sorted by time, read-only; none later than the last bin.
        cells: for each row or column of the sensor that of the input, ``(65536,)`` uint16.
        each: microseconds, or events, of a bin.
        by_time: which of both; bins of events leave what does not divide to the last.
        most: events beyond it are left out.

    Returns:
        The index of the first event that lies outside of the input, where the loop ends; else -1.
    """
    steps, polarities, height, width = counts.shape
    step, end = 0, each
    for index in range(len(events)):
        event = events[index]
        now = np.int64(event["t"]) if by_time else index
        while now >= end and step < steps - 1:
            step, end = step + 1, end + each
        p, row, column = event["p"], cells[event["y"]], cells[event["x"]]
        if p >= polarities or row >= height or column >= width:
            return index
        if counts[step, p, row, column] < most:
            counts[step, p, row, column] += np.uint16(1)
    return -1
