# SPDX-License-Identifier: Apache-2.0
"""Events to frames: counts per time bin, polarity and (down-sampled) pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spikefold.errors import DataError
from spikefold.train.events import Recording


@dataclass(frozen=True)
class Binning:
    """How a clip is cut into frames.

    Attributes:
        sensor: ``(H, W)`` that the network was built for, in pixels.
        downsample: side of the square of pixels whose events are summed into one input pixel.
        dt_us: length of a time bin in microseconds.
        steps: bins T of one clip; later events are left out.
        max_count: events of one input pixel in one bin beyond this are left out.
    """

    sensor: tuple[int, int]
    downsample: int
    dt_us: int
    steps: int
    max_count: int = np.iinfo(np.uint16).max

    @property
    def shape(self) -> tuple[int, int, int]:
        """Input shape ``(C, H, W)`` of the network, C = (OFF, ON)."""
        return 2, -(-self.sensor[0] // self.downsample), -(-self.sensor[1] // self.downsample)


def to_frames(recordings: Sequence[Recording], binning: Binning) -> np.ndarray:
    """Event counts ``(T, N, C, H, W)``, uint16. Pixel ``(x, y)`` adds to column ``x``, row ``y``.

    Raises:
        DataError: a recording's sensor is larger than the network's, or holds no event in the clip; every such
            recording is named.
    """
    too_large = [r for r in recordings if r.sensor[0] > binning.sensor[0] or r.sensor[1] > binning.sensor[1]]
    if too_large:
        (have, allowed) = ("{1}x{0}".format(*sensor) for sensor in (too_large[0].sensor, binning.sensor))
        raise DataError(
            f"{len(too_large)} recordings are larger than the network's sensor {allowed}, the first is {have}",
            where=too_large[0].name,
            hint="train a network for that sensor, or crop the recordings",
        )
    frames = np.zeros((binning.steps, len(recordings), *binning.shape), np.uint16)
    for index, recording in enumerate(recordings):
        frames[:, index] = _one(recording, binning)
    empty = np.flatnonzero(frames.sum(axis=(0, 2, 3, 4), dtype=np.int64) == 0)
    if len(empty):
        raise DataError(
            f"{len(empty)} recordings have no event in the first {binning.steps * binning.dt_us} us",
            where=recordings[int(empty[0])].name,
            hint="remove them, or choose a longer clip",
        )
    return frames


def _one(recording: Recording, binning: Binning) -> np.ndarray:
    events = recording.events
    events = events[: np.searchsorted(events["t"], binning.steps * binning.dt_us)]
    shape = (binning.steps, *binning.shape)
    # wide numbers: the divisors need not fit the fields of a recording
    step, row, column = (
        events[key].astype(np.int64) // divisor
        for key, divisor in (("t", binning.dt_us), ("y", binning.downsample), ("x", binning.downsample))
    )
    flat = np.ravel_multi_index((step, events["p"], row, column), shape)
    counts = np.bincount(flat, minlength=int(np.prod(shape)))
    return np.minimum(counts, binning.max_count).reshape(shape).astype(np.uint16)
