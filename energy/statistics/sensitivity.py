# SPDX-License-Identifier: Apache-2.0
"""What an energy estimate hangs on: each constant's band, each counting rule, each technology. The tornado diagram.

A band is no confidence interval: it says within which numbers the sources differ, and nobody knows with what chance.
So it stands apart from the interval over clips, and its ends hold only if every constant is at that end at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

from spikefold.errors import ConfigError, Issue, nearest

Operations = Mapping[str, float]
"""Operations a clip by the name of the constant that prices them: ``{"mac": 1200, "ac": 90000}``."""


class Priced(Protocol):
    """A number of a technology profile, as `profile_data.Price`: unknown ones raise when they are read."""

    @property
    def amount(self) -> float:
        """The nominal value."""

    @property
    def bounds(self) -> tuple[float, float]:
        """Low and high."""

    @property
    def where(self) -> str:
        """File and line."""


@dataclass(frozen=True)
class Constant:
    """Energy of one operation in pJ: its band ``low <= value <= high``, and where it is written."""

    name: str
    low: float
    value: float
    high: float
    where: str = ""

    def __post_init__(self) -> None:
        if not self.low <= self.value <= self.high:
            raise ConfigError(
                f"the band of {self.name} is {self.low}, {self.value}, {self.high}: not ascending",
                where=self.where,
                hint="give low <= value <= high",
            )


def constants(prices: Mapping[str, Priced]) -> tuple[Constant, ...]:
    """Constants from a profile's prices by operation.

    Raises:
        ConfigError: a number is unknown.
    """
    return tuple(
        Constant(name, price.bounds[0], price.amount, price.bounds[1], price.where) for name, price in prices.items()
    )


@dataclass(frozen=True)
class Band:
    """Energy with every constant at its low end, at its value, at its high end."""

    low_pj: float
    value_pj: float
    high_pj: float


@dataclass(frozen=True)
class Swing:
    """One bar: what the estimate becomes when one thing is otherwise, all else equal.

    Attributes:
        kind: ``constant``, ``rule`` or ``profile``.
        name: which.
        from_pj: energy at the constant's low end; of a rule or profile the nominal energy.
        to_pj: at its high end; under that rule or profile.
        where: file and line of a constant.
    """

    kind: str
    name: str
    from_pj: float
    to_pj: float
    where: str = ""

    @property
    def span_pj(self) -> float:
        """Length of the bar."""
        return abs(self.to_pj - self.from_pj)


@dataclass(frozen=True)
class Tornado:
    """An estimate and what it hangs on, the longest bar first.

    Attributes:
        rule: the counting rule in use.
        band: of all constants together.
        swings: the bars; those of length 0 too, for a constant without a published band is not a sure one.
    """

    rule: str
    band: Band
    swings: tuple[Swing, ...]

    def to_json(self) -> dict[str, object]:
        """Plain values for a report."""
        return asdict(self) | {"swings": [asdict(swing) for swing in self.swings]}


def priced(operations: Operations, values: Mapping[str, float]) -> float:
    """Operations times their energies, in pJ.

    Raises:
        ConfigError: operations without a constant, each named.
    """
    if missing := [name for name, number in operations.items() if number and name not in values]:
        raise ConfigError(
            "operations without a constant would cost nothing",
            issues=[
                Issue("price", name, f"{operations[name]:,} a clip", "a constant", nearest(name, values))
                for name in missing
            ],
            hint="give the constant, or leave the operations out and say so",
        )
    return sum(number * values[name] for name, number in operations.items() if number)


def band(operations: Operations, known: Sequence[Constant]) -> Band:
    """The estimate with every constant at one end of its band."""
    low, value, high = (
        priced(operations, {one.name: getattr(one, end) for one in known}) for end in ("low", "value", "high")
    )
    return Band(low, value, high)


def tornado(
    by_rule: Mapping[str, Operations],
    used: str,
    known: Sequence[Constant],
    other_profiles: Mapping[str, float] | None = None,
) -> Tornado:
    """Vary one thing at a time.

    Args:
        by_rule: operations a clip under each counting rule.
        used: the rule whose estimate is the nominal one.
        known: constants of the profile in use.
        other_profiles: the same operations' energy in pJ under other technologies, where it is known.

    Raises:
        ConfigError: an unknown rule, or operations without a constant.
    """
    if used not in by_rule:
        raise ConfigError(f"no counting rule {used!r}", where="rule", hint=nearest(used, by_rule))
    values = {one.name: one.value for one in known}
    nominal = priced(by_rule[used], values)
    swings = [
        Swing(
            "constant",
            one.name,
            priced(by_rule[used], values | {one.name: one.low}),
            priced(by_rule[used], values | {one.name: one.high}),
            one.where,
        )
        for one in known
        if by_rule[used].get(one.name)
    ]
    swings += [Swing("rule", rule, nominal, priced(by_rule[rule], values)) for rule in by_rule if rule != used]
    swings += [Swing("profile", name, nominal, energy) for name, energy in (other_profiles or {}).items()]
    swings.sort(key=lambda swing: (-swing.span_pj, swing.kind, swing.name))
    return Tornado(used, band(by_rule[used], known), tuple(swings))
