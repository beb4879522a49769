# SPDX-License-Identifier: Apache-2.0
"""NeuroBench's system track of a board: what ``spikefold validate --on`` measured, in the form of `system_track`.

One row is of the processor alone, which is what a chip's estimate speaks of, and one of every rail of the chip that
was measured, interfaces and sensor included. The meter may be off by a constant on each rail; dynamic power is free
of it, idle and active power are not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from spikefold.energy.chip.system_track import SystemTrack
from spikefold.energy.prices.calibration_data import PROCESSOR
from spikefold.hardware.board import PowerMeter

PRE_PROCESSING = "events are sent as they are binned; binning them into frames is in no number"


def measured_tracks(
    target: str, power: Sequence[Mapping[str, Any]], meter: PowerMeter | None, replayed_us: Sequence[int]
) -> tuple[SystemTrack, ...]:
    """The rows of a board.

    Args:
        target: type and index of the board.
        power: of each rail, as ``board.json`` holds it: ``rail``, ``idle_w`` and ``active_w``, None without a sample.
        meter: its power monitor; None where it has none.
        replayed_us: of each clip how long its events were sent in one run: the execution time of an inference.

    Returns:
        Nothing where no time passed, or where a rail of the processor was not measured both idle and active.
    """
    if meter is None or not sum(replayed_us):
        return ()
    rails = {
        meter.rails[str(one["rail"])]: (one["idle_w"] * 1e3, one["active_w"] * 1e3)
        for one in power
        if one["rail"] in meter.rails and one["idle_w"] is not None and one["active_w"] is not None
    }
    if not set(PROCESSOR) <= set(rails):
        return ()
    time_ms = sum(replayed_us) / len(replayed_us) / 1e3
    return tuple(_rows(target, rails, time_ms))


def _rows(target: str, rails: Mapping[str, tuple[float, float]], time_ms: float) -> Iterator[SystemTrack]:
    for names in (PROCESSOR, tuple(rails)):
        idle, active = (sum(rails[name][end] for name in names) for end in (0, 1))
        yield SystemTrack(
            f"{target}: {' + '.join(names)}", (idle, idle), (active, active), time_ms, PRE_PROCESSING, estimated=False
        )
