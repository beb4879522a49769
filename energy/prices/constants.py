# SPDX-License-Identifier: Apache-2.0
"""The constants that results were made with: each with its file and line, so that a report can link to every one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from spikefold.energy.prices.load import TechnologyProfile
from spikefold.errors import MismatchError


def constants_used(results: Any, profiles: Iterable[TechnologyProfile]) -> list[dict[str, Any]]:
    """Each number of a profile that results refer to by ``where``, once, by file and line.

    Args:
        results: plain values, at any depth; ``where`` is one place or a list of them.
        profiles: in which the numbers stand.

    Raises:
        MismatchError: a place that is in no profile.
    """
    known = {
        price.where: {"profile": profile.name, "name": name, **price.model_dump(mode="json")}
        for profile in profiles
        for name, price in profile.constants()
    }
    used = {place for place in places(results) if place}
    if missing := sorted(used - known.keys()):
        raise MismatchError(f"constants of no profile: {', '.join(missing)}")
    return [known[place] for place in sorted(used, key=_file_and_line)]


def places(value: Any) -> Iterator[str]:
    """Every place that plain values refer to by ``where``, at any depth, as often as they do."""
    if isinstance(value, dict):
        for key, one in value.items():
            if key == "where":
                yield from [one] if isinstance(one, str) else one
            else:
                yield from places(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from places(one)


def _file_and_line(place: str) -> tuple[str, int]:
    file, _, line = place.rpartition(":")
    return file, int(line)
