# SPDX-License-Identifier: Apache-2.0
"""Counts how often a run was right, and says how well so few clips can tell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_Z95 = 1.959963984540054
"""The 97.5 % quantile of the standard normal distribution."""


@dataclass(frozen=True)
class Accuracy:
    """Right clips of all, and the 95 % interval of the share (Wilson's score interval, JASA 22, 1927)."""

    right: int
    clips: int

    @property
    def share(self) -> float:
        """Right clips over all clips."""
        return self.right / self.clips

    @property
    def interval(self) -> tuple[float, float]:
        """Lowest and highest share that these clips do not contradict at 95 %."""
        n, p, z = self.clips, self.share, _Z95
        centre = (p + z * z / (2 * n)) / (1 + z * z / n)
        reach = z / (1 + z * z / n) * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
        return max(0.0, centre - reach), min(1.0, centre + reach)


def predictions(counts: np.ndarray) -> np.ndarray:
    """Class per clip from spike counts ``(N, classes)``; of equal counts the lowest class wins, on every runner."""
    return np.asarray(counts.argmax(axis=1))


def accuracy(counts: np.ndarray, labels: np.ndarray) -> Accuracy:
    """How many clips have most output spikes in their own class."""
    return Accuracy(int((predictions(counts) == labels).sum()), len(labels))
