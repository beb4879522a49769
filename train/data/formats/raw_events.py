# SPDX-License-Identifier: Apache-2.0
"""`RawEvents`: what a file says, before anybody has judged it; and the judgement, the same for every format."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from spikefold.errors import DataError
from spikefold.train.data.events import Recording, pack_events
from spikefold.train.data.repairs import OnFault, Repairs


@dataclass(frozen=True)
class RawEvents:
    """The events of one recording as its file holds them.

    Attributes:
        t: ``(N,)`` time in microseconds, by the clock of the file.
        x: ``(N,)`` column, from the left.
        y: ``(N,)`` row, from the top.
        p: ``(N,)`` 1 for ON and 0 for OFF; see `binary_polarity`.
        sensor: ``(H, W)`` where the file or its format says.
        label: class index where the file says, else -1.
        name: of the recording inside a file of several.
        truncated: the file ends inside an event or packet, or was never closed by its writer.
        lost_bytes: bytes at its end that make no whole event.
        from_start: ``t`` counts from the start of the recording already.
    """

    t: np.ndarray
    x: np.ndarray
    y: np.ndarray
    p: np.ndarray
    sensor: tuple[int, int] | None = None
    label: int = -1
    name: str = ""
    truncated: bool = False
    lost_bytes: int = 0
    from_start: bool = False

    def where(self, keep: np.ndarray | slice) -> RawEvents:
        """Some of the events: by a mask, in the order of an index, or by a slice."""
        return replace(self, t=self.t[keep], x=self.x[keep], y=self.y[keep], p=self.p[keep])


def binary_polarity(p: np.ndarray) -> np.ndarray:
    """ON and OFF as 1 and 0, from booleans, 1 and 0, or 1 and -1. Anything else is left for `pack_events`."""
    if p.dtype == bool:
        return p.astype(np.uint8)
    if len(p) and np.issubdtype(p.dtype, np.signedinteger) and p.min() == -1 and not np.any(p == 0):
        return np.where(p == -1, 0, p)
    return p


def whole_numbers(column: np.ndarray, key: str) -> np.ndarray:
    """A column as int64 where it holds numbers without fractions.

    Raises:
        DataError: text, objects, fractions, or numbers beyond 2^53.
    """
    if column.dtype == bool or np.issubdtype(column.dtype, np.integer):
        return column
    hint = "times are whole microseconds, addresses and polarities whole numbers"
    if not np.issubdtype(column.dtype, np.floating):
        raise DataError(f"{key} holds {column.dtype}, not numbers", hint=hint)
    if not np.all(np.abs(column) < 2**53) or np.any(column != np.floor(column)):
        raise DataError(f"{key} holds numbers that are not whole", hint=hint)
    return column.astype(np.int64)


def to_recording(
    raw: RawEvents,
    name: str,
    *,
    on_fault: OnFault = OnFault.REFUSE,
    sensor: tuple[int, int] | None = None,
) -> Recording:
    """A `Recording`, its faults refused or repaired and counted.

    Repairs: what is left of a file cut short is kept, events outside the sensor are left out, the others are put in
    order of time (stable: events of one microsecond keep the file's order). Time then counts from the first event.

    Args:
        raw: the events.
        name: of the recording, for messages.
        on_fault: refuse or repair.
        sensor: ``(H, W)`` that wins over the file's; where neither says, the tightest square around the addresses.

    Raises:
        DataError: a fault where they are refused; no event; a number that makes no event under any policy.
    """
    size = sensor or raw.sensor or _tightest(raw)
    inside = (raw.x >= 0) & (raw.x < size[1]) & (raw.y >= 0) & (raw.y < size[0])
    kept = raw if inside.all() else raw.where(inside)
    late = kept.t < np.maximum.accumulate(kept.t) if len(kept.t) else np.zeros(0, bool)
    repairs = Repairs(
        truncated=int(raw.truncated),
        lost_bytes=raw.lost_bytes,
        backwards=int(late.sum()),
        outside=int(len(inside) - inside.sum()),
    )
    if on_fault is OnFault.REFUSE:
        _refuse(raw, inside, late, size, name)
    if not len(kept.t):
        raise DataError("no event", where=name, hint="remove the file, or check the sensor size")
    if repairs.backwards:
        kept = kept.where(np.argsort(kept.t, kind="stable"))
    # unsigned times of a camera would wrap around below zero
    start = 0 if kept.from_start else int(kept.t[0])
    try:
        events = pack_events(kept.t.astype(np.int64) - start, kept.x, kept.y, kept.p)
    except DataError as error:
        raise DataError(error.what, where=name, hint=error.hint) from error
    return Recording(events, size, raw.label, name, repairs)


def _tightest(raw: RawEvents) -> tuple[int, int]:
    side = int(max(raw.x.max(initial=0), raw.y.max(initial=0))) + 1
    return side, side


def _refuse(raw: RawEvents, inside: np.ndarray, late: np.ndarray, size: tuple[int, int], name: str) -> None:
    repair = 'or set data.on_fault = "repair"'
    if raw.truncated:
        what = f"the file is cut short: {raw.lost_bytes} bytes at its end make no whole event"
        raise DataError(what, where=name, hint=f"copy it again, {repair} to keep the events before the cut")
    if not inside.all():
        first = int(np.argmin(inside))
        raise DataError(
            f"{len(inside) - int(inside.sum())} of {len(inside)} events lie outside the {size[1]}x{size[0]} sensor, "
            f"the first at x={raw.x[first]}, y={raw.y[first]}",
            where=name,
            hint=f"check data.sensor and whether x and y were swapped, {repair} to leave them out",
        )
    if late.any():
        what = f"timestamps run backwards at {int(late.sum())} of {len(late)} events"
        raise DataError(what, where=name, hint=f"sort the events by time, {repair}")
