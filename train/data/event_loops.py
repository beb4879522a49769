# SPDX-License-Identifier: Apache-2.0
"""The two loops over events that a training does for every clip of every epoch, compiled.

Both do exactly what one reads in `augment.geometric` and `frames.cut`; in NumPy they took as long as the network.
"""

from __future__ import annotations

import numpy as np

from spikefold.compiled import compiled

_compiled = compiled(nogil=True, error_model="numpy")


@_compiled
def moved(
    x: np.ndarray, y: np.ndarray, within: np.ndarray, matrix: np.ndarray, offset: np.ndarray, sides: np.ndarray
) -> tuple[np.ndarray, int]:
    """Put each event elsewhere on the sensor; those that stay on it stand at the front of ``x`` and ``y`` then.

    Args:
        x: column of each event, ``(N,)`` uint16; overwritten.
        y: row of each, the same.
        within: where in its pixel each event lies, ``(2, N)`` from 0 to 1, column first.
        matrix: ``(2, 2)``, applied to places counted from the middle of the sensor.
        offset: ``(2,)``, what is added then, column first.
        sides: ``(2,)`` width and height of the sensor in pixels.

    Returns:
        The indices of the events that stay, in their order, at the front of ``(N,)``; how many they are.
    """
    stay, count = np.empty(len(x), np.int64), 0
    for index in range(len(x)):
        right = x[index] + within[0, index] - sides[0] / 2
        down = y[index] + within[1, index] - sides[1] / 2
        column = np.floor(matrix[0, 0] * right + matrix[0, 1] * down + offset[0])
        row = np.floor(matrix[1, 0] * right + matrix[1, 1] * down + offset[1])
        if 0 <= column < sides[0] and 0 <= row < sides[1]:
            x[count], y[count], stay[count] = np.uint16(column), np.uint16(row), index
            count += 1
    return stay, count


@_compiled
def counted(
    counts: np.ndarray, step: np.ndarray, p: np.ndarray, y: np.ndarray, x: np.ndarray, side: int, most: int
) -> None:
    """Add each event to ``counts`` ``(T, C, H, W)``, no count above ``most``.

    Args:
        counts: uint16, zeros; written to.
        step: the bin of each event, ``(N,)``.
        p: its channel.
        y: its row in pixels of the sensor.
        x: its column.
        side: pixels a side that are one input.
        most: events beyond it are left out.
    """
    for index in range(len(step)):
        row, column = y[index] // side, x[index] // side
        if counts[step[index], p[index], row, column] < most:
            counts[step[index], p[index], row, column] += 1
