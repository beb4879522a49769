# SPDX-License-Identifier: Apache-2.0
"""Compares everything that runs a chip's integer network with the reference, spike for spike."""

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
    """All comparisons of one chip.

    Attributes:
        chip: its name.
        comparisons: the reference with each other runner.
        simulated: what the simulator of the chip's vendor did; None for a chip without one.
    """

    chip: str
    comparisons: tuple[Comparison, ...]
    simulated: Trace | None

    @property
    def runners(self) -> tuple[str, ...]:
        """The runners compared, the reference first."""
        return (reference.RUNNER, *(comparison.runners[1] for comparison in self.comparisons))

    @property
    def silent(self) -> tuple[str, ...]:
        """Layers that were not compared somewhere, because they never fire."""
        return tuple(dict.fromkeys(name for comparison in self.comparisons for name in comparison.silent))

    def failures(self) -> list[str]:
        """One sentence for each comparison that is not equal, and one for the layers that were not compared."""
        found = [f"{self.chip}: {explain(c)}" for c in self.comparisons if c.mismatches]
        if self.silent:
            found.append(f"{self.chip}: NOT COMPARED, for it never fires: {', '.join(self.silent)}")
        return found

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


def check(
    chip: str,
    network: Network,
    frames: np.ndarray,
    vendor: Runner | None,
    vendor_clips: int,
    *,
    allow_silent: bool = False,
) -> Parity:
    """Compare the reference with the PyTorch engine on all clips, and with the vendor's simulator on some.

    Args:
        chip: its name.
        network: its integer network.
        frames: ``(T, N, C, H, W)``.
        vendor: the simulator of the chip's vendor; None for a chip without one.
        vendor_clips: how many of the clips it is given.
        allow_silent: a layer that never fires is among the failures of the result, and the others are compared.

    Raises:
        MismatchError: a runner does not report every layer, or a layer never fires.
    """

    def specification(frames: np.ndarray, *, potentials: bool = False) -> Trace:
        return reference.run(network, frames, potentials=potentials)

    def engine(frames: np.ndarray, *, potentials: bool = False) -> Trace:
        return clocked.run(network, frames, potentials=potentials)

    def compared(trace: Trace, runner: Runner, clips: np.ndarray) -> tuple[Comparison, Trace]:
        found = runner(clips)
        reruns = _one_clip(specification, clips), _one_clip(runner, clips)
        return compare(trace, found, reruns, allow_silent=allow_silent), found

    expected = specification(frames)
    comparisons, simulated = [compared(expected, engine, frames)[0]], None
    if vendor is not None:
        few = frames[:, :vendor_clips]
        same = expected if vendor_clips >= frames.shape[1] else specification(few)
        comparison, simulated = compared(same, vendor, few)
        comparisons.append(comparison)
    return Parity(chip, tuple(comparisons), simulated)


def _one_clip(runner: Runner, frames: np.ndarray) -> Rerun:
    return lambda clip: runner(frames[:, clip : clip + 1], potentials=True)
