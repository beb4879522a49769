# SPDX-License-Identifier: Apache-2.0
"""What a chip draws: power at rest, power of running whatever happens, and the events that the network makes.

``P = P_static + P_running + sum(events/s x marginal energy)``. A chip that watches in real time is on for the whole
window; an accelerator for its latency. The affine model needs marginal prices: on an all-in one nothing is added.

The second term is not small: eight networks on a Loihi 1 draw 76.5 mW above rest before the first copy is added, so
that operations alone come out over 40 times too low (energy/README.md).
"""

from __future__ import annotations

from collections.abc import Iterator

from spikefold.energy.chip.power_types import ChipPower, Term
from spikefold.energy.counts.count import Counts
from spikefold.energy.prices.technology import Powers, TechnologyProfile, refuse_mixing
from spikefold.errors import ConfigError


def static_terms(
    profile: TechnologyProfile, seconds: float, *, chips: int = 1, clock_mhz: float | None = None
) -> tuple[Term, ...]:
    """Energy at rest over a time: known also for a chip whose energy per operation nobody published.

    Args:
        profile: of `load_profile`.
        seconds: how long the chips are on.
        chips: how many.
        clock_mhz: needed where the profile's power at rest grows with the clock.

    Raises:
        ConfigError: the profile says nothing about power at rest, or it depends on a clock that was not given.
    """
    powers = _powers(profile)
    rest = "grows with the clock: give it" if powers.clock else "is one number: leave it out"
    if (powers.clock is None) != (clock_mhz is None):
        raise ConfigError(
            f"{profile.name} {'needs a' if powers.clock else 'has no'} clock frequency",
            where="clock_mhz",
            hint=f"its power at rest {rest}",
        )
    whole_board = powers.per == "board"
    name, boards = ("at rest, the whole board", 1) if whole_board else ("at rest", chips)
    terms = [Term(name, seconds * boards, powers.static)]
    if powers.clock is not None and clock_mhz is not None:
        terms.append(Term(f"clock, {clock_mhz:g} MHz", seconds * chips * clock_mhz, powers.clock))
    if powers.host is not None:
        terms.append(Term("host processors", seconds * chips, powers.host))
    return tuple(terms)


def running_terms(profile: TechnologyProfile, seconds: float) -> tuple[Term, ...]:
    """Energy of running above rest that no event changes; empty where nobody told it apart."""
    running = None if profile.power_mw is None else profile.power_mw.running
    return () if running is None else (Term("running, whatever happens", seconds, running),)


def sensor_terms(profile: TechnologyProfile, seconds: float) -> tuple[Term, ...]:
    """Energy of the sensor's rails over a time; empty where the chip has none."""
    rails = {} if profile.power_mw is None else profile.power_mw.sensor
    return tuple(Term(name, seconds, price) for name, price in rails.items())


def chip_power(
    counts: Counts,
    profile: TechnologyProfile,
    *,
    dt_us: float | None = None,
    latency_s: float | None = None,
    chips: int = 1,
    clock_mhz: float | None = None,
    graded: bool = False,
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
        graded: see `operations`.

    Raises:
        ConfigError: no length of a step, a profile that says nothing about power at rest, or an all-in price.
    """
    window_s = counts.steps * step_us(counts, dt_us) * 1e-6
    on_s = window_s if latency_s is None else latency_s
    if on_s <= 0 or chips < 1:
        raise ConfigError(f"{chips} chips for {on_s:g} s", where="latency_s", hint="give a time above 0, and a chip")
    events = tuple(_events(counts, profile, graded))
    refuse_mixing([term.price for term in events] + [_powers(profile).static])
    synops = counts.total(operations(graded, profile)) / counts.clips
    return ChipPower(
        profile.name,
        profile.title,
        on_s,
        latency_s is None,
        static_terms(profile, on_s, chips=chips, clock_mhz=clock_mhz),
        running_terms(profile, on_s),
        events,
        sensor_terms(profile, on_s),
        synops / on_s,
        tuple(_not_priced(counts, profile)),
    )


def operations(graded: bool, profile: TechnologyProfile | None = None) -> str:
    """The count that is a synaptic operation on a chip; what the profile's prices are for, where it says so.

    Where spikes are graded, as on Loihi 2, all events of a neuron in a step are one message, and one operation a
    synapse: ``pairs``. Else each event is an operation a synapse of its own: ``events``.
    """
    if profile is not None and profile.operation is not None:
        return profile.operation
    return "pairs" if graded else "events"


def step_us(counts: Counts, dt_us: float | None = None) -> float:
    """Length of a step.

    Raises:
        ConfigError: neither given nor known, or not above 0.
    """
    found = counts.dt_us if dt_us is None else dt_us
    if found is None or found <= 0:
        raise ConfigError(f"a step of {found} us has no rates", where="dt_us", hint="give the length of a step in us")
    return found


def _powers(profile: TechnologyProfile) -> Powers:
    if profile.power_mw is None:
        raise ConfigError(
            f"{profile.name} says nothing about power at rest",
            where="energy_profile",
            hint="take the profile of a chip, such as speck, loihi1-presilicon, truenorth or odin",
        )
    return profile.power_mw


def _events(counts: Counts, profile: TechnologyProfile, graded: bool) -> Iterator[Term]:
    energy, clips = profile.energy_pj, counts.clips
    name = "synaptic operations of graded spikes" if graded else "synaptic operations"
    if profile.operation == "weighted":
        name += ", weights not 0"
    yield Term(name, counts.total(operations(graded, profile)) / clips, energy.ac)
    updates, active = counts.total("neuron_updates"), counts.total("active_updates")
    if energy.neuron_active is not None:
        yield Term("active neuron updates", active / clips, energy.neuron_active)
    if energy.neuron_idle is not None:
        yield Term("idle neuron updates", (updates - active) / clips, energy.neuron_idle)
    if energy.spike is not None:
        yield Term("spikes", counts.total("spikes") / clips, energy.spike)


def _not_priced(counts: Counts, profile: TechnologyProfile) -> Iterator[str]:
    energy = profile.energy_pj
    if counts.total("neuron_updates") and energy.neuron_active is None:
        yield f"neuron updates, unless they are in: {energy.ac.covers}"
    if profile.power_mw is not None and profile.power_mw.running is None:
        yield "power of running whatever happens, unless it is in the energies: nobody told it apart"
    if counts.total("bias_adds"):
        yield "bias additions"
    if energy.message is not None or energy.hop_east_west is not None:
        yield "messages and hops between cores: they depend on the placement"
    yield from (f"{one.op} in {one.name}" for one in counts.uncounted)
