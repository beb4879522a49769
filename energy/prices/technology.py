# SPDX-License-Identifier: Apache-2.0
"""What a technology profile is made of: numbers, each with its band, kind, coverage, evidence and source.

A number that nobody published is ``"unknown"`` and stays so until it is measured; using it raises an error that says
what is missing. Numbers of different kinds are not added: a marginal energy on top of an all-in one would pay twice
for the same thing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from spikefold.errors import ConfigError, Issue

UNKNOWN: Literal["unknown"] = "unknown"
_STRICT = ConfigDict(
    extra="forbid", frozen=True, strict=True, str_strip_whitespace=True, str_min_length=1, allow_inf_nan=False
)

Number = float | Literal["unknown"]
Kind = Literal["marginal", "all-in", "static"]
Evidence = Literal["measured", "bounded", "simulated", "derived", "second-hand", "none"]
Unit = Literal["pJ", "uJ", "mJ", "mW", "mW/MHz", "W", "ns", "us", "ms", "SynOps/s", "1/s", "1"]


class Price(BaseModel):
    """One number of a profile.

    Attributes:
        value: the nominal one, or ``"unknown"``.
        low: lower end of its band; equal to the value where no band is published.
        high: upper end.
        unit: of these three.
        kind: ``marginal`` (what one operation more costs), ``all-in`` (everything, shared over the operations at one
            operating point) or ``static`` (paid for time, or once a step, whatever happens).
        covers: what is in it, and what is not.
        evidence: how it was found; ``none`` only for an unknown one. ``bounded``: the measured power of whole
            networks allows low to high and says no more; the value only stands for that interval.
        source: document, with its page or table.
        band: where low and high come from; needed as soon as they differ from the value.
        where: file and line of the value, found when the profile is read: ``horowitz45-fp32.toml:12``.
        node_nm: process; the profile's own unless the number has another.
        voltage_v: supply; likewise.
    """

    model_config = _STRICT
    value: Number
    low: Number = UNKNOWN
    high: Number = UNKNOWN
    unit: Unit
    kind: Kind
    covers: str
    evidence: Evidence
    source: str
    band: str = "none published"
    where: str
    node_nm: Number
    voltage_v: Number

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        numbers = (self.low, self.value, self.high)
        if (self.evidence == "none") != (self.value == UNKNOWN):
            raise ValueError("evidence is 'none' for an unknown value, and for no other")
        if all(number == UNKNOWN for number in numbers):
            return self
        if any(number == UNKNOWN for number in numbers):
            raise ValueError("value, low and high are known together or unknown together")
        if not 0 <= float(self.low) <= float(self.value) <= float(self.high):
            raise ValueError(f"not 0 <= low <= value <= high: {self.low}, {self.value}, {self.high}")
        if self.evidence == "bounded" and self.low == self.high:
            raise ValueError("what is bounded has two ends: low and high")
        if self.low != self.high and self.band == "none published":
            raise ValueError("a band needs its origin: say in `band` where low and high come from")
        return self

    @property
    def known(self) -> bool:
        """Whether there is a number."""
        return self.value != UNKNOWN

    @property
    def amount(self) -> float:
        """The nominal value.

        Raises:
            ConfigError: it is unknown.
        """
        return self._number(self.value)

    @property
    def bounds(self) -> tuple[float, float]:
        """Low and high.

        Raises:
            ConfigError: they are unknown.
        """
        return self._number(self.low), self._number(self.high)

    def _number(self, number: Number) -> float:
        if number == UNKNOWN:
            raise ConfigError(
                f"no number is known for this constant: {self.covers} ({self.source})",
                where=self.where,
                hint="measure it (`spikefold energy calibrate` fits a Speck's from power readings), write it into a "
                "profile of your own with its source, or price with another profile",
            )
        return float(number)


class Energies(BaseModel):
    """Energy of one operation each, in picojoules; an operation that the source says nothing about is left out.

    Attributes:
        mac: multiply and accumulate.
        ac: accumulate; on a neuromorphic chip the synaptic operation.
        neuron_active: update of a neuron that does something in a step.
        neuron_idle: update of one that does not.
        spike: one spike sent.
        message: one packet to another core.
        hop_east_west: one packet over one link.
        hop_north_south: likewise.
        sram_word: one word of on-chip memory, in the width of the operation.
    """

    model_config = _STRICT
    mac: Price
    ac: Price
    neuron_active: Price | None = None
    neuron_idle: Price | None = None
    spike: Price | None = None
    message: Price | None = None
    hop_east_west: Price | None = None
    hop_north_south: Price | None = None
    sram_word: Price | None = None


class Powers(BaseModel):
    """Power that is drawn without any event, in milliwatts.

    Attributes:
        static: at rest, of one chip's processor, or of a whole device; its ``covers`` says which.
        per: whether `static` is of one chip, and so drawn by each, or of a board with all that is on it.
        running: drawn above rest as long as a network runs, whatever happens in it; once, however many chips.
        clock: added for each megahertz of the clock, in mW/MHz.
        host: of processors beside the cores.
        rails: supply rails whose power `static` may already hold; shown, not added.
        sensor: rails of a sensor on the same die: apart, since a network does not need them.
    """

    model_config = _STRICT
    static: Price
    per: Literal["chip", "board"] = "chip"
    running: Price | None = None
    clock: Price | None = None
    host: Price | None = None
    rails: dict[str, Price] = Field(default_factory=dict)
    sensor: dict[str, Price] = Field(default_factory=dict)


class Times(BaseModel):
    """Time of one operation on one core, and of the barrier that ends a step, in nanoseconds.

    Attributes:
        synop: one synaptic operation.
        neuron: one neuron's update.
        barrier: what ends a step.
        combine: how the parts of a core make its time: their ``sum``, or the ``largest``, where they overlap.
    """

    model_config = _STRICT
    combine: Literal["sum", "largest"] = "sum"
    synop: Price
    neuron: Price
    barrier: Price


class TechnologyProfile(BaseModel):
    """A technology: a number without source, kind and coverage cannot be written down.

    Attributes:
        operation: which count the price of ``energy_pj.ac`` and the time of an operation are for; ``weighted`` for
            operations of weights other than 0, None where the chip decides (`chip.power.operations`).
        published: numbers of the same source that nothing is computed with, for the reader to compare.
    """

    model_config = _STRICT
    name: str
    title: str
    operation: Literal["weighted"] | None = None
    node_nm: Number
    voltage_v: Number
    source: str
    energy_pj: Energies
    power_mw: Powers | None = None
    time_ns: Times | None = None
    published: dict[str, Price] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _units(self) -> Self:
        expected = {"energy_pj": "pJ", "power_mw": "mW", "time_ns": "ns"}
        for name, price in self.constants():
            unit = "mW/MHz" if name == "power_mw.clock" else expected.get(name.split(".")[0], price.unit)
            if price.unit != unit:
                raise ValueError(f"{name} is in {unit}, not in {price.unit}")
            if name.startswith("power_mw.") and price.kind != "static":
                raise ValueError(f"{name} is a power at rest: its kind is static")
            if name.startswith("energy_pj.") and price.kind == "static":
                raise ValueError(f"{name} is paid for each operation: its kind is marginal or all-in")
        return self

    def constants(self) -> Iterator[tuple[str, Price]]:
        """Every number by its dotted name, in a fixed order."""
        for section in ("energy_pj", "power_mw", "time_ns"):
            yield from _numbers(section, getattr(self, section))
        yield from _numbers("published", self.published)


def _numbers(name: str, part: object) -> Iterator[tuple[str, Price]]:
    if isinstance(part, Price):
        yield name, part
    elif isinstance(part, dict):
        for key, value in part.items():
            yield from _numbers(f"{name}.{key}", value)
    elif isinstance(part, BaseModel):
        for key in type(part).model_fields:
            yield from _numbers(f"{name}.{key}", getattr(part, key))


def refuse_mixing(prices: Iterable[Price]) -> None:
    """Refuse a sum of numbers of which one already holds the others: all-in ones only go with their like.

    Raises:
        ConfigError: an all-in number among marginal or static ones, each named.
    """
    used = list(dict.fromkeys(prices))
    if len({price.kind == "all-in" for price in used}) > 1:
        raise ConfigError(
            "an all-in number already holds what a marginal or static one would add",
            issues=[Issue("kind of energy", one.where, one.kind, "one kind in a sum", one.covers) for one in used],
            hint="price with a profile whose numbers are all marginal, or leave the added terms out",
        )
