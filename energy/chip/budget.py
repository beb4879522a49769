# SPDX-License-Identifier: Apache-2.0
"""The budget of one chip: power at rest, energy of its events, how busy its cores are, how long its steps take.

A number that nobody published stays unknown, and says what would make it known. Another chip's numbers may stand
beside a chip's own, under their own name: they are in no number of this chip, and no gate reads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, prod
from types import MappingProxyType
from typing import Any

from spikefold.energy.chip.core_load import CoreRate, Spread, StepTime, core_rates, step_time
from spikefold.energy.chip.power import chip_power
from spikefold.energy.chip.power_types import ChipPower, Term
from spikefold.energy.chip.sources import KEY, Numbers
from spikefold.energy.chip.system_track import system_track
from spikefold.energy.counts.count import Counts
from spikefold.energy.prices.load import TechnologyProfile
from spikefold.errors import MismatchError
from spikefold.export.network import Network
from spikefold.export.ops import Conv2d, Dense
from spikefold.hardware.chip import Chip, Resources, Use

NUMBERS = (
    "static_uj",
    "event_energy_uj",
    "chip_energy_uj",
    "power_mw",
    "sensor_uj",
    "break_even",
    "core_synops_per_s",
    "peak_core_synops_per_s",
    "smallest_dt_us",
    "step_time_us",
)
"""What a gate may name: energies of a clip, rates of the busiest core, the busiest step at its high end."""


@dataclass(frozen=True)
class ReferenceBudget:
    """Numbers of another chip: what they are, its power, and the time of its step where it has steps."""

    label: str
    power: ChipPower
    step_time: StepTime | None

    def to_json(self) -> dict[str, Any]:
        """Plain values for a report."""
        step = None if self.step_time is None else self.step_time.to_json()
        return {"label": self.label, "power": self.power.to_json(), "step_time": step}


@dataclass(frozen=True)
class ChipBudget:
    """What one network takes of one chip.

    Attributes:
        chip: its name.
        title: the same for people.
        power: None where nothing is published of this chip.
        beside: another chip's numbers, for comparison.
        rates: of the cores, a row a layer.
        step_time: None on a chip without steps, or without published times.
        resources: cores and chips, and whether they are an estimate.
        event_driven: whether it works event by event: then it has no steps, and a core that is too slow stalls it.
        nominal_dt: whether bins hold equally many events, so that the length of a step is nominal.
        unknown: for each of `NUMBERS` that is None what would make it known.
    """

    chip: str
    title: str
    power: ChipPower | None
    beside: ReferenceBudget | None
    rates: tuple[CoreRate, ...]
    step_time: StepTime | None
    resources: Resources
    event_driven: bool
    nominal_dt: bool
    unknown: Mapping[str, str]

    def __post_init__(self) -> None:
        if missing := {name for name, value in self.numbers.items() if value is None} ^ set(self.unknown):
            raise MismatchError(f"unknown without a reason, or known with one: {', '.join(sorted(missing))}")

    @property
    def numbers(self) -> dict[str, float | None]:
        """Each of `NUMBERS`."""
        power = self.power
        return dict(zip(NUMBERS, (
            None if power is None else power.static_uj, None if power is None else power.dynamic_uj,
            None if power is None else power.total_uj, None if power is None else power.power_mw,
            None if power is None else power.sensor_uj, None if power is None else power.break_even,
            max(rate.mean_per_s for rate in self.rates), max(rate.peak_per_s for rate in self.rates),
            _smallest_dt_us(self.rates, self.step_time),
            None if self.step_time is None else self.step_time.peak_us[1],
        ), strict=True))  # fmt: skip

    def describe(self) -> str:
        """One line for people."""
        bands = {} if self.power is None else self.power.bands_uj
        parts = {"static": "static_uj", "dynamic": "event_energy_uj"}
        rest, events = (_told_uj(self.numbers[name], bands.get(part)) for part, name in parts.items())
        busiest = max(self.rates, key=lambda rate: rate.peak_per_s)
        said = f"at rest {rest} a clip, events {events} (estimates); busiest core {busiest.layer}, "
        said += f"{busiest.peak_per_s:,.0f} SynOps/s at its peak"
        if self.event_driven:
            return f"{said}, limit {_told_rate(busiest)}"
        if self.step_time is None:
            return f"{said}; time of a step unknown"
        return f"{said}; a step takes up to {self.step_time.peak_us[1]:,.1f} of {self.step_time.dt_us:,.0f} us"

    def to_json(self) -> dict[str, Any]:
        """Plain values for a report."""
        track = None if self.power is None else system_track(self.power)
        return {
            "chip": self.chip,
            "title": self.title,
            "event_driven": self.event_driven,
            "nominal_dt": self.nominal_dt,
            "power": None if self.power is None else self.power.to_json(),
            "beside": None if self.beside is None else self.beside.to_json(),
            "cores": [rate.to_json() for rate in self.rates],
            "step_time": None if self.step_time is None else self.step_time.to_json(),
            "cores_used": self.resources.cores,
            "chips": self.resources.chips,
            "estimate": self.resources.estimate,
            "numbers": self.numbers,
            "system_track": None if track is None else track.to_json(),
            "unknown": dict(self.unknown),
        }


def chip_budget(
    chip: Chip,
    network: Network,
    counts: Counts,
    numbers: Numbers,
    *,
    limit_per_s: float | None = None,
    placement: Mapping[str, int] = MappingProxyType({}),
    nominal_dt: bool = False,
) -> ChipBudget:
    """The budget of a chip in real time: it is on for the whole window of a clip.

    On a chip with steps spikes are graded: several events of a neuron in one are one operation a synapse.

    Args:
        chip: the target.
        network: the integer network that was counted, one that keeps the chip's rules.
        counts: of `counts.count`, with series and a length of a step.
        numbers: of `sources.numbers_of`.
        limit_per_s: synaptic operations a second that a core of an event-driven chip can do. A chip with steps has
            no such limit: there a busy core makes the step longer.
        placement: core number by spiking layer, as it was exported; empty where cores are only counted.
        nominal_dt: see `ChipBudget`.

    Raises:
        ConfigError: no length of a step.
        MismatchError: the chip cannot say what a network takes of it, or the counts hold totals only.
    """
    if chip.resources is None:
        raise MismatchError(f"{chip.title} cannot say over how many cores a layer is spread", where=chip.name)
    taken = chip.resources(network)
    cores, graded = spreads(chip, network, taken, placement), not chip.event_driven
    own, other = (
        None if one is None else chip_power(counts, one, chips=taken.chips, graded=graded)
        for one in (numbers.own, numbers.other)
    )
    rates = core_rates(counts, limit_per_s if chip.event_driven else None, cores=cores, graded=graded)
    step = _step(counts, numbers.own, cores, chip)
    beside = None
    if other is not None and numbers.other is not None:
        beside = ReferenceBudget(numbers.label, other, _step(counts, numbers.other, cores, chip))
    unknown = _power_unknown(chip, own) | _pace_unknown(chip, numbers, _smallest_dt_us(rates, step), step)
    return ChipBudget(
        chip.name,
        chip.title,
        own,
        beside,
        rates,
        step,
        taken,
        chip.event_driven,
        nominal_dt,
        {name: unknown[name] for name in NUMBERS if name in unknown},
    )


def spreads(chip: Chip, network: Network, taken: Resources, placement: Mapping[str, int]) -> dict[str, Spread]:
    """How each weight layer lies on the chip's cores.

    Layers that are cut by their neurons have the share of the fullest part. Of layers that are cut by output channels
    every part sees every event, so that its share of the synapses is its share of the channels, exactly.
    """
    laid_out = network if chip.laid_out is None else chip.laid_out(network)
    return {use.layer: _spread(network, laid_out, use, placement) for use in taken.layers}


def _spread(network: Network, laid_out: Network, use: Use, placement: Mapping[str, int]) -> Spread:
    if "neurons" in use.memory:
        neurons = prod(network.shapes[use.layer])
        return Spread(use.cores, Fraction(min(neurons, use.memory["neurons"][0]), neurons))
    parts = [f"{use.layer}.{number}" for number in range(use.cores)] if use.cores > 1 else [use.layer]
    channels = [_outputs(laid_out, part) for part in parts]
    behind = [one.name for part in parts for one in laid_out.consumers(part)]
    numbers = tuple(placement[name] for name in behind if name in placement)
    return Spread(use.cores, Fraction(max(channels), sum(channels)), numbers)


def _outputs(network: Network, name: str) -> int:
    op = network[name].op
    if not isinstance(op, Conv2d | Dense):
        raise MismatchError("no weight layer", where=name)
    return int(op.weight.shape[0])


def _told_uj(energy: float | None, band: tuple[float, float] | None) -> str:
    if energy is None:
        return "unknown"
    between = "" if band is None or band[0] == band[1] else f" ({band[0]:,.3f} to {band[1]:,.3f})"
    return f"{energy:,.3f} uJ{between}"


def _told_rate(rate: CoreRate) -> str:
    return "unknown" if rate.limit_per_s is None else f"{rate.limit_per_s:,.0f} ({rate.light})"


def _step(
    counts: Counts, profile: TechnologyProfile | None, cores: Mapping[str, Spread], chip: Chip
) -> StepTime | None:
    """Time of a step; None on a chip without steps, and where the profile lacks a time."""
    times = None if profile is None or chip.event_driven else profile.time_ns
    if profile is None or times is None or not all(one.known for one in (times.synop, times.neuron, times.barrier)):
        return None
    return step_time(counts, profile, cores=cores, graded=True)


def _smallest_dt_us(rates: tuple[CoreRate, ...], step: StepTime | None) -> int | None:
    """The step from which no core is too slow: at most a limit a core, or as long as the busiest step takes."""
    if step is not None:
        return ceil(step.peak_us[1])
    limits = [rate.smallest_dt_us for rate in rates if rate.smallest_dt_us is not None]
    return max(limits) if limits else None


def _power_unknown(chip: Chip, power: ChipPower | None) -> dict[str, str]:
    """Why each number of the power is unknown, where it is."""
    names = NUMBERS[:6]
    write = f"a profile of your own goes into {KEY}.{chip.name}=FILE.toml"
    if power is None:
        return dict.fromkeys(names, f"nobody published what {chip.title} draws; {write}")
    rest, events, sensor = (
        _told([term for term in terms if not term.known], write)
        for terms in (power.static, power.dynamic, power.sensor)
    )
    found = {
        "static_uj": rest,
        "event_energy_uj": events,
        "chip_energy_uj": rest or events,
        "power_mw": rest or events,
        "break_even": rest or events,
    }
    if power.dynamic_uj == 0:
        found["break_even"] = "nothing happens in this network: no event has an energy"
    found["sensor_uj"] = sensor if power.sensor else f"no sensor in {power.profile}: it is another device"
    return {name: why for name, why in found.items() if why}


def _told(terms: list[Term], write: str) -> str:
    return "; ".join([*(f"{term.price.covers} ({term.price.source})" for term in terms), write]) if terms else ""


def _pace_unknown(chip: Chip, numbers: Numbers, smallest: int | None, step: StepTime | None) -> dict[str, str]:
    """Why the time of a step, and the smallest step, are unknown, where they are."""
    if chip.event_driven:
        found = {"step_time_us": f"{chip.title} works event by event: it has no steps"}
        if smallest is None:
            found["smallest_dt_us"] = "no limit of a core is public; enter one: chips.core_limit, in SynOps/s"
        return found
    if step is not None:
        return {}
    name = "FILE.toml" if numbers.other is None else numbers.other.name
    why = f"nobody published times of {chip.title}; to take others for it: {KEY}.{chip.name}={name}"
    if numbers.own is not None and numbers.chosen:
        why = f"{numbers.own.name} lacks times of an operation, a neuron or the barrier: section time_ns"
    return {"step_time_us": why, "smallest_dt_us": why}
