# SPDX-License-Identifier: Apache-2.0
"""Searches the cheapest setting that fits: an exact search over a few axes, each of which is lowered in steps.

It is a uniform-cost search (Dijkstra's algorithm on the lattice of all settings). The n-th step of one axis costs n
times its price, which spreads the reductions over the layers. From a setting that does not fit, only axes that touch
a layer of one broken rule are lowered: every setting below that fits must have lowered one of them, because the rule
depends on nothing else. The first setting taken from the queue that fits is therefore a cheapest one, and most of the
lattice is never visited. For the same reason a broken rule is remembered for all settings that are equal on its axes.

Steps halve a count. Afterwards each count is increased again, one axis after the other, to the largest whole number
that still fits.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from spikefold.errors import Issue, UnsupportedError

MOST_TRIED = 3_000
"""The number of settings that are checked before the search gives up."""
Setting = tuple[Any, ...]
"""One value for each axis."""
Check = Callable[[Setting], Sequence[Issue] | None]
"""Returns the rules that a setting breaks; None if neither it nor any setting below it makes a network at all."""


@dataclass(frozen=True)
class SearchAxis:
    """One thing that can be changed.

    Attributes:
        what: its name for messages.
        values: the present value, then the value after each further step.
        price: the price of the first step; the n-th step costs n times as much.
        touches: the layers whose rules depend on it.
        counts: whether the values are falling numbers, between which every whole number is a value too.
    """

    what: str
    values: Setting
    price: float
    touches: frozenset[str]
    counts: bool = False


def halvings(count: int, least: int = 1) -> tuple[int, ...]:
    """``count``, its half rounded up, the half of that and so on down to ``least``, such as (6, 3, 2, 1)."""
    values = [count]
    while values[-1] > least:
        values.append(max(least, -(-values[-1] // 2)))
    return tuple(values)


def smallest_change(axes: Sequence[SearchAxis], check: Check) -> Setting:
    """Search the cheapest setting without a broken rule, and increase its counts again as far as they fit.

    Args:
        axes: the things that may change.
        check: called with one value for each axis.

    Raises:
        UnsupportedError: no setting fits; the error lists the rules that the first one breaks.
    """
    found = _cheapest(axes, check)
    for index, axis in enumerate(axes):
        if axis.counts and found[index] != axis.values[0]:
            found = _grown(axes, check, found, index)
    return found


def _cheapest(axes: Sequence[SearchAxis], check: Check) -> Setting:
    start = (0,) * len(axes)
    queue, seen, tried = [(0.0, 0, start)], {start}, 0
    broken = _Broken(axes)
    while queue and tried < MOST_TRIED:
        cost, _, levels = heapq.heappop(queue)
        turns = broken.turns(levels)
        if turns is None:
            setting = _values(axes, levels)
            issues, tried = check(setting), tried + 1
            if issues is None:
                continue
            if not issues:
                return setting
            turns = broken.learn(levels, issues)
        for index in turns:
            turned = (*levels[:index], levels[index] + 1, *levels[index + 1 :])
            if turned not in seen:
                seen.add(turned)
                heapq.heappush(queue, (round(cost + axes[index].price * turned[index], 9), len(seen), turned))
    why = "none of them" if not queue else f"none of the {tried} smallest ones"
    raise UnsupportedError(
        f"no change of {', '.join(axis.what for axis in axes)} makes it fit: {why} does",
        issues=check(_values(axes, start)) or (),
    )


class _Broken:
    """Which rules are known to be broken where: a rule's answer is the same wherever the axes that touch it are."""

    def __init__(self, axes: Sequence[SearchAxis]) -> None:
        self._axes = axes
        self._known = frozenset[str]().union(*(axis.touches for axis in axes))
        # by the axes that touch a rule's layers: the levels of these axes at which it is broken
        self._at: dict[tuple[int, ...], set[tuple[int, ...]]] = {}

    def learn(self, levels: tuple[int, ...], issues: Sequence[Issue]) -> list[int]:
        """Remember what is broken at these levels; the axes to turn: any fit further down has turned one of them."""
        for issue in issues:
            where = frozenset(issue.where.split(", "))
            everything = not where & self._known  # a rule about the network as a whole
            scope = tuple(i for i, axis in enumerate(self._axes) if everything or axis.touches & where)
            self._at.setdefault(scope, set()).add(tuple(levels[i] for i in scope))
        return self.turns(levels) or []

    def turns(self, levels: tuple[int, ...]) -> list[int] | None:
        """The axes with a step left that one broken rule depends on, for the rule with fewest; None without one."""
        scopes = [scope for scope, at in self._at.items() if tuple(levels[i] for i in scope) in at]
        left = [[i for i in scope if levels[i] + 1 < len(self._axes[i].values)] for scope in scopes]
        return min(left, key=len) if left else None


def _values(axes: Sequence[SearchAxis], levels: tuple[int, ...]) -> Setting:
    return tuple(axis.values[level] for axis, level in zip(axes, levels, strict=True))


def _grown(axes: Sequence[SearchAxis], check: Check, setting: Setting, index: int) -> Setting:
    """The setting with the largest count of one axis that bisection finds to fit."""

    def with_count(count: int) -> Setting:
        return (*setting[:index], count, *setting[index + 1 :])

    values = axes[index].values
    low, high = setting[index], values[values.index(setting[index]) - 1]  # low fits
    while high - low > 1:
        middle = (low + high) // 2
        issues = check(with_count(middle))
        low, high = (middle, high) if issues is not None and not issues else (low, middle)
    return with_count(low)
