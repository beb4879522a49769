# SPDX-License-Identifier: Apache-2.0
"""Defines what an event-driven chip's engine is given and gives back: its contract with the stage that simulates."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

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
            measures.
        first: number of the first clip in the set that they are a part of; a random order follows from it.
    """

    frames: np.ndarray
    labels: np.ndarray
    recordings: Callable[[], Iterable[np.ndarray]] | None
    sensor: tuple[int, int]
    downsample: int
    seed: int
    limit_per_s: float | None = None
    spikes_only: bool = False
    first: int = 0


class EventMeasures(Protocol):
    """What an engine measured beside the spikes, in a form in which parts of a set of clips add up to the whole."""

    def __add__(self, other: Any) -> Any:
        """The measures of both parts together; the other part stands behind this one."""

    @property
    def gap(self) -> dict[str, Any]:
        """How far clocked steps are from it, as plain values."""

    @property
    def loads(self) -> tuple[dict[str, Any], ...]:
        """For each core how busy it is, as plain values."""

    @property
    def over_limit(self) -> tuple[dict[str, Any], ...]:
        """The cores above the limit, as plain values."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the user should be told, one sentence each."""


@dataclass(frozen=True, eq=False)
class EventFindings:
    """What an engine found on some clips.

    Attributes:
        trace: the spikes of every clip.
        went_in: says in words what entered the chip.
        measures: what else was measured; None where the spikes were all that was wanted.
    """

    trace: Trace
    went_in: str
    measures: EventMeasures | None = None


EventEngine = Callable[[Network, EventClips], EventFindings]
"""Runs an integer network, in the form in which the chip holds it, event by event."""
