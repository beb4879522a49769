# SPDX-License-Identifier: Apache-2.0
"""Recording files by extension. A new format is one function and one entry in `READERS`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from spikefold.errors import DataError, nearest
from spikefold.npz import read_arrays
from spikefold.train.events import Recording, load_packed, pack_events, sensor_of

Reader = Callable[[Path], list[Recording]]


def read_npz(path: Path) -> list[Recording]:
    """Packed recordings, or a single one with the keys ``x, y, p, t`` alone (and ``sensor`` ``(H, W)`` if known).

    Raises:
        DataError: a damaged archive, a missing key, numbers that make no events.
    """
    data = read_arrays(path, "the recording")
    if "off" in data:
        return load_packed(path)
    try:
        missing = [key for key in "xypt" if key not in data]
        if missing or not data["t"].size:
            hint = "an .npz recording holds x, y, p, t of equal length, t in microseconds"
            raise DataError(f"the recording lacks {', '.join(missing) or 'events'}", hint=hint)
        events = pack_events(*(data[key] for key in "txyp"))
        return [Recording(events, sensor_of(data), name=path.name)]
    except DataError as error:
        raise DataError(error.what, where=str(path), hint=error.hint) from error


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
