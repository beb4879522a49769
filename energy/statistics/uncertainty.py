# SPDX-License-Identifier: Apache-2.0
"""How sure a mean over test clips is. Counts are exact; clips are a sample, and that is all an interval speaks of.

Intervals are bias-corrected and accelerated bootstrap intervals (BCa; Efron, JASA 82, 1987), for the operations of
clips are skewed. Of 30 clips of a strongly skewed quantity (log-normal, sigma 0.8) they hold the true mean in 90 % of
cases, not in 95 %. The band of a technology's constants is no sampling, and is never mixed in: see `sensitivity`.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from scipy import special

from spikefold.errors import DataError

CONFIDENCE = 0.95
RESAMPLES = 4999
WITHIN_PERCENT = (1, 2, 5, 10)
_LARGEST_BATCH = 2_000_000
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Distribution:
    """One quantity over the clips of a run.

    Attributes:
        clips: how many.
        mean: over the clips.
        sd: standard deviation of single clips, with N - 1; None for one clip.
        interval: 95 % bootstrap interval of the mean; None for one clip.
        p95: the least value that 95 % of the clips do not exceed.
        worst: the largest value.
        worst_clip: the first clip with it, counted from 0.
        clips_needed: by percent, clips for a mean whose 95 % interval reaches no further to either side; None where
            there is no mean or no deviation to go by.
    """

    clips: int
    mean: float
    sd: float | None
    interval: tuple[float, float] | None
    p95: float
    worst: float
    worst_clip: int
    clips_needed: dict[str, int | None]

    def to_json(self) -> dict[str, object]:
        """Plain values for a report."""
        return asdict(self) | {"interval": None if self.interval is None else list(self.interval)}


def distribution(values: np.ndarray, seed: int = 0) -> Distribution:
    """Describe a quantity over clips, ``(N,)``.

    Clips needed for a mean within x: ``(z sd / (x mean))^2``, the normal approximation.

    Raises:
        DataError: no clips, or a value that is no finite number.
    """
    checked(values)
    mean = mean_of(values)
    sd = float(np.std(values.astype(float), ddof=1)) if len(values) > 1 else None
    worst = int(np.argmax(values))
    z = statistics.NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    needed = {
        str(percent): None if sd is None or mean == 0 else max(1, math.ceil((z * sd / (percent / 100 * mean)) ** 2))
        for percent in WITHIN_PERCENT
    }
    p95 = float(np.quantile(values, 0.95, method="inverted_cdf"))
    return Distribution(len(values), mean, sd, mean_interval(values, seed), p95, float(values[worst]), worst, needed)


def mean_interval(values: np.ndarray, seed: int = 0) -> tuple[float, float] | None:
    """95 % bootstrap interval of the mean of clips ``(N,)``; None for one clip."""
    if len(values) < 2:
        return None
    sample = values.astype(float)
    return bootstrap((sample,), lambda mean: mean, seed, paired=True, singles=(sample,))


def bootstrap(
    samples: Sequence[np.ndarray],
    of_means: Callable[..., np.ndarray],
    seed: int,
    *,
    paired: bool,
    singles: Sequence[np.ndarray],
) -> tuple[float, float]:
    """BCa interval of a function of means.

    The acceleration needs the statistic without each clip in turn. Of a function of means it follows from the sums,
    so time grows with the clips, and not with their square as where a library leaves them out one by one.

    Args:
        samples: one or two, float64 ``(N,)``.
        of_means: the statistic, of the mean of each sample; it works on arrays of means too.
        seed: of the resampling.
        paired: whether two samples are drawn together.
        singles: what each draw contributes; where these do not vary, every resample gives the same one value.
    """
    found = float(of_means(*(x.mean() for x in samples)))
    if all(np.ptp(x) <= _ROUNDING * np.abs(x).max() for x in singles):
        return found, found
    drawn = _resampled(samples, of_means, np.random.default_rng(seed), paired=paired)
    below = (np.count_nonzero(drawn < found) + np.count_nonzero(drawn <= found)) / (2 * len(drawn))
    bias, acceleration = special.ndtri(below), _acceleration(samples, of_means, paired=paired)
    ends = []
    for level in ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2):
        moved = bias + special.ndtri(level)
        ends.append(float(np.percentile(drawn, special.ndtr(bias + moved / (1 - acceleration * moved)) * 100)))
    return ends[0], ends[1]


def _resampled(
    samples: Sequence[np.ndarray], of_means: Callable[..., np.ndarray], rng: np.random.Generator, *, paired: bool
) -> np.ndarray:
    """The statistic of `RESAMPLES` resamples, drawn in batches that fit in memory."""
    each, found = max(1, _LARGEST_BATCH // max(len(x) for x in samples)), []
    for start in range(0, RESAMPLES, each):
        count = min(each, RESAMPLES - start)
        if paired:
            chosen = rng.integers(0, len(samples[0]), (count, len(samples[0])))
            means = [x[chosen].mean(axis=-1) for x in samples]
        else:
            means = [x[rng.integers(0, len(x), (count, len(x)))].mean(axis=-1) for x in samples]
        found.append(of_means(*means))
    return np.concatenate(found)


def _acceleration(samples: Sequence[np.ndarray], of_means: Callable[..., np.ndarray], *, paired: bool) -> float:
    """Efron and Tibshirani, An Introduction to the Bootstrap, 1993, equation 14.15; several samples as in scipy."""
    without = [(x.sum() - x) / (len(x) - 1) for x in samples]
    if paired:
        left_out = [of_means(*without)]
    else:
        left_out = [
            of_means(*(without[other] if other == one else samples[other].mean() for other in range(len(samples))))
            for one in range(len(samples))
        ]
    cubes = squares = 0.0
    for values in left_out:
        count = len(values)
        influence = (count - 1) * (values.mean() - values)
        cubes += float((influence**3).sum()) / count**3
        squares += float((influence**2).sum()) / count**2
    return cubes / 6 / squares**1.5


def checked(values: np.ndarray) -> None:
    """Refuse what no statistics can be made of.

    Raises:
        DataError: not ``(N,)``, empty, or a value that is no finite number.
    """
    if values.ndim != 1 or not len(values):
        raise DataError(f"values {values.shape} are not one for each clip", hint="give at least one clip")
    if not np.isfinite(values).all():
        raise DataError(
            f"clips {np.flatnonzero(~np.isfinite(values))[:10].tolist()} have no finite value",
            hint="a quantity that is unknown has no distribution; leave it out",
        )


def mean_of(values: np.ndarray) -> float:
    """Mean over clips ``(N,)``; whole numbers are added up exactly before the one division."""
    if np.issubdtype(values.dtype, np.integer):
        return sum(values.tolist()) / len(values)
    return math.fsum(values.tolist()) / len(values)
