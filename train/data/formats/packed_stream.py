# SPDX-License-Identifier: Apache-2.0
"""Packed recordings one after the other: an archive of thousands takes the memory of its longest recording.

An archive as `spikefold.train.data.events.save_packed` writes it is read piece by piece, its four lists side by side.
Any other is read as a whole by `read_npz`, which also says what is wrong with one that is damaged.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import numpy as np

from spikefold.npz import Archive, opened_archive
from spikefold.train.data.formats.npz_file import WANTED, read_npz
from spikefold.train.data.parsing.raw_events import RawEvents
from spikefold.train.data.parsing.reading import MOST_KEYS, MOST_RECORDINGS, Reading, size_of

_WHAT = "packed recordings"
_PIECE = 2**20
"""Entries that are looked at together where a list is only looked through."""


def stream_packed(path: Path, reading: Reading) -> Iterator[RawEvents]:
    """The recordings of an archive in their order.

    Raises:
        DataError: as `read_npz`; of a damaged list only where its damage is met, so nothing may be believed before
            the last recording has come.
    """
    size = size_of(path)
    with opened_archive(
        path,
        _WHAT,
        wanted=WANTED,
        most_members=MOST_KEYS,
        check_bytes=lambda claimed: reading.check_bytes(claimed, size),
    ) as archive:
        about = _about(archive)
        if about is not None:
            yield from _streamed(path, archive, about)
            return
    yield from read_npz(path, reading, _WHAT)


def _about(archive: Archive) -> dict[str, np.ndarray] | None:
    """Offsets, labels, names and sensor of an archive that can be streamed; None where `read_npz` has to look."""
    claims = archive.claims
    events = {key: claims.get(key) for key in "txyp"}
    shapes = {None if claim is None else claim.shape for claim in events.values()}
    is_plain = not any(claim.has_objects for claim in claims.values()) and "frames" not in claims
    if not is_plain or not {"off", "label"} <= claims.keys() or len(shapes) != 1 or None in shapes:
        return None
    if any(claim is None or claim.dtype.kind not in "iu" or len(claim.shape) != 1 for claim in events.values()):
        return None
    keys: tuple[str, ...] = ("off", "label", "name", "sensor")
    about = {key: archive.read(key) for key in keys if key in claims}
    offsets, labels, count = about["off"], about["label"], int(claims["t"].shape[0])
    if any(one.ndim != 1 or one.dtype.kind not in "iu" for one in (offsets, labels)):
        return None
    if len(offsets) != len(labels) + 1 or offsets[0] != 0 or offsets[-1] != count or np.any(np.diff(offsets) < 0):
        return None
    if len(labels) > min(MOST_RECORDINGS, count) or about.get("name", labels).shape != labels.shape:
        return None
    sensor = about.get("sensor")
    if sensor is None:
        side = 1 + max(highest for _, highest in (_span(archive, key) for key in "xy"))
        about["sensor"] = np.array((side, side))
    elif sensor.shape != (2,) or sensor.dtype.kind not in "iu":
        return None
    # other ways to write ON and OFF are told from the whole list
    off, on = _span(archive, "p")
    return about if off == 0 and on <= 1 else None


def _span(archive: Archive, key: str) -> tuple[int, int]:
    """Lowest and highest entry of a list, and 0."""
    left, low, high = int(archive.claims[key].shape[0]), 0, 0
    with archive.stream(key) as stream:
        while left:
            piece = stream.read(min(left, _PIECE))
            low, high, left = min(low, int(piece.min())), max(high, int(piece.max())), left - len(piece)
    return low, high


def _streamed(path: Path, archive: Archive, about: dict[str, np.ndarray]) -> Iterator[RawEvents]:
    labels, (height, width) = about["label"], (int(side) for side in about["sensor"])
    names = about["name"] if "name" in about else [f"{path.stem}[{i}]" for i in range(len(labels))]
    with ExitStack() as stack:
        streams = {key: stack.enter_context(archive.stream(key)) for key in "txyp"}
        for (start, stop), label, name in zip(pairwise(about["off"].tolist()), labels, names, strict=True):
            t, x, y, p = (streams[key].read(stop - start) for key in "txyp")
            yield RawEvents(t, x, y, p, (height, width), int(label), str(name), from_start=True, unit_open=True)
        for stream in streams.values():
            stream.end()
