# SPDX-License-Identifier: Apache-2.0
"""Runs clips on a Speck board and holds its spikes against the event-driven simulator: the protocol, without samna.

For each clip every word of the neuron memories is zeroed, the clocks start, the events are sent a little in the
future (the stop watch runs while a long list is still being written, and what is due by then comes in a burst), and
spikes are read until the board is silent; sinabs' ``hw_forward`` stops at the first silent 0.1 s and cuts slow
answers. There is one grid of bins, that of the stop watch; the time of the first spike does not shift it.

**The first event.** A user measured on a Speck2f that the first event after a reset is lost. Nothing is done about it
unless asked for: an extra event would be wrong on a chip that loses none. But the spikes are also compared with a
simulation in which each core loses its first event, so that the report says which of the two this chip is.
``DeviceOptions.dummy_event`` sends each core one event to lose.

**Biases** are added by a slow clock, which here ticks once a bin and runs only during a clip.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from spikefold.export.network import Network
from spikefold.hardware.simulators.trace import LayerTrace, Trace, concatenate
from spikefold.hardware.speck.board.clips import CLIP_DTYPE, Reading, reading
from spikefold.hardware.speck.board.compare import agreements
from spikefold.hardware.speck.board.device import opened
from spikefold.hardware.speck.board.open_board import Board
from spikefold.hardware.speck.board.options import Clock, DeviceOptions
from spikefold.hardware.speck.board.plan import Plan, notes, planned, simulated
from spikefold.hardware.speck.board.power import rail_powers
from spikefold.hardware.speck.board.result import DeviceRun


def run_on_device(
    target: str,
    configuration: Mapping[str, Any],
    network: Network,
    placement: Mapping[str, int],
    clips: Sequence[np.ndarray],
    options: DeviceOptions | None = None,
    *,
    samna: Any = None,
    clock: Clock | None = None,
    progress: Callable[[str], None] | None = None,
) -> DeviceRun:
    """Run clips on a board and in the simulator, and compare.

    Args:
        target: board type and index, such as ``speck2fdevkit:0``.
        configuration: ``configuration`` of the exported ``config.json``.
        network: the exported integer network, split where the export split it.
        placement: core number by spiking layer, ``layer2core`` of the same file.
        clips: events of each clip, fields ``t, x, y, p``, sorted by t from the start of the clip in microseconds; of
            frames, as `clips.events_of` makes them.
        options: how to run.
        samna: the module; the real one is loaded where none is given.
        clock: where waiting is done.
        progress: told what happens, one sentence a call.

    Raises:
        ConfigError: the target is no board, an option names no layer, or configuration, network and placement do not
            belong together.
        DataError: with everything that keeps the clips from being sent.
        UnsupportedError: the simulator has no rule for the network, or samna refuses the configuration.
        EnvironmentLacksError: no samna, no such board, or a board that fails on the way.
        MismatchError: samna holds another configuration than it was given.
    """
    options, clock, say = options or DeviceOptions(), clock or Clock(), progress or (lambda _: None)
    plan = planned(configuration, network, placement, clips, options)
    with opened(target, samna) as board:
        sha256 = board.configure(configuration, [plan.cores[name] for name in plan.layers])
        clock.sleep(options.settle_s)
        power_missing = board.measure_power(options.power_rate_hz) if options.idle_s else "not asked for"
        idle = _idle(board, plan, clock) if power_missing is None else []
        repeats = []
        for repeat in range(options.repeats):
            heard = []
            for number, clip in enumerate(plan.clips):
                heard.append(_one_clip(board, plan, clip, clock))
                say(f"{target}: repeat {repeat + 1} of {options.repeats}, clip {number + 1} of {len(plan.clips)}")
            repeats.append(_Repeat.of(plan, heard))
    # only now, so that nobody waits for the board meanwhile
    simulation = simulated(plan, lose_first=False)
    without_first = None if options.dummy_event else simulated(plan, lose_first=True)
    traces = tuple(repeat.trace(target) for repeat in repeats)
    return DeviceRun(
        target=target,
        board=board.board_type.samna_name,
        configuration_sha256=sha256,
        clips=len(plan.clips),
        steps=network.input.steps,
        dt_us=network.input.dt_us,
        options=asdict(options),
        slow_clock_hz=plan.slow_clock_hz,
        simulated=simulation,
        repeats=traces,
        layers=agreements(simulation, traces, without_first),
        power=rail_powers(idle, [sample for repeat in repeats for one in repeat.heard for sample in one.power]),
        clip_power=tuple(
            rail_powers((), [sample for repeat in repeats for sample in repeat.heard[number].power])
            for number in range(len(plan.clips))
        ),
        power_missing=power_missing,
        problems=tuple(
            f"repeat {number}, {text}" for number, repeat in enumerate(repeats) for text in repeat.problems(plan)
        ),
        notes=tuple(notes(plan, simulation, power=power_missing is None)),
    )


@dataclass(frozen=True, eq=False)
class ClipResponse:
    """What came back of one clip: spikes, whether they never ended, and power samples while it was replayed.

    Before it, spikes of the clip before may have come after the silence that ended that one: so many were dropped.
    """

    dropped: int
    spikes: np.ndarray
    timed_out: bool
    power: list[tuple[int, float]]


@dataclass(frozen=True, eq=False)
class _Repeat:
    """All clips once: what came back, and each monitored layer's share of it."""

    heard: list[ClipResponse]
    readings: list[dict[str, Reading]]

    @classmethod
    def of(cls, plan: Plan, heard: list[ClipResponse]) -> _Repeat:
        spec, shapes = plan.network.input, plan.network.shapes
        return cls(
            heard,
            [
                {
                    name: reading(one.spikes, plan.cores[name], shapes[name], spec.steps, spec.dt_us, plan.lead_us)
                    for name in plan.layers
                }
                for one in heard
            ],
        )

    def trace(self, runner: str) -> Trace:
        return concatenate(
            [
                Trace(runner, {name: LayerTrace(found.raster[:, None]) for name, found in clip.items()})
                for clip in self.readings
            ]
        )

    def problems(self, plan: Plan) -> Iterator[str]:
        """What went wrong, one sentence each."""
        monitored = [plan.cores[name] for name in plan.layers]
        for number, (one, clip) in enumerate(zip(self.heard, self.readings, strict=True)):
            where = f"clip {number}"
            if one.dropped:
                yield f"{where}: {one.dropped} spikes came after the clip before had ended, and were dropped"
            if one.timed_out:
                yield f"{where}: still sending {plan.options.timeout_s:g} s after the last event, cut there"
            if strangers := int((~np.isin(one.spikes["core"], monitored)).sum()):
                yield f"{where}: {strangers} spikes of cores that are not monitored"
            for name, found in clip.items():
                strays = {"before the clip": found.early, "after it": found.late, "at no neuron": found.outside}
                yield from (f"{where}: {count} spikes of {name} {what}" for what, count in strays.items() if count)


