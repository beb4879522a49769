# SPDX-License-Identifier: Apache-2.0
"""Columns of events out of arrays whose fields or columns are named or ordered in the field's several ways."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from spikefold.errors import DataError
from spikefold.train.data.parsing.raw_events import RawEvents, binary_polarity, whole_numbers

NAMES = {
    "t": ("t", "ts", "time", "times", "timestamp", "timestamps"),
    "x": ("x", "xs"),
    "y": ("y", "ys"),
    "p": ("p", "ps", "pol", "polarity", "on"),
}
"""What the fields are called in files of tonic, SpikingJelly, Prophesee, DSEC and others."""
_ORDERS = ("txyp", "xypt")
"""Of the columns of an ``(N, 4)`` table: v2e's and most text files', and tonic's."""


def chosen_names(there: Iterable[str]) -> dict[str, str]:
    """The names of the columns ``t, x, y, p`` among those that are there; fewer than four where one is absent."""
    known = set(there)
    found = {key: next((name for name in names if name in known), None) for key, names in NAMES.items()}
    return {key: name for key, name in found.items() if name is not None}


def named(keys: Iterable[str], get: Callable[[str], np.ndarray]) -> RawEvents | None:
    """Events from columns by name; None where a column has none of its names.

    Args:
        keys: the names that are there.
        get: the column of a name.
    """
    chosen = chosen_names(keys)
    if len(chosen) != len(NAMES):
        return None
    return from_columns({key: np.asarray(get(name)) for key, name in chosen.items()})


def from_columns(columns: dict[str, np.ndarray]) -> RawEvents:
    """Events from the columns ``t, x, y, p``; the unit of time is open.

    Raises:
        DataError: columns of different length, or addresses and polarities of anything but whole numbers.
    """
    if len({column.shape for column in columns.values()}) != 1 or columns["t"].ndim != 1:
        shapes = ", ".join(f"{key} {column.shape}" for key, column in columns.items())
        raise DataError(f"the columns of events differ in shape: {shapes}", hint="one entry of each for every event")
    x, y, p = (whole_numbers(columns[key], key) for key in "xyp")
    return RawEvents(columns["t"], x, y, binary_polarity(p), unit_open=True)


def from_table(table: np.ndarray, order: str | None = None, usual: str | None = None) -> RawEvents:
    """Events from an ``(N, 4)`` table of numbers.

    Args:
        table: the table.
        order: of its columns, such as ``"xypt"``; without it, it is told from the polarities and the times.
        usual: the order that is taken where both are possible.

    Raises:
        DataError: another shape, or columns whose order cannot be told.
    """
    if table.ndim != 2 or table.shape[1] != len("txyp") or table.dtype.kind not in "biuf":
        raise DataError(
            f"an array {table.shape} of {table.dtype} is no list of events",
            hint="(N, 4) numbers, or fields t, x, y, p",
        )
    return from_columns(dict(zip(order or _order(table, usual), table.T, strict=True)))


def _order(table: np.ndarray, usual: str | None) -> str:
    fits = list(_possible(table))
    in_time = [order for order in fits if np.all(np.diff(table[:, order.index("t")].astype(np.float64)) >= 0)]
    for candidates in (fits, in_time):
        if len(candidates) == 1:
            return candidates[0]
    if usual in fits:
        return usual
    hint = "store the fields t, x, y, p in a structured array, or an .npz with those keys"
    raise DataError("the order of the four columns cannot be told", hint=hint)


def _possible(table: np.ndarray) -> Iterator[str]:
    """The orders in which the polarities are polarities."""
    off = [-1] if table.dtype.kind != "u" else [int(np.iinfo(table.dtype).max)]
    for order in _ORDERS:
        if np.all(np.isin(table[:, order.index("p")], [*off, 0, 1])):
            yield order
