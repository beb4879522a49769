# SPDX-License-Identifier: Apache-2.0
"""`ChipPower`: what a clip costs on a chip, term by term. What nobody published is None in every sum, never 0."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from spikefold.energy.prices.technology import Price

_UJ = {"pJ": 1e-6, "mW": 1e3, "mW/MHz": 1e3}
"""Microjoules of one operation, or of one second, at a price of 1."""
Band = tuple[float, float]


@dataclass(frozen=True)
class Term:
    """One summand of the energy of a clip; nothing where nothing happens, unknown where its price is.

    Attributes:
        name: what is paid for.
        per_clip: how many operations; for power at rest how many seconds, times chips and megahertz of a clock.
        price: of one of them.
    """

    name: str
    per_clip: float
    price: Price

    @property
    def known(self) -> bool:
        """Whether it has an energy: what does not happen costs nothing, also at an unknown price."""
        return self.price.known or not self.per_clip

    @property
    def energy_uj(self) -> float | None:
        """A clip; None where it is unknown."""
        return self._uj(lambda: self.price.amount)

    @property
    def low_uj(self) -> float | None:
        """With the constant at its low end."""
        return self._uj(lambda: self.price.bounds[0])

    @property
    def high_uj(self) -> float | None:
        """With the constant at its high end."""
        return self._uj(lambda: self.price.bounds[1])

    @property
    def where(self) -> str:
        """File and line of the constant."""
        return self.price.where

    def to_json(self) -> dict[str, Any]:
        """Plain values for a report, with all that is known of the constant."""
        energies = {name: getattr(self, name) for name in ("energy_uj", "low_uj", "high_uj")}
        price = self.price.model_dump(mode="json")
        return {"name": self.name, "per_clip": self.per_clip, "where": self.where, "price": price} | energies

    def _uj(self, number: Callable[[], float]) -> float | None:
        if not self.per_clip:
            return 0.0
        return self.per_clip * number() * _UJ[self.price.unit] if self.price.known else None


@dataclass(frozen=True)
class ChipPower:
    """Energy and power of one clip on a chip; estimates, each at the line of its constant.

    What hangs on a number that nobody published is None, never 0; `unknown` names it.

    Attributes:
        profile: name of the technology.
        title: the same for people.
        on_s: for how long the chip is on: the window in real time, or the latency.
        real_time: which of the two.
        static: power at rest times `on_s`, for each part that draws it.
        running: power above rest that running draws whatever happens, times `on_s`; empty where nobody told it apart.
        dynamic: events times their marginal energies.
        sensor: rails of the sensor times `on_s`; in no sum.
        synops_per_s: synaptic operations in a second of `on_s`, mean.
        not_priced: what the network does and the profile has no price for.
    """

    profile: str
    title: str
    on_s: float
    real_time: bool
    static: tuple[Term, ...]
    running: tuple[Term, ...]
    dynamic: tuple[Term, ...]
    sensor: tuple[Term, ...]
    synops_per_s: float
    not_priced: tuple[str, ...]

    @property
    def static_uj(self) -> float | None:
        """Energy at rest, a clip."""
        return _sum(term.energy_uj for term in self.static)

    @property
    def running_uj(self) -> float | None:
        """Energy of running above rest that no event changes, a clip; 0 where nobody told it apart."""
        return _sum(term.energy_uj for term in self.running)

    @property
    def dynamic_uj(self) -> float | None:
        """Energy of the events, a clip."""
        return _sum(term.energy_uj for term in self.dynamic)

    @property
    def total_uj(self) -> float | None:
        """Energy of a clip, without the sensor."""
        return _sum((self.static_uj, self.running_uj, self.dynamic_uj))

    @property
    def sensor_uj(self) -> float | None:
        """Energy of the sensor's rails, a clip; None also where the chip has no sensor."""
        return _sum(term.energy_uj for term in self.sensor) if self.sensor else None

    @property
    def power_mw(self) -> float | None:
        """Mean power while the chip is on, without the sensor."""
        return None if self.total_uj is None else self.total_uj / self.on_s / 1e3

    @property
    def bands_uj(self) -> dict[str, Band | None]:
        """Each energy with all its constants at the low end, and all at the high end."""
        parts = {
            "static": self.static,
            "running": self.running,
            "dynamic": self.dynamic,
            "total": (*self.static, *self.running, *self.dynamic),
        }
        return {name: _band(terms) for name, terms in parts.items()}

    @property
    def break_even(self) -> float | None:
        """How many times as active the network must be for events to cost what rest costs.

        All events are taken to grow alike. None without events, or where a number is unknown.
        """
        if self.static_uj is None or not self.dynamic_uj:
            return None
        return self.static_uj / self.dynamic_uj

    @property
    def break_even_synops_per_s(self) -> float | None:
        """Synaptic operations in a second at which they, and all that grows with them, cost what rest costs."""
        return None if self.break_even is None else self.synops_per_s * self.break_even

    @property
    def unknown(self) -> tuple[Term, ...]:
        """The terms without an energy."""
        return tuple(term for term in (*self.static, *self.running, *self.dynamic, *self.sensor) if not term.known)

    def to_json(self) -> dict[str, Any]:
        """Plain values for a report."""
        groups = {
            name: [term.to_json() for term in getattr(self, name)]
            for name in ("static", "running", "dynamic", "sensor")
        }
        names = (
            "static_uj",
            "running_uj",
            "dynamic_uj",
            "total_uj",
            "sensor_uj",
            "power_mw",
            "break_even",
            "break_even_synops_per_s",
        )
        bands = {name: None if band is None else list(band) for name, band in self.bands_uj.items()}
        return (
            vars(self)
            | groups
            | {"not_priced": list(self.not_priced), "bands_uj": bands}
            | {name: getattr(self, name) for name in names}
        )


def _sum(energies: Iterable[float | None]) -> float | None:
    """Nothing is added to an unknown energy."""
    found = list(energies)
    known = [one for one in found if one is not None]
    return sum(known) if len(known) == len(found) else None


def _band(terms: Iterable[Term]) -> Band | None:
    parts = list(terms)
    low, high = _sum(term.low_uj for term in parts), _sum(term.high_uj for term in parts)
    return None if low is None or high is None else (low, high)
