# SPDX-License-Identifier: Apache-2.0
"""What a chip draws: power at rest for as long as it is on, plus the events that the network makes it handle.

``P = P_static + sum(events/s x marginal energy)``. A chip that watches in real time is on for the whole window; an
accelerator for its latency. The affine model needs marginal prices: on an all-in one nothing is added.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from spikefold.energy.counts import Counts
from spikefold.energy.technology import Powers, Price, Profile, refuse_mixing
from spikefold.errors import ConfigError

_PJ_PER_UJ = 1e6


@dataclass(frozen=True)
class Term:
    """One summand of the energy of a clip: how much of it, and at which price."""

    name: str
    per_clip: float
    energy_uj: float
    low_uj: float
    high_uj: float
    where: str


@dataclass(frozen=True)
class ChipPower:
    """Energy and power of one clip on a chip; estimates, each at the line of its constant.

    Attributes:
        profile: name of the technology.
        on_s: for how long the chip is on: the window in real time, or the latency.
        real_time: which of the two.
        static: power at rest times `on_s`, for each part that draws it.
        dynamic: events times their marginal energies.
        sensor: rails of the sensor times `on_s`; in no sum.
        synops_per_s: synaptic operations in a second of `on_s`, mean.
        not_priced: what the network does and the profile has no price for.
    """

    profile: str
    on_s: float
    real_time: bool
    static: tuple[Term, ...]
    dynamic: tuple[Term, ...]
    sensor: tuple[Term, ...]
    synops_per_s: float
    not_priced: tuple[str, ...]

    @property
    def static_uj(self) -> float:
        """Energy at rest, a clip."""
        return sum(term.energy_uj for term in self.static)

    @property
    def dynamic_uj(self) -> float:
        """Energy of the events, a clip."""
        return sum(term.energy_uj for term in self.dynamic)

    @property
    def total_uj(self) -> float:
        """Energy of a clip, without the sensor."""
        return self.static_uj + self.dynamic_uj

    @property
    def power_mw(self) -> float:
        """Mean power while the chip is on, without the sensor."""
        return self.total_uj / self.on_s / 1e3

    @property
    def break_even(self) -> float | None:
        """How many times as active the network must be for events to cost what rest costs; None without events."""
        return self.static_uj / self.dynamic_uj if self.dynamic_uj else None

    @property
    def break_even_synops_per_s(self) -> float | None:
        """Synaptic operations in a second at which they, and all that grows with them, cost what rest costs."""
        return None if self.break_even is None else self.synops_per_s * self.break_even

    def to_json(self) -> dict[str, Any]:
        """Plain values for a report."""
        groups = {name: [vars(term) for term in getattr(self, name)] for name in ("static", "dynamic", "sensor")}
        names = ("static_uj", "dynamic_uj", "total_uj", "power_mw", "break_even", "break_even_synops_per_s")
        return (
            vars(self)
            | groups
            | {"not_priced": list(self.not_priced)}
            | {name: getattr(self, name) for name in names}
        )


def static_terms(
    profile: Profile, seconds: float, *, chips: int = 1, clock_mhz: float | None = None
) -> tuple[Term, ...]:
    """Energy at rest over a time: known also for a chip whose energy per operation nobody published.

    Args:
        profile: of `load_profile`.
        seconds: how long the chips are on.
        chips: how many.
        clock_mhz: needed where the profile's power at rest grows with the clock.

    Raises:
        ConfigError: the profile has no power at rest, or it depends on a clock that was not given.
    """
    powers = _powers(profile)
    rest = "grows with the clock: give it" if powers.clock else "is one number: leave it out"
    if (powers.clock is None) != (clock_mhz is None):
        raise ConfigError(
            f"{profile.name} {'needs a' if powers.clock else 'has no'} clock frequency", where="clock_mhz",
            hint=f"its power at rest {rest}",
        )  # fmt: skip
    terms = [_power_term("at rest", powers.static, seconds * chips)]
    if powers.clock is not None and clock_mhz is not None:
        terms.append(_power_term(f"clock, {clock_mhz:g} MHz", powers.clock, seconds * chips * clock_mhz))
    if powers.host is not None:
        terms.append(_power_term("host processors", powers.host, seconds * chips))
    return tuple(terms)


def sensor_terms(profile: Profile, seconds: float) -> tuple[Term, ...]:
    """Energy of the sensor's rails over a time; empty where the chip has none."""
    rails = {} if profile.power_mw is None else profile.power_mw.sensor
    return tuple(_power_term(name, price, seconds) for name, price in rails.items())


