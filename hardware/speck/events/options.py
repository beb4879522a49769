# SPDX-License-Identifier: Apache-2.0
"""What the public documents of Speck leave open, or leave to the user: the options of the event-driven simulator.

**Emission** is the order in which the spikes of one event leave a core. The default is that of samna's simulator:
descending in (feature, y, x) with the feature most significant, so features descending in a dense layer. It is
settled for that simulator by ten published output totals, which the engine gives exactly and which each other order
misses (fact sheet ``silicon.md``, section 3; ``tests/hardware/speck/events/test_specksim.py``). Whether silicon keeps
it is not public, so there are others: ascending or descending neuron addresses, in which (y, x, feature) count with y
most significant; or a fixed sweep of each core, drawn from the seed: neuron address a has place
``default_rng([seed, core]).permutation(neurons)[a]``, cores numbered in network order from 0. The order cannot change
the first core. In a chain it changes no spike count of a bin behind it either where there is no bias, no weight is
negative or above its threshold, and all resets subtract.

**Arrival** within a bin of frames: the order of addresses y, x, channel, an input with n events n times in a row; or
shuffled, ``default_rng([seed, clip, step]).permutation`` of that list, clips counted within the run. Raw events enter
in the order of their times, equal times in the order of the list, whatever this option says.

**Tick**: the chip adds a bias at each tick of a slow clock that all cores share. Here it ticks once a bin, at its
start, at its end, or never. A tick adds the bias to every neuron of each core that has one, then applies v_min.
Whether it can fire is not known. By default it does not, and a state that it lifted to the threshold waits for an
event. With ``tick_fires`` it is one update like any other: one spike of each neuron at the threshold, and its
reset, before v_min. All cores tick before any spike of a tick arrives; what a tick makes leave comes before (at the
start) or behind (at the end) all that the bin's events cause.

**A lost event**: on a Speck2f with sinabs 3.1 a user measured that the first event after a reset of the states never
reaches the neurons (public probe; fact sheet ``speck.md``, 2.8, item 4). Every clip starts reset, so with
``lose_first`` the first event that arrives at each core in each clip is dropped, and does not count as an event of
that core.

**Decimators**: a core's output passes one spike of n, n one of `INTERVALS` (datasheet table 4; 64 is not among them).
Which one of the n is not public. Here a core counts its spikes from the start of the clip, in order of emission, and
the n-th, 2n-th, ... passes. A neuron resets whether or not its spike passes, and a raster holds what passed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from spikefold.errors import ConfigError, Issue

INTERVALS = (2, 4, 8, 16, 32, 128, 256, 512)
"""Of the decimator, by its code 0 to 7."""


class Emission(StrEnum):
    """Order in which the spikes of one event leave a core; see the module's docstring for what is known of it."""

    FEATURES_DESCENDING = "features-descending"
    """By (feature, y, x), feature most significant, the last one first: as samna's simulator."""
    ADDRESSES_ASCENDING = "addresses-ascending"
    """By (y, x, feature), y most significant, the first one first."""
    ADDRESSES_DESCENDING = "addresses-descending"
    """By (y, x, feature), y most significant, the last one first."""
    SHUFFLED = "shuffled"
    """In a fixed sweep of each core that the seed draws."""


class Arrival(StrEnum):
    """Order in which the events of a frame enter."""

    RASTER = "raster"
    SEEDED = "seeded"


class Tick(StrEnum):
    """When in a bin the slow clock adds the bias."""

    START = "start"
    END = "end"
    NEVER = "never"


@dataclass(frozen=True)
class Options:
    """How a simulation goes where the chip's documents do not say; see the module's docstring.

    Attributes:
        emission: order of the spikes of one event; as samna's simulator by default.
        arrival: order of the events of a frame.
        tick: when the slow clock adds the bias.
        seed: of the seeded orders.
        tick_fires: whether a tick can fire.
        lose_first: whether each core loses the first event of a clip.
        decimators: for the weight layer of a core the interval of its decimator; the other cores pass every spike.
        first_clip: number of the first clip in the set that the clips are a part of; a seeded order follows from it.

    Raises:
        ConfigError: an interval that the chip has not.
    """

    emission: Emission = Emission.FEATURES_DESCENDING
    arrival: Arrival = Arrival.RASTER
    tick: Tick = Tick.END
    seed: int = 0
    tick_fires: bool = False
    lose_first: bool = False
    decimators: Mapping[str, int] = field(default_factory=dict)
    first_clip: int = 0

    def __post_init__(self) -> None:
        allowed = ", ".join(map(str, INTERVALS))
        issues = [
            Issue("a decimator passes one spike of n", name, f"n = {interval}", allowed, "leave it out to pass all")
            for name, interval in self.decimators.items()
            if interval not in INTERVALS
        ]
        if issues:
            raise ConfigError("a decimator has an interval that Speck has not", issues=issues)
        object.__setattr__(self, "decimators", MappingProxyType(dict(self.decimators)))
