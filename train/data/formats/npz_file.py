# SPDX-License-Identifier: Apache-2.0
"""``.npz``: packed recordings of this project, one recording, or the frames that SpikingJelly cuts.

- packed: `spikefold.train.data.events.save_packed`.
- one recording (SpikingJelly's ``events_np``, HAR-DVS's compact files): ``t, x, y, p``, under the names of
  `spikefold.train.data.parsing.columns`.
- SpikingJelly's ``frames_number_T_split_by_number`` and its kin: ``frames`` ``(T, 2, H, W)``, counts of OFF and ON
  events. When an event happened within its frame is lost: each frame counts as one millisecond, its events at the
  start of it, and as many time bins as frames give exactly these frames again.

Columns count from the left and rows from the top.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from spikefold.errors import DataError
from spikefold.npz import read_arrays
from spikefold.train.data.events import check_packed, sensor_of
from spikefold.train.data.parsing.columns import NAMES, named
from spikefold.train.data.parsing.raw_events import RawEvents, whole_numbers
from spikefold.train.data.parsing.reading import AS_IT_IS, MOST_KEYS, MOST_RECORDINGS, Reading, size_of

_FRAME_US = 1000
_ABOUT = ("off", "label", "name", "sensor", "frames")
WANTED = frozenset((*_ABOUT, *(name for names in NAMES.values() for name in names)))


def read_npz(path: Path, reading: Reading = AS_IT_IS, what: str = "the recording") -> list[RawEvents]:
    """All recordings of an archive.

    ``sensor`` ``(H, W)`` is read where it is there. An archive cut short cannot be repaired: its list is at the end.

    Args:
        path: the file.
        reading: how many events it may claim.
        what: it holds, for messages.

    Raises:
        DataError: a damaged archive, a missing key, numbers that make no events.
    """
    size = size_of(path)
    data = read_arrays(
        path,
        what,
        wanted=WANTED,
        most_members=MOST_KEYS,
        check_bytes=lambda claimed: reading.check_bytes(claimed, size),
    )
    packed = "off" in data
    if packed:
        check_packed(data)
        recordings = len(data["label"])
        if recordings > min(MOST_RECORDINGS, len(data["t"])):
            what = f"the archive claims {recordings:,} recordings of {len(data['t']):,} events together"
            raise DataError(what, hint=f"each has an event, and there are at most {MOST_RECORDINGS:,}")
    whole = named(data, data.__getitem__)
    if whole is None:
        if "frames" in data:
            return [_from_frames(data["frames"], reading, size)]
        missing = [key for key, names in NAMES.items() if not any(name in data for name in names)]
        hint = "an .npz recording holds x, y, p, t of equal length"
        raise DataError(f"the recording lacks {', '.join(missing)}", hint=hint)
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


def _from_frames(frames: np.ndarray, reading: Reading, size: int) -> RawEvents:
    """As many events at each pixel and frame as it counts."""
    if frames.ndim != 4 or frames.shape[1] != 2:
        raise DataError(f"frames have the shape {frames.shape}", hint="(T, 2, H, W): counts of OFF and ON events")
    counts = whole_numbers(frames, "frames").astype(np.int64)
    if counts.min(initial=0) < 0:
        raise DataError("frames hold counts below zero", hint="each entry counts the events of a pixel and frame")
    # as floats: a sum of damaged counts may be beyond all integers
    reading.check_events(int(counts.sum(dtype=np.float64)), size)
    step, p, y, x = (np.repeat(index, counts[counts > 0]) for index in np.nonzero(counts))
    return RawEvents(step * _FRAME_US, x, y, p, frames.shape[2:], from_start=True)