def _idle(board: Board, plan: Plan, clock: Clock) -> list[tuple[int, float]]:
    """Power without input, all else as in a clip."""
    _reset(board, plan, clock)
    board.start(plan.slow_clock_hz)
    board.power()
    clock.sleep(plan.options.idle_s)
    samples = board.power()
    board.stop(plan.slow_clock_hz)
    return samples


def _reset(board: Board, plan: Plan, clock: Clock) -> None:
    board.zero(plan.words)
    clock.sleep(plan.options.settle_s)


def _one_clip(board: Board, plan: Plan, clip: np.ndarray, clock: Clock) -> ClipResponse:
    poll_s = plan.options.poll_s
    _reset(board, plan, clock)
    dropped = board.start(plan.slow_clock_hz)
    begun = clock.now()
    if plan.options.dummy_event:
        board.send(tuple(plan.cores.values()), np.zeros(1, CLIP_DTYPE))
    board.send(plan.first, clip)
    parts = _poll_until(board, clock, begun + int(clip["t"][0]) * 1e-6, poll_s)
    board.power()
    parts += _poll_until(board, clock, begun + int(clip["t"][-1]) * 1e-6, poll_s)
    power = board.power()
    tail, timed_out = _until_quiet(board, plan.options, clock)
    board.stop(plan.slow_clock_hz)
    return ClipResponse(dropped, np.concatenate(parts + tail), timed_out, power)


def _poll_until(board: Board, clock: Clock, moment: float, poll_s: float) -> list[np.ndarray]:
    parts = []
    while (left := moment - clock.now()) > 0:
        clock.sleep(min(left, poll_s))
        parts.append(board.received())
    return parts


def _until_quiet(board: Board, options: DeviceOptions, clock: Clock) -> tuple[list[np.ndarray], bool]:
    """What comes until nothing came for ``quiet_s``, and whether that never happened within ``timeout_s``."""
    parts: list[np.ndarray] = []
    begun = last = clock.now()
    while True:
        clock.sleep(options.poll_s)
        parts.append(board.received())
        now = clock.now()
        if len(parts[-1]):
            last = now
        if now - last >= options.quiet_s:
            return parts, False
        if now - begun >= options.timeout_s:
            return parts, True
