# SPDX-License-Identifier: Apache-2.0
"""The clocks of cameras: counters that run over, units of time, and clocks that were set during a recording."""

from __future__ import annotations

import numpy as np

from spikefold.errors import DataError
from spikefold.train.data.parsing.reading import TimeUnit

LATE_US = 1000
"""Events may be this much earlier than one before them in the file, and are still of the same stretch of time.

Cameras and drivers hand events over in packets of up to a millisecond (a USB 2 frame), and sort only inside them."""
MOST_STRETCHES = 8
"""A recording whose clock seems to be set more often than this has its events in no order of time."""
_LAP_SILENCE_US = 60_000_000
"""Longest silence over which a counter is believed to have run over; event cameras have noise every millisecond."""
_LARGEST = 2**53
"""Whole numbers up to this are exact in floating point."""
_PER_US = {TimeUnit.MICROSECONDS: 1, TimeUnit.MILLISECONDS: 1000, TimeUnit.SECONDS: 1_000_000}


def unrolled(t: np.ndarray, bits: int, tick_us: int = 1, *, is_ordered: bool = False) -> np.ndarray:
    """Times of a counter of ``bits`` bits, int64, with its laps added.

    The counter has run over where it falls from near its end to near its start: the way forward over its end is at
    most a quarter of its range, and at most a minute. A late event from before the lap, behind it in the file, gets
    the time before it. Any other fall is left as it is, for `set_back` to find.

    Args:
        t: ``(N,)`` values of the counter, from 0 to ``2**bits - 1``.
        bits: of the counter.
        tick_us: microseconds of one count.
        is_ordered: the counter's values are never late; a rise, however large, is then a silence.
    """
    lap = 1 << bits
    near = min(lap // 4, _LAP_SILENCE_US // tick_us)
    t = t.astype(np.int64)
    step = np.diff(t, prepend=t[:1])
    turns = np.cumsum((step <= near - lap).astype(np.int64) - ((step >= lap - near) & (not is_ordered)))
    # nothing is before the first lap: a rise there is a long silence, not a late event
    laps = turns - np.minimum(np.minimum.accumulate(turns), 0) if len(turns) else turns
    return np.asarray(t + laps * lap)


def microseconds(t: np.ndarray, unit: TimeUnit) -> np.ndarray:
    """Times in microseconds, int64, rounded to the nearest where the unit is another.

    Raises:
        DataError: text, objects, fractions of a microsecond, or numbers too large to be exact.
    """
    if t.dtype != bool and not np.issubdtype(t.dtype, np.integer) and not np.issubdtype(t.dtype, np.floating):
        raise DataError(f"t holds {t.dtype}, not numbers", hint="times are numbers, whole ones if microseconds")
    if not len(t):
        return t.astype(np.int64)
    fraction = not np.issubdtype(t.dtype, np.integer) and t.dtype != bool
    values = t.astype(np.float64) if fraction else t
    low, high = values.min(), values.max()
    scale = _PER_US.get(unit, 1)
    if not (float(low) * scale > -_LARGEST and float(high) * scale < _LARGEST):
        hint = "times count microseconds from some start; data.time_unit says another unit"
        raise DataError(f"t runs from {low} to {high} {unit}, too much to be a time", hint=hint)
    if not fraction:
        whole = values.astype(np.int64)
        return whole * scale if unit is not TimeUnit.NANOSECONDS else (whole + 500) // 1000
    if unit is TimeUnit.MICROSECONDS:
        if np.any(values != np.floor(values)):
            hint = 'if times are in seconds or milliseconds, set data.time_unit = "s" or "ms"'
            raise DataError("t holds numbers that are not whole: microseconds have no fractions", hint=hint)
        return values.astype(np.int64)
    scaled = values / 1000 if unit is TimeUnit.NANOSECONDS else values * scale
    return np.floor(scaled + 0.5).astype(np.int64)


def set_back(t: np.ndarray) -> list[int]:
    """The events at which a clock was set back by more than `LATE_US`; the first `MOST_STRETCHES` of them."""
    starts: list[int] = []
    start = 0
    while len(starts) < MOST_STRETCHES:
        rest = t[start:]
        back = np.maximum.accumulate(rest) - rest > LATE_US if len(rest) else np.zeros(0, bool)
        if not back.any():
            break
        start += int(np.argmax(back))
        starts.append(start)
    return starts
