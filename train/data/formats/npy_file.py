# SPDX-License-Identifier: Apache-2.0
"""``.npy``: one array of events, as tonic writes it. Never an array of objects, which is a pickle.

Format: NumPy, NEP 1 (https://numpy.org/neps/nep-0001-npy-format.html). Columns count from the left and rows from the
top, as in the arrays of tonic; the unit of time is open.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from spikefold.errors import DataError
from spikefold.npz import read_array, read_claim
from spikefold.train.data.parsing.columns import from_table, named
from spikefold.train.data.parsing.raw_events import RawEvents
from spikefold.train.data.parsing.reading import AS_IT_IS, Reading, size_of

MAGIC = b"\x93NUMPY"


def read_npy(path: Path, reading: Reading = AS_IT_IS, *, order: str | None = None) -> list[RawEvents]:
    """The events of a structured array with fields ``t, x, y, p``, or of ``(N, 4)`` numbers.

    Args:
        path: the file.
        reading: how many events it may claim.
        order: of the four columns, such as ``"xypt"``; without it, ``txyp`` or ``xypt``, by where the polarities are.

    Raises:
        DataError: an array of objects, a damaged file, columns whose order cannot be told.
    """
    array = _load(path, reading)
    if array.dtype.names is None:
        return [from_table(array, order)]
    raw = named(array.dtype.names, lambda name: array[name])
    if raw is None:
        fields = ", ".join(array.dtype.names[:20])
        raise DataError(f"the fields {fields} are no events", hint="needed: t, x, y, p")
    return [raw]


def _load(path: Path, reading: Reading) -> np.ndarray:
    size = size_of(path)
    try:
        with path.open("rb") as file:
            claim = read_claim(file)
            if claim.has_objects:
                raise DataError(
                    "the array holds Python objects, that is a pickle, which could run any program; it is not opened",
                    hint="give the text files that it was made from; or, if you trust it, convert it once: for i, e "
                    "in enumerate(numpy.load(FILE, allow_pickle=True)): numpy.savez(f'{i}.npz', t=e[:, 0], "
                    "x=e[:, 1], y=e[:, 2], p=e[:, 3])",
                )
            reading.check_bytes(claim.size, size)
            return read_array(file, claim)
    except (ValueError, MemoryError) as error:
        raise DataError(f"no array: {error}", hint="the file is damaged or cut short; copy it again") from error
