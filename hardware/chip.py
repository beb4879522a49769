# SPDX-License-Identifier: Apache-2.0
"""`Chip`: what the rest of the program needs to know of a target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from spikefold.errors import Issue
from spikefold.export.network import Network
from spikefold.export.numbers import NumberFormat


@dataclass(frozen=True)
class Chip:
    """One target.

    Attributes:
        name: as written on the command line.
        title: for reports.
        numbers: its integers.
        violations: every rule that an integer network breaks, empty where it fits.
        gate_forms: the static gates it can carry, by the names of `spikefold.train.gates`.
    """

    name: str
    title: str
    numbers: NumberFormat
    violations: Callable[[Network], list[Issue]]
    gate_forms: tuple[str, ...]
