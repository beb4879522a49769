# SPDX-License-Identifier: Apache-2.0
"""An event-driven chip on the test set: its spikes, how busy its cores are, and how far that is from clocked steps.

Where the chip's sensor layer makes the network's input itself (pools by 1, 2 or 4), the recordings go in as they
are, event by event in the order of their times. Else the events of a frame enter in a random order, fixed by a seed:
a frame does not say which came first, and the order of addresses would be none that a sensor sends.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np

from spikefold.export.network import Network
from spikefold.hardware.simulators.trace import Trace, concatenate
from spikefold.hardware.speck.events import clocked_vs_events
from spikefold.hardware.speck.events import simulate as event_driven
from spikefold.hardware.speck.events.dvs_layer import POOLS, DvsLayer
from spikefold.hardware.speck.events.options import Arrival, Options
from spikefold.hardware.speck.events.result import CoreLoad, EventRun
from spikefold.session import Session
from spikefold.train.data.clips import ClipSet
from spikefold.train.data.frames import Bins

Runner = Callable[[Options], EventRun]


def run_by_events(session: Session, network: Network, test: ClipSet) -> tuple[Trace, dict[str, Any]]:
    """The spikes of every test clip; for the report what went in, the gap to clocked steps, the load of the cores."""
    layer = sensor_layer(session, network)
    if layer is None:
        went_in, runner = "frames, their events in a random order", _on_frames(network, test)
    else:
        went_in, runner = (
            "the recordings' own events, in the order of their times",
            _on_events(session, network, layer),
        )
    options = Options(arrival=Arrival.SEEDED, seed=session.config.seed)
    ran = runner(options)
    gap = clocked_vs_events.compare(network, test.frames, test.labels, lambda other: runner(other).trace, options)
    for issue in gap.warnings:
        session.reporter.line(f"{issue.where}: {issue.rule}: {issue.got}, {issue.limit}. To do: {issue.hint}")
    dt_us = network.input.dt_us
    loads = [
        {
            "layer": load.name,
            "peak_synops_per_s": load.peak_per_second(dt_us),
            "mean_synops_per_s": float(load.operations.mean()) * 1e6 / dt_us,
        }
        for load in ran.loads
    ]
    limit = session.config.chips.core_limit
    above = [] if limit is None else [asdict(found) for found in ran.over_limit(limit, dt_us)]
    for found in above:
        peak = f"{found['peak_per_second']:,.0f} synaptic operations a second at its peak"
        session.reporter.line(f"{found['layer']}: {peak}, the limit given is {limit:,.0f}")
    return ran.trace, {"went_in": went_in, "gap": gap.to_json(), "loads": loads, "over_limit": above}


def sensor_layer(session: Session, network: Network) -> DvsLayer | None:
    """The setting of the chip's sensor layer that gives the network's input, or None where none does."""
    binning = session.binning
    if binning.downsample not in POOLS or binning.bins is not Bins.TIME:
        return None
    layer = DvsLayer(binning.sensor, pool=(binning.downsample, binning.downsample))
    return layer if layer.output_shape == network.input.shape else None


def _on_frames(network: Network, test: ClipSet) -> Runner:
    return lambda options: event_driven.simulate(network, test.frames, options)


def _on_events(session: Session, network: Network, layer: DvsLayer) -> Runner:
    spec = network.input

    def run(options: Options) -> EventRun:
        runs = [
            event_driven.simulate_events(
                network, recording.events, layer, dt_us=spec.dt_us, steps=spec.steps, options=options
            )
            for recording in session.dataset.test
        ]
        loads = tuple(
            CoreLoad(
                same[0].name,
                *(np.concatenate([getattr(load, key) for load in same], axis=1) for key in ("events", "operations")),
            )
            for same in zip(*(one.loads for one in runs), strict=True)
        )
        return EventRun(concatenate([one.trace for one in runs]), loads)

    return run
