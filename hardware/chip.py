# SPDX-License-Identifier: Apache-2.0
"""`Chip`: what the rest of the program needs to know of a target.

The rules of a chip are functions; `rules_of` makes of their names and docstrings what ``spikefold chips NAME``
prints, so that the check, its message and the manual cannot drift apart.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
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
class Use:
    """What one layer takes of a chip.

    Attributes:
        layer: the weight layer.
        cores: how many cores hold it.
        memory: resource by name, in its own unit: used and allowed, of the core where it is tightest.
        limited_by: the resource that decided the number of cores.
    """

    layer: str
    cores: int
    memory: Mapping[str, tuple[int, int]]
    limited_by: str


@dataclass(frozen=True)
class Resources:
    """What a network takes of a chip.

    Attributes:
        layers: one entry a weight layer, in network order.
        chips: how many chips hold all cores.
        limited_by: what decided the number of chips.
        estimate: whether the counts are an estimate, because the vendor's own placement is not public.
        placement: core number by spiking layer; empty where cores are only counted.
    """

    layers: tuple[Use, ...]
    chips: int
    limited_by: str
    estimate: bool
    placement: Mapping[str, int]

    @property
    def cores(self) -> int:
        """Cores of all layers."""
        return sum(use.cores for use in self.layers)


@dataclass(frozen=True)
class Chip:
    """One target.

    Attributes:
        name: as written on the command line.
        title: for reports.
        numbers: its integers.
        violations: every rule that an integer network breaks, empty where it fits.
        gate_forms: the static gates it can carry, by the names of `spikefold.train.deploy.gates`.
        rules: what ``violations`` checks, in its order.
        memory: one row for each core that a layer can be placed on, None where layers are not placed on cores here.
        resources: what a network that keeps the rules takes of the chip.
        or_pools: whether max pools of binary spikes become OR neurons for it (`passes.maxpool_to_or`, exact).
        counts_any: whether ``resources`` also counts a network that breaks rules, or a real one.
        laid_out: the form in which the chip runs an integer network, spike for spike the same: layers split over
            cores; None where the network is run as it is.
        event_driven: whether the chip works event by event, where the clocked engines add up a time step.
    """

    name: str
    title: str
    numbers: NumberFormat
    violations: Callable[[Network], list[Issue]]
    gate_forms: tuple[str, ...]
    rules: tuple[Rule, ...] = ()
    memory: Table | None = None
    resources: Callable[[Network], Resources] | None = None
    or_pools: bool = False
    counts_any: bool = False
    laid_out: Callable[[Network], Network] | None = None
    event_driven: bool = False