def chip_power(
    counts: Counts,
    profile: Profile,
    *,
    dt_us: float | None = None,
    latency_s: float | None = None,
    chips: int = 1,
    clock_mhz: float | None = None,
) -> ChipPower:
    """Power of a chip that runs the counted network; every event is an operation, those of the input too.

    Neurons are updated every step where the profile has a price for it, and the idle ones at the idle price. Routing
    is left out and named: its hops depend on a placement that no open tool knows.

    Args:
        counts: of `counts.count`.
        profile: of `load_profile`, with marginal energies.
        dt_us: length of a step; that of the counts where not given.
        latency_s: time that a clip takes on an accelerator; None for a chip in real time, which is on for the window.
        chips: how many are on.
        clock_mhz: see `static_terms`.

    Raises:
        ConfigError: no length of a step, no power at rest, a number that nobody knows, or an all-in price.
    """
    window_s = counts.steps * step_us(counts, dt_us) * 1e-6
    on_s = window_s if latency_s is None else latency_s
    if on_s <= 0 or chips < 1:
        raise ConfigError(f"{chips} chips for {on_s:g} s", where="latency_s", hint="give a time above 0, and a chip")
    priced = list(_events(counts, profile))
    refuse_mixing([price for _, _, price in priced] + [_powers(profile).static])
    synops = counts.total("events") / counts.clips
    return ChipPower(
        profile.name, on_s, latency_s is None,
        static_terms(profile, on_s, chips=chips, clock_mhz=clock_mhz),
        tuple(_energy_term(name, per_clip, price) for name, per_clip, price in priced),
        sensor_terms(profile, on_s), synops / on_s, tuple(_not_priced(counts, profile)),
    )  # fmt: skip


def step_us(counts: Counts, dt_us: float | None = None) -> float:
    """Length of a step.

    Raises:
        ConfigError: neither given nor known, or not above 0.
    """
    found = counts.dt_us if dt_us is None else dt_us
    if found is None or found <= 0:
        raise ConfigError(f"a step of {found} us has no rates", where="dt_us", hint="give the length of a step in us")
    return found


def _powers(profile: Profile) -> Powers:
    if profile.power_mw is None:
        raise ConfigError(
            f"{profile.name} says nothing about power at rest", where="energy_profile",
            hint="take the profile of a chip, such as speck, loihi1-presilicon, truenorth or odin",
        )  # fmt: skip
    return profile.power_mw


def _events(counts: Counts, profile: Profile) -> Iterator[tuple[str, float, Price]]:
    energy, clips = profile.energy_pj, counts.clips
    yield "synaptic operations", counts.total("events") / clips, energy.ac
    updates, active = counts.total("neuron_updates"), counts.total("active_updates")
    if energy.neuron_active is not None:
        yield "active neuron updates", active / clips, energy.neuron_active
    if energy.neuron_idle is not None:
        yield "idle neuron updates", (updates - active) / clips, energy.neuron_idle
    if energy.spike is not None:
        yield "spikes", counts.total("spikes") / clips, energy.spike


def _not_priced(counts: Counts, profile: Profile) -> Iterator[str]:
    energy = profile.energy_pj
    if counts.total("neuron_updates") and energy.neuron_active is None:
        yield f"neuron updates, unless they are in: {energy.ac.covers}"
    if counts.total("bias_adds"):
        yield "bias additions"
    if energy.message is not None or energy.hop_east_west is not None:
        yield "messages and hops between cores: they depend on the placement"
    yield from (f"{one.op} in {one.name}" for one in counts.uncounted)


def _energy_term(name: str, per_clip: float, price: Price) -> Term:
    if not per_clip:  # what does not happen costs nothing, also at an unknown price
        return Term(name, 0.0, 0.0, 0.0, 0.0, price.where)
    value, low, high = (per_clip * pj / _PJ_PER_UJ for pj in (price.amount, *price.bounds))
    return Term(name, per_clip, value, low, high, price.where)


def _power_term(name: str, price: Price, seconds: float) -> Term:
    """Milliwatts over a time; ``per_clip`` is that time."""
    value, low, high = (seconds * mw * 1e3 for mw in (price.amount, *price.bounds))
    return Term(name, seconds, value, low, high, price.where)
