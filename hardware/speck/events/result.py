# SPDX-License-Identifier: Apache-2.0
"""What an event-driven run hands back: its spikes, the work of each core over time, and where that was too much."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from spikefold.hardware.simulators.trace import Trace


@dataclass(frozen=True, eq=False)
class CoreLoad:
    """The work of one core.

    Attributes:
        name: its weight layer.
        events: incoming events a bin and clip, ``(T, N)`` int64.
        operations: synaptic operations, one for each neuron that an event reaches, ``(T, N)`` int64.
    """

    name: str
    events: np.ndarray
    operations: np.ndarray

    def peak_per_second(self, dt_us: int) -> float:
        """Synaptic operations per second of the busiest bin, ``dt_us`` microseconds long."""
        return float(self.operations.max(initial=0)) * 1e6 / dt_us

    def summed(self, most: float | None, first_clip: int = 0) -> LoadSum:
        """The work as numbers that add up over parts of a set of clips.

        Args:
            most: synaptic operations of a bin above which it is counted; None for no limit.
            first_clip: number of the first clip in the set.
        """
        step, clip = np.unravel_index(int(self.operations.argmax()), self.operations.shape)
        return LoadSum(
            self.name,
            int(self.operations.sum()),
            self.operations.size,
            int(self.operations.max(initial=0)),
            int(step),
            first_clip + int(clip),
            0 if most is None else int(np.count_nonzero(self.operations > most)),
        )


@dataclass(frozen=True)
class LoadSum:
    """The work of one core over some clips.

    Attributes:
        name: its weight layer.
        operations: synaptic operations of all bins and clips.
        bins: how many bins they are, of all clips.
        peak: operations of the busiest bin.
        step: that bin; the earliest of equally busy ones, and of these the one of the first clip.
        clip: its clip.
        above: bins above a limit.
    """

    name: str
    operations: int
    bins: int
    peak: int
    step: int
    clip: int
    above: int

    def __add__(self, other: LoadSum) -> LoadSum:
        """Both sets of clips together."""
        busiest = min((self, other), key=lambda one: (-one.peak, one.step, one.clip))
        return replace(
            busiest,
            operations=self.operations + other.operations,
            bins=self.bins + other.bins,
            above=self.above + other.above,
        )

    def per_second(self, dt_us: int) -> tuple[float, float]:
        """Operations per second of the busiest bin and of the mean one, ``dt_us`` microseconds long."""
        return float(self.peak) * 1e6 / dt_us, self.operations / self.bins * 1e6 / dt_us

    def overload(self, dt_us: int) -> Overload | None:
        """What is said of a core with bins above the limit; None where it has none."""
        peak, _ = self.per_second(dt_us)
        return Overload(self.name, peak, self.step, self.clip, self.above) if self.above else None


@dataclass(frozen=True)
class Overload:
    """A core whose busiest bin is above a limit.

    Attributes:
        layer: its weight layer.
        peak_per_second: synaptic operations per second in that bin.
        step: the bin; the earliest of equally busy ones.
        clip: its clip.
        bins: how many bins of all clips are above the limit.
    """

    layer: str
    peak_per_second: float
    step: int
    clip: int
    bins: int


@dataclass(frozen=True, eq=False)
class EventRun:
    """A run: its spikes, and the load of each core in network order."""

    trace: Trace
    loads: tuple[CoreLoad, ...]

    def over_limit(self, limit_per_second: float, dt_us: int) -> tuple[Overload, ...]:
        """The cores with bins above a limit, in network order.

        The chip's own limit is not public. SynSense only says that a core above it stalls the whole chip, behaviour
        then "unpredictable" (sinabs 3.1.3, docs/speck/faqs/tips_for_training.md). Second-hand, from public user code
        that quotes the Speck papers: about 30 million synaptic operations a second for a core, 100 million for core
        0. Take such a number as a level to be warned at, not as a limit that holds. A bin hides what is shorter than
        itself: the peak is the mean over ``dt_us``.

        Args:
            limit_per_second: synaptic operations per second and core.
            dt_us: length of a bin in microseconds.
        """
        most = limit_per_second * dt_us / 1e6
        found = (load.summed(most).overload(dt_us) for load in self.loads)
        return tuple(one for one in found if one is not None)
