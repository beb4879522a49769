# SPDX-License-Identifier: Apache-2.0
"""Passes over the values of a tensor in memory that read them once, several times as fast as PyTorch's operations.

Every array is flat, float32 or float64. Sums over a row of positions are made in the dtype of the fan-out map, which
the caller chooses wide enough for them to be exact, so their order is free; rows add up as integers.
"""

from __future__ import annotations

import numpy as np

from spikefold.compiled import compiled

BLOCK = 4096  # values looked at before it is asked whether to go on


@compiled(reassociate=True)
def count_ones(x: np.ndarray) -> int:
    """How many ones there are, or -1 if a value is neither 0 nor 1."""
    ones = 0
    for start in range(0, x.size, BLOCK):
        block, found, others = x[start : start + BLOCK], np.float32(0), False
        for i in range(block.size):  # an index, not an iterator, so that it becomes vector instructions
            others |= (block[i] != 0) & (block[i] != 1)
            found += block[i]
        if others:
            return -1
        ones += int(found)
    return ones


@compiled()
def count_others(x: np.ndarray) -> int:
    """How many values are neither 0 nor 1."""
    others = 0
    for i in range(x.size):
        others += (x[i] != 0) & (x[i] != 1)
    return others


@compiled(reassociate=True)
def of_binary(x: np.ndarray, taps: np.ndarray) -> tuple[int, int]:
    """Ones and the sum of their taps, or -1 and 0 if a value is neither 0 nor 1.

    Args:
        x: rows of positions, one after the other.
        taps: synapses of each position.
    """
    ones, synapses = 0, 0
    for start in range(0, x.size, taps.size):
        row = x[start : start + taps.size]
        found, reached, others = taps.dtype.type(0), taps.dtype.type(0), False
        for i in range(row.size):
            others |= (row[i] != 0) & (row[i] != 1)
            found += row[i]
            reached += row[i] * taps[i]
        if others:
            return -1, 0
        ones += int(found)
        synapses += int(reached)
    return ones, synapses


@compiled(reassociate=True)
def of_nonzero(x: np.ndarray, taps: np.ndarray) -> tuple[int, int]:
    """Taps of the values other than zero, and how many values are neither 0 nor 1; arguments as of `of_binary`."""
    pairs, others = 0, 0
    for start in range(0, x.size, taps.size):
        row = x[start : start + taps.size]
        reached, unlike = taps.dtype.type(0), 0
        for i in range(row.size):
            reached += taps[i] if row[i] != 0 else taps.dtype.type(0)
            unlike += (row[i] != 0) & (row[i] != 1)
        pairs += int(reached)
        others += unlike
    return pairs, others


@compiled(reassociate=True)
def of_events(x: np.ndarray, taps: np.ndarray, factor: float) -> tuple[int, int, int]:
    """Taps of the values other than zero, taps times events, and how many values are neither 0 nor 1.

    Args:
        x: rows of positions, one after the other, all finite.
        taps: synapses of each position.
        factor: values times this are whole but for rounding; their absolute values are the events.
    """
    pairs, events, others = 0, 0, 0
    for start in range(0, x.size, taps.size):
        row = x[start : start + taps.size]
        reached, weighed, unlike = taps.dtype.type(0), taps.dtype.type(0), 0
        for i in range(row.size):
            reached += taps[i] if row[i] != 0 else taps.dtype.type(0)
            weighed += abs(np.rint(row[i] * factor)) * taps[i]
            unlike += (row[i] != 0) & (row[i] != 1)
        pairs += int(reached)
        events += int(weighed)
        others += unlike
    return pairs, events, others
