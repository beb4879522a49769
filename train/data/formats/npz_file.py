# SPDX-License-Identifier: Apache-2.0
"""``.npz``: packed recordings of this project, or a single one as SpikingJelly writes it (``t, x, y, p``)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from spikefold.errors import DataError
from spikefold.npz import read_arrays
from spikefold.train.data.events import check_packed, sensor_of
from spikefold.train.data.formats.columns import from_columns
from spikefold.train.data.formats.raw_events import RawEvents


def read_npz(path: Path, what: str = "the recording") -> list[RawEvents]:
    """All recordings of an archive: packed (`spikefold.train.data.events.save_packed`), or one with ``x, y, p, t``.

    ``sensor`` ``(H, W)`` is read where it is there. An archive cut short cannot be repaired: its list is at the end.

    Args:
        path: the file.
        what: it holds, for messages.

    Raises:
        DataError: a damaged archive, a missing key, numbers that make no events.
    """
    data = read_arrays(path, what)
    packed = "off" in data
    if packed:
        check_packed(data)
    missing = [key for key in "xypt" if key not in data]
    if missing:
        frames = "; this one holds frames that were cut already" if "frames" in data else ""
        hint = f"an .npz recording holds x, y, p, t of equal length, t in microseconds{frames}"
        raise DataError(f"the recording lacks {', '.join(missing)}", hint=hint)
    whole = from_columns({key: data[key] for key in "txyp"})
    if packed or "sensor" in data:
        # one size for all recordings of an archive
        whole = replace(whole, sensor=sensor_of(data))
    if not packed:
        return [whole]
    names = data["name"] if "name" in data else [f"{path.stem}[{i}]" for i in range(len(data["label"]))]
    parts = zip(data["off"][:-1], data["off"][1:], data["label"], names, strict=True)
    return [
        replace(whole.where(slice(int(start), int(stop))), label=int(label), name=str(name), from_start=True)
        for start, stop, label, name in parts
    ]
