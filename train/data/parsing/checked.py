# SPDX-License-Identifier: Apache-2.0
"""What is wrong with the events of a file, and what is done about it: the same for every format.

The sensor is decided first, because rows that count from below can only be turned over when its height is known.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np

from spikefold.errors import DataError
from spikefold.train.data.events import Recording, pack_events
from spikefold.train.data.parsing.clocks import LATE_US, MOST_STRETCHES, microseconds, set_back
from spikefold.train.data.parsing.raw_events import RawEvents
from spikefold.train.data.parsing.reading import AS_IT_IS, MOST_LABEL, Reading, TimeUnit
from spikefold.train.data.repairs import OnFault, Repairs

_REPAIR = 'or set data.on_fault = "repair"'


def to_recordings(raw: RawEvents, name: str, reading: Reading = AS_IT_IS) -> list[Recording]:
    """One `Recording`, its faults refused or repaired and counted; several where its clock was set back.

    Repairs: what is left of a file cut short is kept. Events outside the sensor are left out. Events that are late by
    at most `LATE_US` are put in order of time (stable: events of one microsecond keep the file's order). Where a
    clock was set back by more, the recording is cut in two, because two times are never mixed. Time counts from the
    first event.

    Args:
        raw: the events.
        name: of the recording, for messages.
        reading: how faults are met, and the sensor and unit of time where the file does not decide them.

    Raises:
        DataError: a fault where they are refused; no event, a sensor, label or number that makes no recording.
    """
    try:
        return list(_recordings(raw, name, reading))
    except DataError as error:
        raise DataError(error.what, where=error.where or name, hint=error.hint) from error


def _recordings(raw: RawEvents, name: str, reading: Reading) -> Iterator[Recording]:
    if not -1 <= raw.label < MOST_LABEL:
        raise DataError(f"the label is {raw.label}", hint=f"class indices run from 0 and stay below {MOST_LABEL}")
    size = _size(raw, reading)
    raw = raw.upright(size)
    unit = reading.time_unit if raw.unit_open else TimeUnit.MICROSECONDS
    raw = replace(raw, t=microseconds(raw.t, unit))
    inside = (raw.x >= 0) & (raw.x < size[1]) & (raw.y >= 0) & (raw.y < size[0])
    kept = raw if inside.all() else raw.where(inside)
    starts = set_back(kept.t)
    if reading.on_fault is OnFault.REFUSE:
        _refuse(raw, kept, inside, starts, size)
    if len(starts) >= MOST_STRETCHES:
        what = (
            f"times are in no order: at least {len(starts)} events are more than {LATE_US} us earlier than one before"
        )
        raise DataError(what, hint="sort the events by time, if the order of the file means nothing")
    if not len(kept.t):
        raise DataError("no event", hint="remove the file, or check the sensor size")
    repairs = Repairs(
        truncated=int(raw.truncated),
        lost_bytes=raw.lost_bytes,
        outside=int(len(inside) - inside.sum()),
        cuts=len(starts),
    )
    for number, (start, stop) in enumerate(pairwise([0, *starts, len(kept.t)])):
        part = kept.where(slice(start, stop))
        late = int((part.t < np.maximum.accumulate(part.t)).sum())
        if late:
            part = part.where(np.argsort(part.t, kind="stable"))
        zero = 0 if part.from_start else int(part.t[0])
        events = pack_events(part.t - zero, part.x, part.y, part.p)
        counted = replace(repairs if number == 0 else Repairs(), backwards=late)
        called = f"{name}, part {number + 1} of {len(starts) + 1}" if starts else name
        yield Recording(events, size, raw.label, called, counted, part=number)


def _size(raw: RawEvents, reading: Reading) -> tuple[int, int]:
    """The sensor ``(H, W)``: the configured one, the file's own, or the tightest square around the addresses."""
    size = reading.sensor or raw.sensor
    if size is None:
        if raw.from_below or raw.from_right:
            what = (
                "the file does not say the size of its sensor, and counts rows from below or columns from the right"
            )
            raise DataError(what, hint="say the size, data.sensor = [height, width]")
        side = int(max(raw.x.max(initial=0), raw.y.max(initial=0))) + 1
        size = side, side
    reading.check_sensor(size)
    return size


def _refuse(raw: RawEvents, kept: RawEvents, inside: np.ndarray, starts: list[int], size: tuple[int, int]) -> None:
    if raw.truncated:
        what = f"the file is cut short: {raw.lost_bytes} bytes at its end make no whole event"
        raise DataError(what, hint=f"copy it again, {_REPAIR} to keep the events before the cut")
    if not inside.all():
        first = int(np.argmin(inside))
        raise DataError(
            f"{len(inside) - int(inside.sum())} of {len(inside)} events lie outside the {size[1]}x{size[0]} sensor, "
            f"the first at x={raw.x[first]}, y={raw.y[first]}",
            hint=f"check data.sensor and whether x and y were swapped, {_REPAIR} to leave them out",
        )
    if starts:
        first = starts[0]
        raise DataError(
            f"the clock was set back at event {first} of {len(kept.t)}, {kept.t[first - 1]}, then {kept.t[first]} us",
            hint=f"cut the file there, {_REPAIR} to have it cut; or sort the events by time, if their order means "
            "nothing",
        )
    late = kept.t < np.maximum.accumulate(kept.t) if len(kept.t) else np.zeros(0, bool)
    if late.any():
        what = f"timestamps run backwards at {int(late.sum())} of {len(late)} events"
        raise DataError(what, hint=f"sort the events by time, {_REPAIR}")
