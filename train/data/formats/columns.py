# SPDX-License-Identifier: Apache-2.0
"""Columns of events out of arrays whose fields or columns are named or ordered in the field's several ways."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from spikefold.errors import DataError
from spikefold.train.data.formats.raw_events import RawEvents, binary_polarity, whole_numbers

NAMES = {
    "t": ("t", "ts", "time", "times", "timestamp", "timestamps"),
    "x": ("x", "xs"),
    "y": ("y", "ys"),
    "p": ("p", "ps", "pol", "polarity", "on"),
}
"""What the fields are called in files of tonic, SpikingJelly, Prophesee and others."""


def named(keys: Iterable[str], get: Callable[[str], np.ndarray]) -> RawEvents | None:
    """Events from columns by name; None where a column has none of its names.

    Args:
        keys: the names that are there.
        get: the column of a name.
    """
    there = set(keys)
    chosen = {key: next((name for name in names if name in there), None) for key, names in NAMES.items()}
    columns = {key: np.asarray(get(name)) for key, name in chosen.items() if name is not None}
    return from_columns(columns) if len(columns) == len(NAMES) else None


def from_columns(columns: dict[str, np.ndarray]) -> RawEvents:
    """Events from the columns ``t, x, y, p``.

    Raises:
        DataError: columns of different length, or of anything but whole numbers.
    """
    if len({column.shape for column in columns.values()}) != 1 or columns["t"].ndim != 1:
        shapes = ", ".join(f"{key} {column.shape}" for key, column in columns.items())
        raise DataError(f"the columns of events differ in shape: {shapes}", hint="one entry of each for every event")
    t, x, y, p = (whole_numbers(columns[key], key) for key in "txyp")
    return RawEvents(t, x, y, binary_polarity(p))
