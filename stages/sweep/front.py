# SPDX-License-Identifier: Apache-2.0
"""The front of a sweep: the designs of which no other is at least as good in everything and better in something."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from spikefold.stages.sweep.point import OnChip, Point


def front(costs: np.ndarray) -> np.ndarray:
    """Which rows no other row dominates, ``(N,)`` bool; equal rows stand together.

    Args:
        costs: ``(N, K)``, less is better in each column.
    """
    no_worse = (costs[:, None, :] <= costs[None, :, :]).all(axis=2)
    better = (costs[:, None, :] < costs[None, :, :]).any(axis=2)
    return np.asarray(~(no_worse & better).any(axis=0))


def with_front(points: Sequence[Point]) -> tuple[Point, ...]:
    """The points, each told for each of its chips whether it is on that chip's front.

    Energies by a chip's own budget and by arithmetic alone are not compared with one another.
    """
    groups: dict[tuple[str, str], list[tuple[int, OnChip]]] = {}
    for number, point in enumerate(points):
        for chip, one in point.chips.items():
            groups.setdefault((chip, one.energy_of), []).append((number, one))
    marked: dict[tuple[int, str], bool] = {}
    for (chip, _), members in groups.items():
        costs = np.array([[-one.accuracy, one.energy_uj, one.cores or 0] for _, one in members], float)
        for (number, _), is_on in zip(members, front(costs), strict=True):
            marked[number, chip] = bool(is_on)
    return tuple(
        point.model_copy(update={"chips": dict(_marked(point.chips, number, marked))})
        for number, point in enumerate(points)
    )


def _marked(chips: Mapping[str, OnChip], number: int, marked: Mapping[tuple[int, str], bool]) -> Mapping[str, OnChip]:
    return {chip: one.model_copy(update={"on_front": marked[number, chip]}) for chip, one in chips.items()}
