# SPDX-License-Identifier: Apache-2.0
"""Does everything that runs a chip's integer network agree, spike for spike? The reference is compared with all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from spikefold.export.network import Network
from spikefold.hardware.simulators import clocked, reference
from spikefold.hardware.simulators.compare import Comparison, Rerun, compare, explain
from spikefold.hardware.simulators.trace import Trace


class Runner(Protocol):
    """Runs one integer network on frames ``(T, N, C, H, W)``."""

    def __call__(self, frames: np.ndarray, *, potentials: bool = False) -> Trace:
        """The trace of every clip, each from zero state."""


@dataclass(frozen=True)
class Parity:
    """All comparisons of one chip, and what its own simulator did."""

    chip: str
    comparisons: tuple[Comparison, ...]
    judged: Trace

    @property
    def runners(self) -> tuple[str, ...]:
        """The runners compared, the reference first."""
        return (reference.RUNNER, *(comparison.runners[1] for comparison in self.comparisons))

    def failures(self) -> list[str]:
        """One sentence for each comparison that is not equal."""
        return [f"{self.chip}: {explain(c)}" for c in self.comparisons if c.mismatches]

    def to_json(self) -> dict[str, object]:
        """Plain values: totals over the comparisons, sizes of the largest, and each comparison."""
        largest = max(self.comparisons, key=lambda c: c.clips)
        return {
            "runners": list(self.runners),
            "layers": largest.layers,
            "steps": largest.steps,
            "neurons": largest.neurons,
            "clips": largest.clips,
            "spikes": largest.spikes,
            "mismatches": sum(c.mismatches for c in self.comparisons),
            "comparisons": [c.to_json() for c in self.comparisons],
        }


def check(chip: str, network: Network, frames: np.ndarray, judge: Runner, vendor_clips: int) -> Parity:
    """Compare the reference with the PyTorch engine on all clips, and with the chip's own simulator on some.

    Args:
        chip: its name.
        network: its integer network.
        frames: ``(T, N, C, H, W)``.
        judge: the chip vendor's simulator.
        vendor_clips: how many of the clips it is given.

    Raises:
        MismatchError: a runner does not report every layer, or a layer never fires.
    """

    def specification(frames: np.ndarray, *, potentials: bool = False) -> Trace:
        return reference.run(network, frames, potentials=potentials)

    def engine(frames: np.ndarray, *, potentials: bool = False) -> Trace:
        return clocked.run(network, frames, potentials=potentials)

    expected = specification(frames)
    few = frames[:, :vendor_clips]
    pairs: list[tuple[Trace, Runner, np.ndarray]] = [
        (expected, engine, frames),
        (expected if vendor_clips >= frames.shape[1] else specification(few), judge, few),
    ]
    comparisons, judged = [], expected
    for trace, runner, clips in pairs:
        again = (_one_clip(specification, clips), _one_clip(runner, clips))
        judged = runner(clips)  # the judge is the last one
        comparisons.append(compare(trace, judged, again))
    return Parity(chip, tuple(comparisons), judged)


def _one_clip(runner: Runner, frames: np.ndarray) -> Rerun:
    return lambda clip: runner(frames[:, clip : clip + 1], potentials=True)
