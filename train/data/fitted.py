# SPDX-License-Identifier: Apache-2.0
"""Recordings as clips of a network that exists already: the binning is chosen so that frames have its input shape."""

from __future__ import annotations

from spikefold.config import DataConfig
from spikefold.errors import DataError
from spikefold.train.data.clips import ClipSet
from spikefold.train.data.datasets import Dataset, binning_for
from spikefold.train.data.frames import Binning, to_frames


def fitted_clips(
    dataset: Dataset, shape: tuple[int, int, int], config: DataConfig, calibration: int
) -> tuple[Binning, ClipSet, ClipSet]:
    """How recordings are cut into frames of ``shape`` ``(C, H, W)``; the first training clips, and all test clips.

    ``downsample`` is the smallest that gives the shape. The rest is `binning_for`'s: where the configuration leaves
    it open, ``dt_us`` spans a typical recording, and ``max_count`` is the most in training.

    Raises:
        DataError: no recordings to test on; no down-sampling of the sensor gives the shape, those near are named.
    """
    if not dataset.test:
        raise DataError("there are no test recordings", where=config.source, hint="set data.test_share above 0")
    given = [Binning(dataset.sensor, side, 1, 1).shape for side in range(1, max(dataset.sensor) + 1)]
    if shape not in given:
        height, width = dataset.sensor
        near = sorted(dict.fromkeys(given), key=lambda found: abs(found[1] - shape[1]) + abs(found[2] - shape[2]))[:4]
        raise DataError(
            f"recordings of {width}x{height} pixels do not give the network's input {shape}",
            where=config.source,
            hint=f"summing squares of pixels gives {', '.join(map(str, near))}; take recordings of the right size, "
            "or write `sensor` into the archive where events do not reach its border",
        )
    binning = binning_for(dataset, config.model_copy(update={"downsample": given.index(shape) + 1}))
    first = dataset.train[:calibration]
    training = ClipSet(to_frames(first, binning), dataset.labels("train")[: len(first)])
    return binning, training, ClipSet(to_frames(dataset.test, binning), dataset.labels("test"))
