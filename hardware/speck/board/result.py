# SPDX-License-Identifier: Apache-2.0
"""Defines `DeviceRun`: what a board did with some clips, beside what the simulator says it should do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from spikefold.hardware.simulators.trace import Trace
from spikefold.hardware.speck.board.compare import (
    CHIP_TO_CHIP,
    SIMULATOR_TO_CHIP,
    Agreement,
    LayerAgreement,
    classify,
    worst,
)
from spikefold.hardware.speck.board.power import OFFSET_W, RailPower


@dataclass(frozen=True, eq=False)
class DeviceRun:
    """One run.

    Attributes:
        target: as asked for, such as ``speck2fdevkit:0``.
        board: samna's name of its type.
        configuration_sha256: `config.fingerprint` of the configuration that was applied.
        clips: how many.
        steps: bins of a clip.
        dt_us: length of a bin.
        options: `DeviceOptions` as plain values.
        slow_clock_hz: rate at which biases were added; None without biases.
        simulated: the monitored layers in the simulator.
        repeats: the monitored layers on the board, one trace a repeat.
        layers: how the two agree.
        power: by rail; empty where it was not measured.
        clip_power: the active samples of each clip by itself, over its repeats; the clips differ in activity.
        power_missing: why there is no power, None where there is.
        problems: what went wrong on the way; a run with problems is no evidence.
        notes: what to know to read the figures.
    """

    target: str
    board: str
    configuration_sha256: str
    clips: int
    steps: int
    dt_us: int
    options: Mapping[str, Any]
    slow_clock_hz: int | None
    simulated: Trace
    repeats: tuple[Trace, ...]
    layers: tuple[LayerAgreement, ...]
    power: tuple[RailPower, ...]
    clip_power: tuple[tuple[RailPower, ...], ...]
    power_missing: str | None
    problems: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def agreement(self) -> Agreement:
        """The class of the worst layer."""
        return worst([layer.agreement for layer in self.layers])

    @property
    def loses_first_event(self) -> bool:
        """Whether a simulation that loses each core's first event explains the spikes in a better class."""
        lost = worst([classify(one) for layer in self.layers for one in layer.without_first_event])
        return lost is not self.agreement and worst([lost, self.agreement]) is self.agreement

    def to_json(self) -> dict[str, Any]:
        """Plain values for ``validate.json``; rasters are left out."""
        return {
            "target": self.target, "board": self.board, "configuration_sha256": self.configuration_sha256,
            "runners": [self.simulated.runner, self.target], "clips": self.clips, "steps": self.steps,
            "dt_us": self.dt_us, "slow_clock_hz": self.slow_clock_hz, "options": dict(self.options),
            "agreement": str(self.agreement), "loses_first_event": self.loses_first_event,
            "yardsticks": {"chip to chip": CHIP_TO_CHIP, "event simulator to chip": SIMULATOR_TO_CHIP,
                           "source": "MTT paper, N-MNIST 3C1FC on Speck2e, output layer; second-hand"},
            "layers": [
                asdict(layer) | {"agreement": str(layer.agreement),
                                 "by_repeat": [str(classify(one)) for one in layer.differences]}
                for layer in self.layers
            ],
            "power": [asdict(rail) | {"difference_w": rail.difference_w} for rail in self.power],
            "clip_power": [[asdict(rail) for rail in clip] for clip in self.clip_power],
            "power_missing": self.power_missing, "power_offset_w": OFFSET_W,
            "problems": list(self.problems), "notes": list(self.notes),
        }  # fmt: skip

    def describe(self) -> str:
        """One line for people."""
        neurons = sum(layer.neurons for layer in self.layers)
        spikes = sum(layer.spikes_simulated for layer in self.layers)
        sds = [sd for layer in self.layers for sd in layer.differences if sd is not None]
        figure = f"SD up to {max(sds):.2%}" if sds else "no SD"
        text = (
            f"{self.simulated.runner} against {self.target}: {self.agreement}, {figure} ({len(self.layers)} layers, "
            f"{neurons} neurons, {self.steps} steps, {self.clips} clips, {len(self.repeats)} repeats, "
            f"{spikes} spikes)"
        )
        return text + (f"; {len(self.problems)} PROBLEMS, first: {self.problems[0]}" if self.problems else "")
