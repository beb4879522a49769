# SPDX-License-Identifier: Apache-2.0
"""Loads the technology profiles that a chip's power and times come from: those published of it, or the user's own."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from spikefold.energy.prices.load import TechnologyProfile, load_profile
from spikefold.errors import ConfigError, Issue, nearest
from spikefold.hardware.registry import chip_named

KEY = "chips.power"
"""Of the configuration."""


@dataclass(frozen=True)
class Numbers:
    """The profiles of one chip.

    Attributes:
        own: what its numbers are made of; None where there is nothing.
        other: another chip's, to stand beside it in the report; None for none.
        label: says in words what the other is.
        chosen: whether the user chose `own`.
    """

    own: TechnologyProfile | None
    other: TechnologyProfile | None = None
    label: str = ""
    chosen: bool = False


def numbers_of(names: Collection[str], chosen: Mapping[str, str]) -> dict[str, Numbers]:
    """The profiles of each chip.

    Args:
        names: of the chips.
        chosen: by chip a profile's name or path, in place of what is published of it; the table ``chips.power``.

    Raises:
        ConfigError: an unknown chip; a choice for a chip that is not among the names, or of a profile that cannot be
            read, whose power at rest is missing or grows with a clock, or whose energies hold it already; every one
            is named.
    """
    issues = [
        Issue("a chip of this run", f"{KEY}.{name}", repr(name), f"one of {list(names)}", nearest(name, names))
        for name in chosen
        if name not in names
    ]
    found = {
        name: Numbers(load_profile(chosen[name]), chosen=True) if name in chosen else _published(name)
        for name in names
    }
    for name, numbers in found.items():
        issues += _unusable(name, numbers.own)
    if issues:
        raise ConfigError("no chip's power can be told from that", where=KEY, issues=issues)
    return found


def _published(name: str) -> Numbers:
    published = chip_named(name).published
    own, other = (None if one is None else load_profile(one) for one in (published.own, published.reference))
    return Numbers(own, other, published.label)


def _unusable(name: str, profile: TechnologyProfile | None) -> list[Issue]:
    if profile is None:
        return []
    if profile.power_mw is None:
        got = "nothing"
    elif profile.power_mw.clock is not None:
        got = "power that grows with a clock"
    elif profile.energy_pj.ac.kind == "all-in":
        got = "an energy of an operation that holds it already"
    else:
        return []
    return [
        Issue(
            "power at rest",
            f"{KEY}.{name}",
            f"{got} in {profile.name}",
            "one number",
            "take the profile of a chip, such as speck, loihi1-presilicon or loihi1-fitted, or write your own "
            "with [power_mw.static] as it is at your clock",
        )
    ]
