# SPDX-License-Identifier: Apache-2.0
"""``.npy``: one array of events, as tonic writes it. Never an array of objects, which is a pickle.

Format: NumPy, NEP 1 (https://numpy.org/neps/nep-0001-npy-format.html).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from spikefold.errors import DataError
from spikefold.train.data.formats.columns import from_columns, named
from spikefold.train.data.formats.raw_events import RawEvents

MAGIC = b"\x93NUMPY"
_BROKEN = (OSError, ValueError, TypeError, KeyError, EOFError, SyntaxError, MemoryError, OverflowError)
"""What NumPy raises on a damaged header or a file that ends before its array."""


def read_npy(path: Path, *, order: str | None = None, tick_us: int = 1) -> list[RawEvents]:
    """The events of a structured array with fields ``t, x, y, p``, or of ``(N, 4)`` numbers.

    Args:
        path: the file.
        order: of the four columns, such as ``"xypt"``; none: ``txyp`` or ``xypt``, by where the polarities are.
        tick_us: microseconds of one unit of time.

    Raises:
        DataError: an array of objects, a damaged file, columns whose order cannot be told.
    """
    array = _load(path)
    if array.dtype.names is not None:
        raw = named(array.dtype.names, lambda name: array[name])
        if raw is None:
            fields = ", ".join(array.dtype.names)
            raise DataError(f"the fields {fields} are no events", hint="needed: t, x, y, p")
    else:
        if array.ndim != 2 or array.shape[1] != len("txyp"):
            raise DataError(
                f"an array {array.shape} is no list of events", hint="(N, 4) numbers, or fields t, x, y, p"
            )
        columns = dict(zip(order or _order(array), array.T, strict=True))
        if tick_us != 1:
            columns["t"] = np.round(columns["t"].astype(np.float64) * tick_us)
        raw = from_columns(columns)
    return [raw]


def _load(path: Path) -> np.ndarray:
    try:
        with path.open("rb") as file:
            array = np.load(file, allow_pickle=False)
    except _BROKEN as error:
        if "Object arrays" in str(error):
            raise DataError(
                "the array holds Python objects, that is a pickle, which could run any program; it is not opened",
                hint="give the text files that it was made from; or, if you trust it, convert it once: for i, e in "
                "enumerate(numpy.load(FILE, allow_pickle=True)): numpy.savez(f'{i}.npz', t=e[:, 0], x=e[:, 1], "
                "y=e[:, 2], p=e[:, 3])",
            ) from error
        raise DataError(f"no array: {error}", hint="the file is damaged or cut short; copy it again") from error
    if not isinstance(array, np.ndarray):
        raise DataError("an archive, not an array", hint="rename it to .npz")
    return array


def _order(array: np.ndarray) -> str:
    """``txyp`` or ``xypt``: polarities are -1, 0 or 1, and the other candidate is not."""
    fits = [order for order in ("txyp", "xypt") if np.all(np.isin(array[:, order.index("p")], (-1, 0, 1)))]
    if len(fits) != 1:
        hint = "store the fields t, x, y, p in a structured array, or an .npz with those keys"
        raise DataError("the order of the four columns cannot be told", hint=hint)
    return fits[0]
