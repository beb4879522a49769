# SPDX-License-Identifier: Apache-2.0
"""`RawEvents`: what a file says, as it says it, before it is checked by `spikefold.train.data.parsing.checked`."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from spikefold.errors import DataError


@dataclass(frozen=True)
class RawEvents:
    """The events of one recording as its file holds them.

    Attributes:
        t: ``(N,)`` time by the clock of the file, in microseconds unless ``unit_open``.
        x: ``(N,)`` column, from the left unless ``from_right``.
        y: ``(N,)`` row, from the top unless ``from_below``.
        p: ``(N,)`` 1 for ON and 0 for OFF; see `binary_polarity`.
        sensor: ``(H, W)`` where the file or its format says it.
        label: class index where the file says it, else -1.
        name: of the recording inside a file of several.
        truncated: the file ends inside an event or packet, or was never closed by its writer.
        lost_bytes: bytes at its end that make no whole event.
        from_start: ``t`` counts from the start of the recording already.
        from_right: column 0 is the rightmost of the sensor.
        from_below: row 0 is the lowest of the sensor.
        unit_open: the format does not say the unit of time; ``data.time_unit`` does.
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
    from_right: bool = False
    from_below: bool = False
    unit_open: bool = False

    def where(self, keep: np.ndarray | slice) -> RawEvents:
        """Some of the events: by a mask, in the order of an index, or by a slice."""
        return replace(self, t=self.t[keep], x=self.x[keep], y=self.y[keep], p=self.p[keep])

    def upright(self, sensor: tuple[int, int]) -> RawEvents:
        """The events with columns from the left and rows from the top of a sensor ``(H, W)``."""
        height, width = sensor
        x = width - 1 - self.x.astype(np.int64) if self.from_right else self.x
        y = height - 1 - self.y.astype(np.int64) if self.from_below else self.y
        return replace(self, x=x, y=y, from_right=False, from_below=False)


def binary_polarity(p: np.ndarray) -> np.ndarray:
    """ON and OFF as 1 and 0, from booleans, 1 and 0, or 1 and -1, also where -1 was stored without its sign.

    Anything else is left as it is, and refused when the events are packed.
    """
    if p.dtype == bool:
        return p.astype(np.uint8)
    if not len(p) or not np.issubdtype(p.dtype, np.integer):
        return p
    off = -1 if np.issubdtype(p.dtype, np.signedinteger) else int(np.iinfo(p.dtype).max)
    is_off = p == off
    # a byte of 255 alone may be ON in an image's manner; beside 1 it cannot be
    if is_off.any() and np.all(is_off | (p == 1)) and (off != 255 or not is_off.all()):
        return np.where(is_off, 0, 1).astype(np.uint8)
    return p


def whole_numbers(column: np.ndarray, key: str) -> np.ndarray:
    """A column of whole numbers, int64 where it is in floating point.

    Raises:
        DataError: text, objects, fractions, or numbers beyond 2^53.
    """
    if column.dtype == bool or np.issubdtype(column.dtype, np.integer):
        return column
    hint = "addresses and polarities are whole numbers"
    if not np.issubdtype(column.dtype, np.floating):
        raise DataError(f"{key} holds {column.dtype}, not numbers", hint=hint)
    if not np.all(np.abs(column) < 2**53) or np.any(column != np.floor(column)):
        raise DataError(f"{key} holds numbers that are not whole", hint=hint)
    return column.astype(np.int64)
