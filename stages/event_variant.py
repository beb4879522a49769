# SPDX-License-Identifier: Apache-2.0
"""Runs an event-driven chip on the test set, by the engine of the chip's own contract.

The engine is given the frames and, where they are bins of equal time, the recordings that they were made of: it says
itself which of the two it can take.
"""

from __future__ import annotations

from typing import Any

from spikefold.export.network import Network
from spikefold.hardware.event_engine import EventClips, EventEngine
from spikefold.hardware.simulators.trace import Trace
from spikefold.session import Session
from spikefold.train.data.clips import ClipSet
from spikefold.train.data.frames import Bins


def run_by_events(
    session: Session, engine: EventEngine, network: Network, test: ClipSet
) -> tuple[Trace, dict[str, Any]]:
    """The spikes of every test clip; for the report what went in, the gap to clocked steps, the load of the cores."""
    binning = session.binning
    by_time = binning.bins is Bins.TIME
    clips = EventClips(
        test.frames,
        test.labels,
        (lambda: (recording.events for recording in session.dataset.test)) if by_time else None,
        binning.sensor,
        binning.downsample,
        session.config.seed,
        session.config.chips.core_limit,
    )
    found = engine(network, clips)
    for warning in found.warnings:
        session.reporter.line(warning)
    return found.trace, {
        "went_in": found.went_in,
        "gap": found.gap,
        "loads": list(found.loads),
        "over_limit": list(found.over_limit),
    }
