# SPDX-License-Identifier: Apache-2.0
"""Which technology profile a chip's power and times come from: its own published numbers, or what the user gives."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from spikefold.energy.prices.load import Profile, load_profile
from spikefold.errors import ConfigError, Issue, nearest

KEY = "chips.power"
"""Of the configuration."""


@dataclass(frozen=True)
class Published:
    """What there is of a chip.

    Attributes:
        own: profile of its numbers; None where nobody published any.
        other: profile of another chip, to stand beside.
        label: what that is.
    """

    own: str | None
    other: str | None = None
    label: str = ""


SOURCES: Mapping[str, Published] = MappingProxyType(
    {
        "speck2f": Published("speck"),
        "speck2e": Published("speck"),
        # the chip before Speck, in another process: only its cores are alike
        "dynapcnndevkit": Published(None),
        "loihi1": Published("loihi1-presilicon"),
        "loihi2": Published(
            "loihi2",
            "loihi1-presilicon",
            "numbers of Loihi 1, pre-silicon, with the cores that Loihi 2 would use: nobody published Loihi 2's own",
        ),
    }
)


@dataclass(frozen=True)
class Numbers:
    """The profiles of one chip.

    Attributes:
        own: what its numbers are made of; None where there is nothing.
        other: another chip's, to stand beside.
        label: what that is.
        chosen: whether the user chose `own`.
    """

    own: Profile | None
    other: Profile | None = None
    label: str = ""
    chosen: bool = False


def numbers_of(names: Collection[str], chosen: Mapping[str, str]) -> dict[str, Numbers]:
    """The profiles of each chip.

    Args:
        names: of the chips.
        chosen: by chip a profile's name or path, in place of what is published of it; the table ``chips.power``.

    Raises:
        ConfigError: a choice for a chip that is not among the names, or of a profile that cannot be read, whose power
            at rest is missing or grows with a clock, or whose energies hold it already; every one is named.
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
    source = SOURCES.get(name, Published(None))
    own, other = (None if one is None else load_profile(one) for one in (source.own, source.other))
    return Numbers(own, other, source.label)


def _unusable(name: str, profile: Profile | None) -> list[Issue]:
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
