# SPDX-License-Identifier: Apache-2.0
"""Runs an event-driven chip on some clips, by the engine of the chip's own contract.

The engine is given the frames and, where they are bins of equal time, the recordings that they were made of: it says
itself which of the two it can take.
"""

from __future__ import annotations

from spikefold.config import Config
from spikefold.export.network import Network
from spikefold.hardware.event_engine import EventClips, EventEngine, EventFindings
from spikefold.train.data.clips import Part
from spikefold.train.data.frames import Binning, Bins


def run_by_events(
    engine: EventEngine, network: Network, part: Part, binning: Binning, config: Config, *, spikes_only: bool = False
) -> EventFindings:
    """The spikes of every clip; beside them the gap to clocked steps and the load of the cores, unless left out."""
    recordings = part.recordings
    by_time = binning.bins is Bins.TIME and recordings is not None
    clips = EventClips(
        part.clips.frames,
        part.clips.labels,
        (lambda: (recording.events for recording in recordings or ())) if by_time else None,
        binning.sensor,
        binning.downsample,
        config.seed,
        config.chips.core_limit,
        spikes_only,
        part.first,
    )
    return engine(network, clips)
