# SPDX-License-Identifier: Apache-2.0
"""How often a simulation names the right class, how much so few clips can tell, and how often classes tie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_Z95 = 1.959963984540054
"""The 97.5 % quantile of the standard normal distribution."""


@dataclass(frozen=True)
class Accuracy:
    """Right clips of all, and the 95 % interval of the share (Wilson's score interval, JASA 22, 1927).

    Attributes:
        right: clips whose class was named.
        clips: all clips.
        ties: clips in which several classes share the highest count; `predictions` says which of them is named.
    """

    right: int
    clips: int
    ties: int = 0

    def __add__(self, other: Accuracy) -> Accuracy:
        """Both sets of clips together."""
        return Accuracy(self.right + other.right, self.clips + other.clips, self.ties + other.ties)

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


def predictions(counts: np.ndarray, numbers: np.ndarray | None = None) -> np.ndarray:
    """The class of each clip: the one with most spikes, and of those that tie one without favour.

    Among the classes with the highest count the one with the largest mark is named, where the mark of a clip's number
    and a class is a hash of both. So no class is favoured over many clips, a clip is decided alike by every simulator
    that gives it the same tie, and nothing depends on how clips are put in batches as long as ``numbers`` is given.

    Args:
        counts: spikes ``(..., classes)``, mostly ``(N, classes)``.
        numbers: of each clip in its set, ``(...)`` whole numbers, 0 or more; None for 0, 1, 2, ... in the order of
            ``counts``.

    Returns:
        Classes ``(...)``.
    """
    clips = np.arange(counts[..., 0].size).reshape(counts.shape[:-1]) if numbers is None else np.asarray(numbers)
    marks = _marks(clips[..., None], np.arange(counts.shape[-1]))
    return np.where(_highest(counts), marks, 0).argmax(axis=-1)


def ties(counts: np.ndarray) -> int:
    """How many clips have several classes with the highest count; a clip without any spike is one of them."""
    return int((_highest(counts).sum(axis=-1) > 1).sum())


def accuracy(counts: np.ndarray, labels: np.ndarray, numbers: np.ndarray | None = None) -> Accuracy:
    """How many clips have most output spikes in their own class, ties decided as by `predictions`.

    Args:
        counts: spikes ``(N, classes)``.
        labels: class of each clip, ``(N,)``.
        numbers: of each clip in its set, ``(N,)``, as `predictions` takes them.
    """
    return Accuracy(int((predictions(counts, numbers) == labels).sum()), len(labels), ties(counts))


def _highest(counts: np.ndarray) -> np.ndarray:
    return np.asarray(counts == counts.max(axis=-1, keepdims=True))


def _marks(clips: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """A hash above 0 of each clip's number and class: SplitMix64 (Steele, Lea, Flood, OOPSLA 2014) of both.

    The generator's output is a bijection of 64 bits, so two classes of a clip have marks that differ, but for one in
    2^63, and then the lower class is named.
    """
    with np.errstate(over="ignore"):
        mixed = clips.astype(np.uint64) * np.uint64(2**20) + classes.astype(np.uint64)
        mixed = mixed * np.uint64(0x9E3779B97F4A7C15) + np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
    return mixed | np.uint64(1)
