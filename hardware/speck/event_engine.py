# SPDX-License-Identifier: Apache-2.0
"""Runs test clips event by event, as the chip does: their spikes, how busy its cores are, how far clocked steps are.

Where the chip's sensor layer makes the network's input itself (it pools by 1, 2 or 4), the recordings go in as they
are, event by event in the order of their times. Else the events of a frame enter in a random order, fixed by a seed:
a frame does not say which came first, and the order of addresses would be none that a sensor sends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from spikefold.export.network import Network
from spikefold.hardware.event_engine import EventClips, EventFindings
from spikefold.hardware.speck.events import clocked_vs_events
from spikefold.hardware.speck.events import simulate as event_driven
from spikefold.hardware.speck.events.dvs_layer import POOLS, DvsLayer
from spikefold.hardware.speck.events.options import Arrival, Options
from spikefold.hardware.speck.events.result import EventRun
from spikefold.hardware.speck.measures import SpeckMeasures

Engine = Callable[[Options], EventRun]


def run_by_events(network: Network, clips: EventClips) -> EventFindings:
    """Run every clip, and hold the result against clocked steps on the same clips unless the spikes are enough.

    Raises:
        SpikefoldError: as `events.simulate` and `clocked_vs_events.compare`.
    """
    layer = sensor_layer(network, clips)
    if layer is None or clips.recordings is None:
        went_in, engine = "frames, their events in a random order", _on_frames(network, clips.frames)
    else:
        went_in = "the recordings' own events, in the order of their times"
        engine = _on_recordings(network, layer, clips.recordings)
    options = Options(arrival=Arrival.SEEDED, seed=clips.seed, first_clip=clips.first)
    ran = engine(options)
    if clips.spikes_only:
        return EventFindings(ran.trace, went_in)
    gap = clocked_vs_events.compare(
        network, clips.frames, clips.labels, lambda other: engine(other).trace, options, ran.trace
    )
    dt_us, limit = network.input.dt_us, clips.limit_per_s
    most = None if limit is None else limit * dt_us / 1e6
    loads = tuple(load.summed(most, clips.first) for load in ran.loads)
    return EventFindings(ran.trace, went_in, SpeckMeasures(gap, loads, dt_us, limit))


def sensor_layer(network: Network, clips: EventClips) -> DvsLayer | None:
    """The setting of the chip's sensor layer that gives the network's input, or None where none does."""
    if clips.downsample not in POOLS or clips.recordings is None:
        return None
    layer = DvsLayer(clips.sensor, pool=(clips.downsample, clips.downsample))
    return layer if layer.output_shape == network.input.shape else None


def _on_frames(network: Network, frames: np.ndarray) -> Engine:
    return lambda options: event_driven.simulate(network, frames, options)


def _on_recordings(network: Network, layer: DvsLayer, recordings: Callable[[], Iterable[np.ndarray]]) -> Engine:
    spec = network.input

    def run(options: Options) -> EventRun:
        return event_driven.simulate_recordings(
            network, list(recordings()), layer, dt_us=spec.dt_us, steps=spec.steps, options=options
        )

    return run
