# SPDX-License-Identifier: Apache-2.0
"""Defines what an event-driven chip's engine is given and gives back: its contract with the stage that simulates."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from spikefold.export.network import Network
from spikefold.hardware.simulators.trace import Trace


@dataclass(frozen=True, eq=False)
class EventClips:
    """Labelled clips, as frames and, where those were binned from recordings by time, as the recordings themselves.

    Attributes:
        frames: event counts ``(T, N, C, H, W)``.
        labels: class of each clip, ``(N,)``.
        recordings: the events of each clip in the order of their times, with the fields ``t`` (microseconds), ``x``,
            ``y`` and ``p``; None where the frames are no bins of equal time.
        sensor: height and width of the recordings in pixels.
        downsample: pixels a side that were summed into one.
        seed: of every random order.
        limit_per_s: synaptic operations a second beyond which a core is warned at; None for no limit.
        spikes_only: whether the spikes are all that is wanted, as in a training: the engine may then leave out the
            gap, the loads and the warnings.
    """

    frames: np.ndarray
    labels: np.ndarray
    recordings: Callable[[], Iterable[np.ndarray]] | None
    sensor: tuple[int, int]
    downsample: int
    seed: int
    limit_per_s: float | None = None
    spikes_only: bool = False


@dataclass(frozen=True, eq=False)
class EventFindings:
    """What an engine found on some clips.

    Attributes:
        trace: the spikes of every clip.
        went_in: says in words what entered the chip.
        gap: how far clocked steps are from it, as plain values.
        loads: for each core how busy it is, as plain values.
        over_limit: the cores above the limit, as plain values.
        warnings: what the user should be told, one sentence each.
    """

    trace: Trace
    went_in: str
    gap: dict[str, Any]
    loads: tuple[dict[str, Any], ...]
    over_limit: tuple[dict[str, Any], ...]
    warnings: tuple[str, ...]


EventEngine = Callable[[Network, EventClips], EventFindings]
"""Runs an integer network, in the form in which the chip holds it, event by event."""
