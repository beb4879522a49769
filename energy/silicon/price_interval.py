# SPDX-License-Identifier: Apache-2.0
"""Which prices of a synaptic operation agree with the measured power of several whole networks at once.

Of each network its power and its spikes are published, not how the spikes are spread over its layers. A spike costs
one operation a synapse, and the synapses that leave it are known by layer. So each network says::

    fewest * spikes * price  <=  (power - rest - running) * window  <=  most * spikes * price

with the fewest and the most synapses that a spike of it can have, for every distribution of the spikes over layers
and pixels. Running is a power of at least 0 that all of them share. The prices for which one such power exists are an
interval, found here exactly: both ends are where two of these lines cross.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations

from spikefold.errors import DataError


@dataclass(frozen=True)
class MeasuredNetwork:
    """One network as it was published.

    Attributes:
        name: of the task and the network.
        power_mw: while it runs, rest included.
        spikes: in a window.
        fewest: synapses that a spike leaves by at least, over all layers that have any behind them.
        most: at most.

    Raises:
        DataError: no power, no spikes or no synapses.
    """

    name: str
    power_mw: Fraction
    spikes: int
    fewest: int
    most: int

    def __post_init__(self) -> None:
        if self.power_mw <= 0 or self.spikes < 1 or not 1 <= self.fewest <= self.most:
            raise DataError("a network needs a power, spikes and synapses", where=self.name)


@dataclass(frozen=True)
class PriceInterval:
    """What is left when all networks have been heard.

    Attributes:
        low_pj: of one synaptic operation.
        high_pj: likewise.
        running_mw: the most that running can draw above the lowest rest.
    """

    low_pj: Fraction
    high_pj: Fraction
    running_mw: Fraction


@dataclass(frozen=True)
class _Line:
    """``price + slope`` form of a limit on rest and running together: ``base + slope * price``."""

    base: Fraction
    slope: Fraction

    def at(self, price_pj: Fraction) -> Fraction:
        return self.base + self.slope * price_pj


def price_interval(
    networks: Sequence[MeasuredNetwork],
    rest_mw: tuple[Fraction, Fraction],
    window_s: Fraction,
    *,
    running: bool = True,
) -> PriceInterval:
    """The prices that agree with every network.

    Args:
        networks: as published.
        rest_mw: the lowest and the highest power at rest.
        window_s: the time in which the spikes fell.
        running: whether running may draw a power of its own; else rest is all that the operations leave.

    Raises:
        DataError: no network, or no price agrees with all of them.
    """
    if not networks:
        raise DataError("no network was measured", hint="give at least one")
    # power of one operation a second and picojoule, in mW: 1e-9
    each = [Fraction(one.spikes, 10**9) / window_s for one in networks]
    below = [_Line(one.power_mw, -one.most * rate) for one, rate in zip(networks, each, strict=True)]
    above = [_Line(one.power_mw, -one.fewest * rate) for one, rate in zip(networks, each, strict=True)]
    below.append(_Line(rest_mw[0], Fraction(0)))
    if not running:
        above.append(_Line(rest_mw[1], Fraction(0)))
    corners = [
        (price, base)
        for price, base in _crossings([*below, *above])
        if price >= 0
        and all(line.at(price) <= base for line in below)
        and all(base <= line.at(price) for line in above)
    ]
    if not corners:
        names = ", ".join(one.name for one in networks)
        raise DataError(f"no price of an operation agrees with {names}", hint="check powers, spikes and synapses")
    prices = [price for price, _ in corners]
    return PriceInterval(min(prices), max(prices), max(base for _, base in corners) - rest_mw[0])


def _crossings(lines: Iterable[_Line]) -> Iterable[tuple[Fraction, Fraction]]:
    for one, other in combinations(lines, 2):
        if one.slope != other.slope:
            price = (other.base - one.base) / (one.slope - other.slope)
            yield price, one.at(price)
