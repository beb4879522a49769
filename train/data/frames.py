# SPDX-License-Identifier: Apache-2.0
"""Events to frames: counts per bin, polarity and (down-sampled) pixel.

Bins are stretches of equal time, or hold equally many events: event ``i`` of ``n`` then lies in bin
``min(i // (n // T), T - 1)``, so the last bin takes what does not divide. Source: SpikingJelly 2.0,
``split_by="number"``; a recording of fewer than T events, where that puts all of them into the last bin, gets one
event a bin here.

Of a data set of images each is a frame already: `spikefold.train.data.sources.har_dvs`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from math import prod

import numpy as np

from spikefold.errors import ConfigError, DataError
from spikefold.event_dtype import read_only
from spikefold.train.data import event_loops
from spikefold.train.data.augment import Change, moved
from spikefold.train.data.events import Recording
from spikefold.train.data.moved_counts import OUTSIDE, moved_counts

_MOST_VALUES = 2**28
"""Of one clip, two bytes each: the largest sensor that is believed, with both polarities, in 32 steps."""


class Bins(StrEnum):
    """What the bins of a clip have in common."""

    TIME = "time"
    COUNT = "count"
    IMAGES = "images"


@dataclass(frozen=True)
class Binning:
    """How a clip is cut into frames.

    Attributes:
        sensor: ``(H, W)`` that the network was built for, in pixels; of images the size that they are brought to.
        downsample: side of the square of pixels whose events are summed into one input pixel, or whose mean it is.
        dt_us: length of a time bin in microseconds; nominal where bins hold equally many events, and of images.
        steps: bins T of one clip; later events are left out.
        max_count: events of one input pixel in one bin, or values of a pixel, beyond this are left out.
        bins: equally long, or with equally many events, or images.
    """

    sensor: tuple[int, int]
    downsample: int
    dt_us: int
    steps: int
    max_count: int = np.iinfo(np.uint16).max
    bins: Bins = Bins.TIME

    @property
    def shape(self) -> tuple[int, int, int]:
        """Input shape ``(C, H, W)`` of the network, C = (OFF, ON), or (red, green, blue)."""
        height, width = (-(-side // self.downsample) for side in self.sensor)
        return 3 if self.bins is Bins.IMAGES else 2, height, width

    @property
    def clip_us(self) -> int:
        """Length of a clip in microseconds."""
        return self.steps * self.dt_us


def to_frames(recordings: Sequence[Recording], binning: Binning) -> np.ndarray:
    """The first clip of each recording: event counts ``(T, N, C, H, W)``, uint16.

    Pixel ``(x, y)`` adds to column ``x``, row ``y``.

    Raises:
        DataError: a recording's sensor is larger than the network's, or holds no event in the clip; every such
            recording is named.
    """
    check_sensors(recordings, binning)
    frames = np.zeros((binning.steps, len(recordings), *binning.shape), np.uint16)
    for index, recording in enumerate(recordings):
        frames[:, index] = cut(recording.events, binning)
    empty = np.flatnonzero(frames.sum(axis=(0, 2, 3, 4), dtype=np.int64) == 0)
    if len(empty):
        raise DataError(
            f"{len(empty)} recordings have no event in the first {binning.clip_us} us",
            where=recordings[int(empty[0])].name,
            hint="remove them, or choose a longer clip",
        )
    return frames


def check_sensors(recordings: Sequence[Recording], binning: Binning) -> None:
    """Every recording fits the sensor that the network was built for, and a clip fits in memory.

    Raises:
        DataError: some do not.
        ConfigError: a clip has more values than are believed.
    """
    values = binning.steps * prod(binning.shape)
    if values > _MOST_VALUES:
        raise ConfigError(
            f"a clip of {binning.steps} steps of {binning.shape} has {values:,} values, more than {_MOST_VALUES:,}",
            where="data.steps",
            hint="fewer steps, or a smaller input (data.sensor, data.downsample)",
        )
    too_large = [r for r in recordings if r.sensor[0] > binning.sensor[0] or r.sensor[1] > binning.sensor[1]]
    if too_large:
        (have, allowed) = ("{1}x{0}".format(*sensor) for sensor in (too_large[0].sensor, binning.sensor))
        raise DataError(
            f"{len(too_large)} recordings are larger than the network's sensor {allowed}, the first is {have}",
            where=too_large[0].name,
            hint="train a network for that sensor, or crop the recordings",
        )


def window(events: np.ndarray, binning: Binning, start_us: int) -> np.ndarray:
    """The events of the clip that starts at a moment, times from there; all events where bins are by count."""
    if binning.bins is Bins.COUNT:
        return events
    if start_us == 0 and (not len(events) or events["t"][-1] < binning.clip_us):
        return events  # a search would copy all times
    first, last = np.searchsorted(events["t"], (start_us, start_us + binning.clip_us))
    if start_us == 0:
        return events[first:last]
    chosen = events[first:last].copy()
    chosen["t"] -= np.uint32(start_us)
    return chosen


def cut(events: np.ndarray, binning: Binning) -> np.ndarray:
    """Counts ``(T, C, H, W)``, uint16, of events sorted by time; those after the clip are left out."""
    events = window(events, binning, 0)
    counts = np.zeros((binning.steps, *binning.shape), np.uint16)
    most, side = min(binning.max_count, int(np.iinfo(np.uint16).max)), binning.downsample
    by_time = binning.bins is Bins.TIME
    each = binning.dt_us if by_time else max(1, len(events) // binning.steps)
    wrong = event_loops.counted(counts, read_only(events), _cells(side), each, by_time, most)
    if wrong >= 0:
        reached = tuple(int(v) for v in (events["p"].max(), events["y"].max() // side, events["x"].max() // side))
        raise DataError(f"events reach (polarity, row, column) {reached} of an input of {counts.shape[1:]}")
    return counts


def cut_moved(events: np.ndarray, binning: Binning, change: Change) -> np.ndarray:
    """What `cut` makes of what `augment.moved` makes of the events of a clip, whose bins are of equal time."""
    counts = np.zeros((binning.steps, *binning.shape), np.uint16)
    most = min(binning.max_count, int(np.iinfo(np.uint16).max))
    width, height = (int(side) for side in change.sides)
    rows, columns = _pixels(height, binning.downsample, binning.shape[2]), _pixels(width, binning.downsample, 1)
    kept = moved_counts(
        counts.reshape(binning.steps, binning.shape[0], -1),
        read_only(events),
        *(change.within, change.matrix, change.offset, change.sides),
        *(rows, columns, binning.dt_us, most),
    )
    return counts if kept > 0 else cut(moved(events, change), binning)


@lru_cache(maxsize=8)
def _pixels(side: int, downsample: int, each: int) -> np.ndarray:
    """What `moved_counts` asks for of the rows or columns of a sensor."""
    return np.concatenate([[OUTSIDE], np.arange(side) // downsample * each])


@lru_cache(maxsize=8)
def _cells(side: int) -> np.ndarray:
    """The input's row or column of each of the sensor's, at most 2**16."""
    return (np.arange(2**16) // side).astype(np.uint16)
