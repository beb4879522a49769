# SPDX-License-Identifier: Apache-2.0
"""Says what is wrong where layers find no place on the cores: what they need, what there is, the smallest change."""

from __future__ import annotations

from collections.abc import Sequence

from spikefold.errors import Issue
from spikefold.hardware.speck.cores import Memory
from spikefold.hardware.speck.split_plan import Demand, most_channels, usable


def unplaceable(rule: str, members: Sequence[Demand], cores: Sequence[Memory]) -> Issue:
    """The issue for a `split_plan.shortage`.

    Args:
        rule: that is broken.
        members: the layers that compete, or one that fits nowhere.
        cores: memory of each core.
    """
    used = "; ".join(f"{one.name} needs {one.memory}" for one in members)
    used = f"{len(members)} layers: {used}" if len(members) > 1 else str(members[0].memory)
    parts = any(one.splits for one in members)
    kinds = set().union(*(usable(one, cores) for one in members))
    able = [core for core in cores if core in kinds]
    if able:
        limit = f"{len(able)} that could take them{' or their parts' if parts else ''}: {_listed(able, cores)}"
    else:
        limit = f"no core holds it{', nor do two hold its parts' if parts else ''}: {_listed(cores, cores)}"
    return Issue(rule, ", ".join(one.name for one in members), used, limit, _change(members, cores))


def _listed(some: Sequence[Memory], cores: Sequence[Memory]) -> str:
    numbers = {kind: [str(number) for number, core in enumerate(cores) if core == kind] for kind in some}
    return "; ".join(f"core {', '.join(found)}: {kind}" for kind, found in numbers.items())


def _change(members: Sequence[Demand], cores: Sequence[Memory]) -> str:
    """The fewest output channels, relative to what there were, to take from one layer that gives all a place."""
    # the channels of the last layer are the classes
    inner = [one for one in members if one.readers] or members
    found = [(most / one.weight[0], most, one) for one in inner if (most := most_channels(members, one, cores))]
    if found:
        _, most, one = max(found, key=lambda item: item[0])
        places = "would give all of them a place" if len(members) > 1 else "would fit"
        return f"{most} instead of {one.weight[0]} output channels of {one.name} {places}"
    if len(members) > len(cores):
        return f"leave out {len(members) - len(cores)} layers"
    return f"stride or pool before {members[0].name}"
