# SPDX-License-Identifier: Apache-2.0
"""Numbers what can make a core fire in a clip: the input's events in order of arrival, and the slow clock's ticks.

Each bin has a number for a tick before its events, one for each of them, and one for a tick behind them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spikefold.hardware.speck.events.options import Tick


@dataclass(frozen=True, eq=False)
class Causes:
    """The causes of one clip.

    Attributes:
        firsts: the number of the first cause of each bin, and that behind the last bin, ``(T + 1,)`` int64.
        bins: the bin of each cause, ``(causes,)`` int64.
        tick: when the slow clock ticks.
    """

    firsts: np.ndarray
    bins: np.ndarray
    tick: Tick

    @classmethod
    def of(cls, counts: np.ndarray, tick: Tick) -> Causes:
        """From the number of input events in each bin ``(T,)``."""
        slots = counts + 2
        return cls(np.concatenate([[0], np.cumsum(slots)]), np.repeat(np.arange(len(slots)), slots), tick)

    @property
    def steps(self) -> int:
        """The number T of bins."""
        return len(self.firsts) - 1

    @property
    def of_events(self) -> np.ndarray:
        """The number of each input event, in order of arrival."""
        is_event = np.ones(len(self.bins), bool)
        is_event[self.firsts[:-1]] = is_event[self.firsts[1:] - 1] = False
        return np.flatnonzero(is_event)

    def tick_of(self, step: int) -> int | None:
        """The number of a bin's tick; None without one."""
        if self.tick is Tick.NEVER:
            return None
        return int(self.firsts[step]) if self.tick is Tick.START else int(self.firsts[step + 1]) - 1
