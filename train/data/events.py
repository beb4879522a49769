# SPDX-License-Identifier: Apache-2.0
"""`Recording`: one event stream of an event camera, and the packed ``.npz`` file that holds many of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spikefold.errors import DataError
from spikefold.event_dtype import EVENT_DTYPE
from spikefold.npz import Pieces, read_arrays, writing_archive
from spikefold.train.data.repairs import NONE, Repairs

_PACKED_KEYS = ("x", "y", "p", "t", "off", "label")


@dataclass(frozen=True)
class Recording:
    """One event stream.

    Attributes:
        events: structured array of `EVENT_DTYPE`, sorted by ``t``, read-only.
        sensor: ``(H, W)`` in pixels.
        label: class index, -1 where unknown.
        name: for messages and reports.
        repairs: what was repaired while it was read.
        part: 0, or the number of this part of a recording that was cut where its clock was set back.

    Raises:
        DataError: an event outside the sensor, a polarity other than 0 and 1, or time running backwards.
    """

    events: np.ndarray
    sensor: tuple[int, int]
    label: int = -1
    name: str = ""
    repairs: Repairs = NONE
    part: int = 0

    def __post_init__(self) -> None:
        if self.events.dtype != EVENT_DTYPE:
            raise DataError(
                f"events have dtype {self.events.dtype}, not (t, x, y, p)",
                where=self.name,
                hint="build them with spikefold.train.data.events.pack_events",
            )
        height, width = self.sensor
        if len(self.events):
            x_max, y_max = int(self.events["x"].max()), int(self.events["y"].max())
            if x_max >= width or y_max >= height:
                raise DataError(
                    f"event address x={x_max}, y={y_max} lies outside the {width}x{height} sensor",
                    where=self.name,
                    hint="check the sensor size, or whether x and y were swapped",
                )
            if int(self.events["p"].max()) > 1:
                raise DataError("polarity is neither 0 nor 1", where=self.name, hint="map OFF to 0, ON to 1")
            if np.any(self.events["t"][1:] < self.events["t"][:-1]):
                raise DataError("timestamps run backwards", where=self.name, hint="sort the events by time")
        self.events.setflags(write=False)

    @property
    def duration_us(self) -> int:
        """Time of the last event in microseconds, 0 without events."""
        return int(self.events["t"][-1]) if len(self.events) else 0


def pack_events(t: np.ndarray, x: np.ndarray, y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Four equally long columns of whole numbers as one array of `EVENT_DTYPE`.

    Raises:
        DataError: columns of different length, numbers that are not whole or that the field cannot hold.
    """
    columns = {"t": t, "x": x, "y": y, "p": p}
    if len({np.shape(column) for column in columns.values()}) != 1 or np.ndim(t) != 1:
        shapes = ", ".join(f"{key} {np.shape(column)}" for key, column in columns.items())
        raise DataError(f"the columns of events differ in shape: {shapes}", hint="one entry of each for every event")
    events = np.empty(len(t), EVENT_DTYPE)
    for key, column in columns.items():
        # assigned as it is, a number too large would wrap around silently
        info = np.iinfo(EVENT_DTYPE[key])
        values = np.asarray(column)
        if not np.issubdtype(values.dtype, np.integer):
            raise DataError(f"{key} holds {values.dtype}, not whole numbers", hint="convert it to integers")
        if len(values) and not info.min <= int(values.min()) <= int(values.max()) <= info.max:
            raise DataError(
                f"{key} runs from {values.min()} to {values.max()}, beyond {info.min} to {info.max}",
                hint="times are microseconds from the start of the recording, addresses are pixels",
            )
        events[key] = values
    return events


