# SPDX-License-Identifier: Apache-2.0
"""Recording files by extension. A new format is one function and one entry in `READERS`."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from spikefold.errors import DataError, nearest
from spikefold.train.events import Recording, load_packed, pack_events

Reader = Callable[[Path], list[Recording]]


def read_npz(path: Path) -> list[Recording]:
    """Packed recordings, or a single one with the keys ``x, y, p, t`` alone (and ``sensor`` ``(H, W)`` if known)."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            if "off" in archive.files:
                return load_packed(path)
            columns = [np.asarray(archive[key]) for key in "txyp"]
            sensor = archive["sensor"] if "sensor" in archive.files else None
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(
            f"cannot read the recording: {error}", where=str(path),
            hint="an .npz recording holds x, y, p, t of equal length (t in microseconds), without pickles",
        ) from error  # fmt: skip
    if len({column.shape for column in columns}) != 1 or columns[0].ndim != 1 or not len(columns[0]):
        raise DataError(
            "x, y, p and t must be equally long and not empty", where=str(path), hint="write the recording again"
        )
    if sensor is None:
        side = int(max(columns[1].max(), columns[2].max())) + 1
        sensor = np.array([side, side])
    return [Recording(pack_events(*columns), (int(sensor[0]), int(sensor[1])), name=path.name)]


READERS: dict[str, Reader] = {".npz": read_npz}


def read(path: Path) -> list[Recording]:
    """The recordings of one file, by its extension.

    Raises:
        DataError: unknown extension, or a file that its reader refuses.
    """
    suffix = path.suffix.lower()
    if suffix not in READERS:
        raise DataError(f"no reader for {suffix or 'files without extension'}", where=str(path),
                        hint=nearest(suffix, READERS))  # fmt: skip
    return READERS[suffix](path)
