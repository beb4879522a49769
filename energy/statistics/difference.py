# SPDX-License-Identifier: Apache-2.0
"""What differs between two runs, with its interval: clip by clip on the same clips, else as two samples."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import stats

from spikefold.energy.statistics.clips import NetworkClips
from spikefold.energy.statistics.uncertainty import bootstrap, checked, mean_of
from spikefold.errors import DataError
from spikefold.hardware.simulators.accuracy import Accuracy


@dataclass(frozen=True)
class Difference:
    """How a quantity differs between two runs: always the second minus the first, so below 0 the second has less.

    Attributes:
        paired: whether clip by clip, on the same clips; else as two samples.
        clips: of the first and of the second run.
        means: of the first and of the second run.
        difference: of the means.
        interval: 95 % bootstrap interval of the difference; None where a run has one clip.
        relative: the difference over the first mean; None where that is 0.
        relative_interval: its 95 % bootstrap interval; None too where a clip of the first run has nothing.
        lower: paired clips in which the second run has less; None if not paired.
        higher: in which it has more.
    """

    paired: bool
    clips: tuple[int, int]
    means: tuple[float, float]
    difference: float
    interval: tuple[float, float] | None
    relative: float | None
    relative_interval: tuple[float, float] | None
    lower: int | None
    higher: int | None

    def to_json(self) -> dict[str, object]:
        """Plain values for a report."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


def difference(first: np.ndarray, second: np.ndarray, *, paired: bool, seed: int = 0) -> Difference:
    """Compare a quantity over the clips of two runs, ``(N,)`` each.

    Raises:
        DataError: no clips, a value that is no finite number, or pairs of unequal number.
    """
    checked(first)
    checked(second)
    if paired and len(first) != len(second):
        raise DataError(f"{len(first)} and {len(second)} clips are no pairs", hint="compare them as two samples")
    means = mean_of(first), mean_of(second)
    x, y = first.astype(float), second.astype(float)
    interval = relative_interval = None
    if min(len(x), len(y)) > 1:
        interval = bootstrap((x, y), _mean_difference, seed, paired=paired, singles=(y - x,) if paired else (x, y))
        if x.min() > 0:  # else a resample may have nothing to divide by
            relative_interval = bootstrap(
                (x, y), _mean_ratio, seed, paired=paired, singles=(y / x,) if paired else (x, y)
            )
    return Difference(
        paired,
        (len(first), len(second)),
        means,
        means[1] - means[0],
        interval,
        (means[1] - means[0]) / means[0] if means[0] else None,
        relative_interval,
        int((second < first).sum()) if paired else None,
        int((second > first).sum()) if paired else None,
    )


@dataclass(frozen=True)
class AccuracyDifference:
    """How often two runs were right: the second minus the first.

    Attributes:
        paired: whether on the same clips.
        clips: of the first and of the second run.
        right: right clips of both.
        difference: of the shares of right clips.
        interval: Newcombe's 95 % interval (Statistics in Medicine 17, 1998: method 10, p. 873 and, paired, p. 2635).
        gained: paired clips that only the second run has right; None if not paired.
        lost: that only the first has right.
        p_value: exact McNemar test that gaining and losing are equally likely; None if not paired.
    """

    paired: bool
    clips: tuple[int, int]
    right: tuple[int, int]
    difference: float
    interval: tuple[float, float]
    gained: int | None
    lost: int | None
    p_value: float | None

    def to_json(self) -> dict[str, object]:
        """Plain values for a report."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


def accuracy_difference(first: np.ndarray, second: np.ndarray, *, paired: bool) -> AccuracyDifference:
    """Compare which clips two runs had right, ``(N,)`` bool each.

    Raises:
        DataError: no clips, or pairs of unequal number.
    """
    checked(first)
    checked(second)
    if paired and len(first) != len(second):
        raise DataError(f"{len(first)} and {len(second)} clips are no pairs", hint="compare them as two samples")
    one, two = (Accuracy(int(right.sum()), len(right)) for right in (first, second))
    gained = lost = p_value = None
    correlation = 0.0
    if paired:
        gained, lost = int((second & ~first).sum()), int((first & ~second).sum())
        correlation = _correlation(int((first & second).sum()), lost, gained, int((~first & ~second).sum()))
        p_value = float(stats.binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
    (low_1, high_1), (low_2, high_2) = one.interval, two.interval
    found = two.share - one.share
    down = _reach(two.share - low_2, high_1 - one.share, correlation)
    up = _reach(high_2 - two.share, one.share - low_1, correlation)
    return AccuracyDifference(
        paired,
        (one.clips, two.clips),
        (one.right, two.right),
        found,
        (found - down, found + up),
        gained,
        lost,
        p_value,
    )


def _reach(a: float, b: float, correlation: float) -> float:
    return math.sqrt(max(0.0, a * a - 2 * correlation * a * b + b * b))


def _correlation(both: int, first: int, second: int, none: int) -> float:
    """Newcombe's phi of a two by two table, with his continuity correction."""
    margins = (both + first) * (second + none) * (both + second) * (first + none)
    if margins == 0:
        return 0.0
    product, half = both * none - first * second, (both + first + second + none) / 2
    return (max(product - half, 0) if product > 0 else product) / math.sqrt(margins)


def compare(first: NetworkClips, second: NetworkClips, *, paired: bool, seed: int = 0) -> dict[str, Any]:
    """What differs between two networks, the second minus the first: a network and its baseline, or two runs.

    Returns:
        Plain values: ``accuracy``, ``spikes``, ``synops``, ``energy_pj`` (None where a run has none) and, where both
        have layers of the same names, ``layers`` with ``spikes`` and ``synops`` of each.
    """

    def both(x: np.ndarray, y: np.ndarray) -> dict[str, object]:
        return difference(x, y, paired=paired, seed=seed).to_json()

    ours, theirs = first.quantities, second.quantities
    found: dict[str, Any] = {"accuracy": accuracy_difference(first.right, second.right, paired=paired).to_json()}
    for name in ("spikes", "synops", "energy_pj"):
        found[name] = both(ours[name], theirs[name]) if name in ours and name in theirs else None
    names = first.layers if first.layers == second.layers else ()
    found["layers"] = {
        name: {
            "synops": both(first.events[index].sum(axis=0), second.events[index].sum(axis=0)),
            "spikes": both(first.spikes[index].sum(axis=0), second.spikes[index].sum(axis=0)),
        }
        for index, name in enumerate(names)
    }
    return found


def _mean_difference(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.asarray(y - x)


def _mean_ratio(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.asarray(y / x - 1)
