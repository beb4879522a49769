# SPDX-License-Identifier: Apache-2.0
"""`Chip`: what the rest of the program needs to know of a target.

The rules of a chip are functions; `rules_of` makes of their names and docstrings what ``spikefold chips NAME``
prints, so that the check, its message and the manual cannot drift apart.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass

from spikefold.errors import Issue
from spikefold.export.network import Network
from spikefold.export.numbers import NumberFormat


@dataclass(frozen=True)
class Rule:
    """One constraint for people: its name in words, and the docstring of its function on one line."""

    name: str
    text: str


@dataclass(frozen=True)
class Table:
    """Rows under a title. Without ``columns`` the rows explain themselves.

    Raises:
        ValueError: a row has not as many cells as there are columns.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        if self.columns and any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError(f"{self.title}: {len(self.columns)} columns, rows of {sorted(set(map(len, self.rows)))}")


def rules_of(*functions: Callable[..., object]) -> tuple[Rule, ...]:
    """The rules that these functions check, in order.

    Raises:
        ValueError: one has no docstring, so nobody could read the rule.
    """
    rules = []
    for function in functions:
        text = " ".join((inspect.getdoc(function) or "").replace("``", "").split())
        if not text:
            raise ValueError(f"{function.__name__} has no docstring: the docstring is the rule")
        rules.append(Rule(function.__name__.strip("_").replace("_", " "), text))
    return tuple(rules)


@dataclass(frozen=True)
class Chip:
    """One target.

    Attributes:
        name: as written on the command line.
        title: for reports.
        numbers: its integers.
        violations: every rule that an integer network breaks, empty where it fits.
        gate_forms: the static gates it can carry, by the names of `spikefold.train.gates`.
        rules: what ``violations`` checks, in its order.
        memory: one row for each core that a layer can be placed on, None where layers are not placed on cores here.
    """

    name: str
    title: str
    numbers: NumberFormat
    violations: Callable[[Network], list[Issue]]
    gate_forms: tuple[str, ...]
    rules: tuple[Rule, ...] = ()
    memory: Table | None = None