def save_packed(path: Path, recordings: Sequence[Recording]) -> None:
    """Write recordings of one sensor as a packed ``.npz`` without pickles.

    Keys: ``x, y, p, t`` all events one after another, ``off`` int64 so that recording i is
    ``off[i]:off[i+1]``, ``label`` int64, ``name`` str, ``sensor`` ``(H, W)``.
    """
    offsets = np.concatenate([[0], np.cumsum([len(r.events) for r in recordings], dtype=np.int64)])
    about = {
        "off": offsets.astype(np.int64),
        "label": np.array([r.label for r in recordings], np.int64),
        "name": np.array([r.name for r in recordings], str),
        "sensor": np.array(recordings[0].sensor if recordings else (0, 0), np.int64),
    }
    with writing_archive(path) as archive:
        for key in "xypt":
            # taken by the archive before the next key comes
            pieces = (recording.events[key] for recording in recordings)
            archive.add_pieces(key, Pieces(EVENT_DTYPE[key], int(offsets[-1]), pieces))
        for key, array in about.items():
            archive.add(key, array)


def load_packed(path: Path, sensor: tuple[int, int] | None = None) -> list[Recording]:
    """Read a packed ``.npz``; see `save_packed` for its keys.

    Args:
        path: the file.
        sensor: ``(H, W)``; needed only where the file does not say, else the tightest square is taken.

    Raises:
        DataError: the file is missing, truncated, not an archive, lacks a key, or its offsets are broken.
    """
    data = read_arrays(path, "packed recordings")
    try:
        check_packed(data)
        labels, offsets = data["label"], data["off"]
        names = data.get("name", np.array([f"{path.stem}[{i}]" for i in range(len(labels))]))
        size = sensor or sensor_of(data)
        events = pack_events(*(data[key] for key in "txyp"))
    except DataError as error:
        raise DataError(error.what, where=str(path), hint=error.hint) from error
    return [
        Recording(events[start:stop].copy(), size, int(label), f"{path.name}:{name}")
        for start, stop, label, name in zip(offsets[:-1], offsets[1:], labels, names, strict=True)
    ]


def check_packed(data: dict[str, np.ndarray]) -> None:
    """That the arrays are those of `save_packed`; the events themselves are checked by `Recording`.

    Raises:
        DataError: a key is missing, or offsets, labels, names and events do not fit together.
    """
    missing = [key for key in _PACKED_KEYS if key not in data]
    if missing:
        needed = ", ".join(_PACKED_KEYS)
        raise DataError(
            f"packed recordings lack the keys {', '.join(missing)}", hint=f"needed: {needed}; optional: name, sensor"
        )
    offsets, labels, events = data["off"], data["label"], data["t"]
    for key in ("off", "label"):
        if data[key].ndim != 1 or not np.issubdtype(data[key].dtype, np.integer):
            raise DataError(f"{key} is {data[key].dtype} {data[key].shape}", hint="a list of whole numbers")
    whole = len(offsets) == len(labels) + 1 and offsets[0] == 0 and bool(np.all(np.diff(offsets) >= 0))
    if not whole or len(events) != offsets[-1]:
        raise DataError(
            f"offsets do not match: {len(offsets)} offsets, {len(labels)} labels, {len(events)} events",
            hint="recording i must be off[i]:off[i+1], and off[-1] the number of events",
        )
    if "name" in data and data["name"].shape != labels.shape:
        raise DataError(f"{data['name'].shape} names for {len(labels)} recordings", hint="one name each")


def sensor_of(data: dict[str, np.ndarray]) -> tuple[int, int]:
    """``(H, W)`` that an archive gives, else the tightest square around its addresses.

    Raises:
        DataError: ``sensor`` is not two whole numbers.
    """
    if "sensor" in data:
        sensor = data["sensor"]
        if sensor.shape != (2,) or not np.issubdtype(sensor.dtype, np.integer):
            raise DataError(f"sensor is {sensor.dtype} {sensor.shape}", hint="two whole numbers: height, width")
        return int(sensor[0]), int(sensor[1])
    side = int(max(data["x"].max(initial=0), data["y"].max(initial=0))) + 1
    return side, side
