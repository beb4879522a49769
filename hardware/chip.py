# SPDX-License-Identifier: Apache-2.0
"""`Chip`: what the rest of the program needs to know of a target, and the list of known ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from spikefold.errors import ConfigError, Issue, nearest
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
    """

    name: str
    title: str
    numbers: NumberFormat
    violations: Callable[[Network], list[Issue]]


def chips() -> dict[str, Chip]:
    """All known chips by name."""
    # here, not at the top: the chip files import `Chip` from this one
    from spikefold.hardware.loihi import LOIHI2
    from spikefold.hardware.speck import SPECK2F

    return {chip.name: chip for chip in (SPECK2F, LOIHI2)}


def chip_named(name: str) -> Chip:
    """The chip of that name.

    Raises:
        ConfigError: there is none; the nearest name is suggested.
    """
    known = chips()
    if name not in known:
        raise ConfigError(f"unknown chip {name!r}", where="chips", hint=nearest(name, known))
    return known[name]
