# SPDX-License-Identifier: Apache-2.0
"""Turns clips into lists of events for a board, and a board's spikes into rasters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spikefold.errors import Issue
from spikefold.export.network import InputSpec
from spikefold.export.ops import Shape

CLIP_DTYPE = np.dtype([("t", "<i8"), ("x", "<i8"), ("y", "<i8"), ("p", "<i8")])
"""One event: microseconds from the start of the clip, column, row, input channel."""
EDGE = 1 / 8
"""Share of a bin that `events_of` leaves empty at each end."""
_HINT = "bin the recording as for the network, then events_of(frames, dt_us)"


def events_of(frames: np.ndarray, dt_us: int) -> np.ndarray:
    """One clip's frames as events, those of a bin evenly over its middle three quarters.

    Within a bin they come by y, x and channel, the order in which `events.simulate` lets a frame in. An eighth
    of the bin is left empty at its start, so that a slow clock that drifts a little still ticks between two bins'
    events; and one at its end, so that the spikes they cause fall into the same bin.

    Args:
        frames: event counts ``(T, C, H, W)``, whole and not negative.
        dt_us: length of a bin.

    Returns:
        ``(events,)`` of `CLIP_DTYPE`.
    """
    _, channels, height, width = frames.shape
    bins = []
    for step, frame in enumerate(frames.transpose(0, 2, 3, 1)):
        addresses = np.repeat(np.arange(frame.size), frame.ravel().astype(np.int64))
        y, x, p = np.unravel_index(addresses, (height, width, channels))
        events = np.empty(len(addresses), CLIP_DTYPE)
        first, room = int(dt_us * EDGE), int(dt_us * (1 - 2 * EDGE))
        within = first + np.arange(len(addresses)) * room // max(1, len(addresses))
        events["t"] = step * dt_us + within
        events["x"], events["y"], events["p"] = x, y, p
        bins.append(events)
    return np.concatenate(bins) if bins else np.empty(0, CLIP_DTYPE)


def clip_issues(clip: np.ndarray, number: int, spec: InputSpec) -> list[Issue]:
    """Why a clip cannot be sent; empty where it can."""
    channels, height, width = spec.shape
    where, end = f"clip {number}", spec.steps * spec.dt_us
    if not len(clip):
        return [Issue("a clip has events", where, "none", "one", "leave the clip out")]
    issues = [
        Issue(f"{name} lies in the input", where, f"{clip[name].min()}..{clip[name].max()}", f"0..{size - 1}", _HINT)
        for name, size in (("t", end), ("x", width), ("y", height), ("p", channels))
        if clip[name].min() < 0 or clip[name].max() >= size
    ]
    if (np.diff(clip["t"].astype(np.int64)) < 0).any():
        issues.append(Issue("time runs forward", where, "a step back", "sorted by t", _HINT))
    return issues


@dataclass(frozen=True, eq=False)
class Reading:
    """What one layer sent in one clip.

    Attributes:
        raster: spike counts ``(T, C, H, W)`` uint32; strays in time are in the first and the last bin.
        early: spikes before the first bin.
        late: spikes after the last bin.
        outside: spikes at addresses that the layer does not have; not in the raster.
    """

    raster: np.ndarray
    early: int
    late: int
    outside: int


def reading(spikes: np.ndarray, core: int, shape: Shape, steps: int, dt_us: int, start_us: int) -> Reading:
    """The spikes of one core, by bin.

    Args:
        spikes: of `open_board.SPIKE_DTYPE`, before any pool.
        core: its number; spikes of others are left out.
        shape: ``(C, H, W)`` of its neurons.
        steps: bins.
        dt_us: length of a bin.
        start_us: stop watch at the start of the first bin.
    """
    mine = spikes[spikes["core"] == core]
    inside = np.ones(len(mine), bool)
    for name, size in zip("cyx", shape, strict=True):
        inside &= (mine[name] >= 0) & (mine[name] < size)
    kept = mine[inside]
    bins = (kept["t"] - start_us) // dt_us
    raster = np.zeros((steps, *shape), np.uint32)
    np.add.at(raster, (np.clip(bins, 0, steps - 1), kept["c"], kept["y"], kept["x"]), 1)
    return Reading(raster, int((bins < 0).sum()), int((bins >= steps).sum()), int((~inside).sum()))
