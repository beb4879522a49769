# SPDX-License-Identifier: Apache-2.0
"""How busy the cores of a chip are: synaptic operations a second against a limit, and the time of a Loihi step.

Means hide bursts: the busiest step of the busiest clip can ask for three times the mean (facts, energy 2.4), and a
core that is too slow for it stalls or falls behind.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Any, Literal

from spikefold.energy.chip.power import operations, step_us
from spikefold.energy.counts.count import Counts, LayerCounts
from spikefold.energy.prices.load import TechnologyProfile
from spikefold.errors import ConfigError, MismatchError

Light = Literal["unknown", "green", "amber", "red"]


@dataclass(frozen=True)
class Spread:
    """How a layer lies on cores.

    Attributes:
        cores: over how many it is spread.
        busiest: share of its operations and neurons on the core with most of them; None: all alike.
        numbers: of the cores; empty where they are only counted.

    Raises:
        MismatchError: no core at all, or a share that the busiest of so many cores cannot have.
    """

    cores: int = 1
    busiest: Fraction | None = None
    numbers: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.cores < 1 or not Fraction(1, self.cores) <= self.share <= 1:
            raise MismatchError(f"{self.share} of a layer on the busiest of {self.cores} cores")

    @property
    def share(self) -> Fraction:
        """Of the busiest core."""
        return Fraction(1, max(1, self.cores)) if self.busiest is None else self.busiest


@dataclass(frozen=True)
class CoreRate:
    """The busiest core of one layer: its synaptic operations a second, against what a core can do.

    Attributes:
        layer: the weight layer.
        spread: the cores that it lies on.
        mean_per_s: over all steps and clips.
        peak_per_s: in the busiest step of the busiest clip.
        limit_per_s: what a core can do; None where nobody says.
        smallest_dt_us: length of a step, in whole microseconds, from which the same events keep within the limit.
    """

    layer: str
    spread: Spread
    mean_per_s: float
    peak_per_s: float
    limit_per_s: float | None
    smallest_dt_us: int | None

    @property
    def light(self) -> Light:
        """``red`` where the mean is above the limit, ``amber`` where only the busiest step is."""
        if self.limit_per_s is None:
            return "unknown"
        if self.mean_per_s > self.limit_per_s:
            return "red"
        return "amber" if self.peak_per_s > self.limit_per_s else "green"

    @property
    def advice(self) -> str:
        """The smallest change that helps; empty where none is needed."""
        if self.light in ("unknown", "green") or self.limit_per_s is None:
            return ""
        enough = ceil(self.peak_per_s / float(self.spread.share) / self.limit_per_s)
        longer = f"steps of {self.smallest_dt_us} us or longer with the same events"
        if enough <= self.spread.cores:
            return f"{longer}, or shares of {self.layer} that are more alike"
        return f"{longer}, or {enough} cores for {self.layer} in place of {self.spread.cores}"

    def to_json(self) -> dict[str, Any]:
        """Plain values for a report."""
        cores = {
            "cores": self.spread.cores,
            "busiest": float(self.spread.share),
            "numbers": list(self.spread.numbers),
        }
        names = ("layer", "mean_per_s", "peak_per_s", "limit_per_s", "smallest_dt_us", "light", "advice")
        return {name: getattr(self, name) for name in names} | cores


def core_rates(
    counts: Counts,
    limit_per_s: float | None = None,
    *,
    cores: Mapping[str, Spread] | None = None,
    dt_us: float | None = None,
    graded: bool = False,
) -> tuple[CoreRate, ...]:
    """Rates of the busiest core of each layer with synapses.

    Args:
        counts: of `counts.count`, with series.
        limit_per_s: synaptic operations a second that one core can do. For Speck nobody publishes it.
        cores: how a layer lies on cores; on one where it is not named.
        dt_us: length of a step; that of the counts where not given.
        graded: see `power.operations`.

    Raises:
        ConfigError: no length of a step, or a limit that is not above 0.
        MismatchError: the counts hold totals only, or name no such layer.
    """
    if limit_per_s is not None and limit_per_s <= 0:
        raise ConfigError(f"a limit of {limit_per_s:g} SynOps/s", where="limit_per_s", hint="give a number above 0")
    spread, second = _spread(counts, cores), Fraction(1_000_000)
    step = Fraction(step_us(counts, dt_us))
    rates = []
    for layer in _with_synapses(counts):
        lies, synops = spread[layer.name], operations(graded)
        mean = lies.share * Fraction(getattr(layer, synops), counts.clips * counts.steps)
        peak = lies.share * _peak(layer, synops)
        rates.append(
            CoreRate(
                layer.name,
                lies,
                float(mean * second / step),
                float(peak * second / step),
                limit_per_s,
                None if limit_per_s is None else ceil(peak * second / Fraction(limit_per_s)),
            )
        )
    return tuple(rates)


@dataclass(frozen=True)
class StepTime:
    """How long a step takes at least on a chip that ends each step with a barrier.

    The core with most to do sets the pace: ``max over cores of (synaptic operations x time + neurons x time) +
    barrier``, or the larger of the two parts where the profile says that they overlap. Communication is left out, so
    it is a lower bound; low and high are the bands of the constants.

    Attributes:
        profile: name of the technology that the times are of.
        layer: the one on the slowest core, in its busiest step.
        mean_us: low and high of the mean step.
        peak_us: low and high of the busiest step.
        dt_us: length of a step in real time.
        where: lines of the constants.
    """

    profile: str
    layer: str
    mean_us: tuple[float, float]
    peak_us: tuple[float, float]
    dt_us: float
    where: tuple[str, ...]

    @property
    def light(self) -> Light:
        """``red`` where even the low end of a mean step is too long for real time; ``green`` where all peaks fit."""
        if self.mean_us[0] > self.dt_us:
            return "red"
        return "green" if self.peak_us[1] <= self.dt_us else "amber"

    def to_json(self) -> dict[str, Any]:
        """Plain values for a report."""
        ends = {"mean_us": list(self.mean_us), "peak_us": list(self.peak_us), "where": list(self.where)}
        return vars(self) | ends | {"light": self.light}


def step_time(
    counts: Counts,
    profile: TechnologyProfile,
    *,
    cores: Mapping[str, Spread] | None = None,
    dt_us: float | None = None,
    graded: bool = False,
) -> StepTime:
    """Estimate the time of a step, after Davies et al. 2018.

    Args:
        counts: of `counts.count`, with series.
        profile: one with times, such as ``loihi1-presilicon``.
        cores: how a layer lies on cores; on one where it is not named.
        dt_us: length of a step in real time; that of the counts where not given.
        graded: see `power.operations`.

    Raises:
        ConfigError: a profile without times or with an unknown one, or no length of a step.
        MismatchError: the counts hold totals only, or name no such layer.
    """
    times = profile.time_ns
    if times is None:
        raise ConfigError(
            f"{profile.name} says nothing about times",
            where="energy_profile",
            hint="take loihi1-presilicon or loihi1-fitted",
        )
    spread, frames, ops = _spread(counts, cores), counts.clips * counts.steps, operations(graded, profile)
    combine = max if times.combine == "largest" else _sum_of_two
    layers = _with_synapses(counts)

    def core_us(layer: LayerCounts, synops: float, end: int) -> float:
        share = float(spread[layer.name].share)
        return share * combine(synops * times.synop.bounds[end], layer.neurons * times.neuron.bounds[end]) / 1e3

    barrier_us = [bound / 1e3 for bound in times.barrier.bounds]
    mean_us = [max((core_us(la, getattr(la, ops) / frames, end) for la in layers), default=0.0) for end in (0, 1)]
    peak_us = [max((core_us(la, _peak(la, ops), end) for la in layers), default=0.0) for end in (0, 1)]
    slowest = max(layers, key=lambda layer: core_us(layer, _peak(layer, ops), 1))
    return StepTime(
        profile.name,
        slowest.name,
        (mean_us[0] + barrier_us[0], mean_us[1] + barrier_us[1]),
        (peak_us[0] + barrier_us[0], peak_us[1] + barrier_us[1]),
        step_us(counts, dt_us),
        (times.synop.where, times.neuron.where, times.barrier.where),
    )


def _sum_of_two(first: float, second: float) -> float:
    return first + second


def _with_synapses(counts: Counts) -> list[LayerCounts]:
    found = [layer for layer in counts.layers if layer.dense]
    if not found:
        raise MismatchError("the counts hold no layer with synapses")
    return found


def _spread(counts: Counts, cores: Mapping[str, Spread] | None) -> dict[str, Spread]:
    """By layer."""
    names = {layer.name for layer in counts.layers}
    given = dict(cores or {})
    if wrong := sorted(given.keys() - names):
        raise MismatchError(f"cores of no layer: {wrong}", hint=f"layers: {', '.join(sorted(names))}")
    return {name: given.get(name, Spread()) for name in names}


def _peak(layer: LayerCounts, field: str) -> int:
    """Most of one step of one clip."""
    return layer.peak(field)
