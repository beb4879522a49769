# SPDX-License-Identifier: Apache-2.0
"""Clips of images: opened batch by batch where a network is trained or tested, held where later stages need them all.

HAR-DVS at 224x224 pixels is 2.4 MB a clip and 107,646 clips: 259 GB. A training reads every clip once an epoch and
keeps none. The stages behind it hold theirs, with all spikes of all layers, so they are given as many clips of each
split as ``data.held`` says, drawn by the seed: the first of them are as fair a sample as all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from spikefold.errors import ConfigError
from spikefold.train.data.clips import ClipSet
from spikefold.train.data.frames import Binning
from spikefold.train.data.sources.har_dvs import FrameClip

_MOST_BYTES = 4 << 30
"""Of frames held at once."""


@dataclass(frozen=True, eq=False)
class ImageClips:
    """Clips that a training opens batch by batch, the same in every epoch.

    Attributes:
        samples: with labels.
        binning: of a clip.
    """

    samples: Sequence[FrameClip]
    binning: Binning

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def labels(self) -> np.ndarray:
        """``(N,)`` int64."""
        return np.array([sample.label for sample in self.samples], np.int64)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """``(T, C, H, W)`` of one clip."""
        return self.binning.steps, *self.binning.shape

    def batch(self, chosen: np.ndarray, epoch: int) -> np.ndarray:
        """Frames ``(T, N, C, H, W)``, uint16, of the chosen samples, read now.

        Raises:
            DataError: an image cannot be opened or has another size.
        """
        frames = np.empty((self.binning.steps, len(chosen), *self.binning.shape), np.uint16)
        for place, index in enumerate(chosen):
            frames[:, place] = self.samples[index].cut(self.binning)
        return frames

    def fingerprint(self) -> str:
        """SHA-256 over how images are read and each sample's label and names; not over what is in the images."""
        digest = hashlib.sha256(f"{self.binning}\n".encode())
        for sample in self.samples:
            digest.update(f"{sample.label} {sample.name} {' '.join(sample.files)}\n".encode())
        return digest.hexdigest()

    def drawn(self, count: int | None, seed: int) -> ImageClips:
        """So many of the samples, or all of them, in an order drawn by the seed.

        Raises:
            ConfigError: more than can be held.
        """
        kept = len(self) if count is None else min(count, len(self))
        each = prod(self.shape) * np.dtype(np.uint16).itemsize
        if kept * each > _MOST_BYTES:
            raise ConfigError(
                f"later stages would hold {kept:,} clips of {each:,} bytes in memory, {kept * each / 1e9:.1f} GB",
                where="data.held",
                hint=f"data.held = {_MOST_BYTES // each} at most, or a smaller input (data.sensor, data.downsample); "
                "the training itself reads every clip in any case",
            )
        order = np.random.default_rng(seed).permutation(len(self))[:kept]
        return ImageClips([self.samples[index] for index in order], self.binning)

    def held(self) -> ClipSet:
        """All of them, opened."""
        return ClipSet(self.batch(np.arange(len(self)), 1), self.labels)
