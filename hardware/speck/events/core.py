# SPDX-License-Identifier: Apache-2.0
"""One Speck core fed event by event: its state, its events, the tick of the slow clock, and its decimator.

Addresses are whole numbers in the order y, x, feature, the feature fastest: ``(y * width + x) * features + feature``.
The state lies in the same order, so that an event reaches whole rows of it. A core keeps its state in 16 bits as long
as no sum can leave them, then in 32 and in 64; the numbers are the same, only slower. What a sum can reach follows
from the numbers of the core: where no weight is above the threshold, a state between two events is below it, or was
lifted there by a tick, and no event makes it higher than it was; so the highest sum is a weight above that. Where
weights are larger, a residual may grow with each event. A lower bound limits the sums on the other side.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from spikefold.errors import UnsupportedError
from spikefold.export.neuron import Reset
from spikefold.export.neuron_support import CARRIED, NeuronSupport
from spikefold.hardware.simulators.event_rows import EventRows, Word
from spikefold.hardware.speck.cores import CoreLayer
from spikefold.hardware.speck.events.kernel import Firing, Outbox, bounds_at_once, drain
from spikefold.hardware.speck.neuron_support import (
    FIRES_AT_EQUALITY,
    KNOWN_RESET,
    NO_CURRENT,
    NO_LEAK,
    NO_OVERFLOW,
    ONE_THRESHOLD,
    WHOLE_UNIT,
)

NEURONS = NeuronSupport(
    "the event-driven simulator",
    {
        "threshold": ONE_THRESHOLD,
        "fire": FIRES_AT_EQUALITY,
        "reset": KNOWN_RESET,
        # other than 0 with a reset to a value alone
        "reset_value": CARRIED,
        "leak": NO_LEAK,
        "v_min": CARRIED,
        # a bound on the spikes of a step belongs to clocked engines: here it is one for each event
        "max_spikes": CARRIED,
        # without a leak it says nothing
        "order": CARRIED,
        "state_shift": WHOLE_UNIT,
        # what leaves a width is decided with the overflow
        "state_bits": CARRIED,
        "overflow": NO_OVERFLOW,
        "current": NO_CURRENT,
    },
)
"""The neurons that a core below computes."""
_ROOM = 2**14
"""Spikes that the compiled loop hands over at once, at least those of one event."""
WORDS: tuple[Word, ...] = (np.int16, np.int32, np.int64)
WIDE = 2**63 - 1
"""The largest state in 64 bits."""
Events = tuple[np.ndarray, np.ndarray]
"""Addresses, and for each the cause in the clip that it stems from; both ``(events,)`` int64."""
NO_EVENTS: Events = (np.empty(0, np.int64), np.empty(0, np.int64))


class Arriving(NamedTuple):
    """What comes to a core, in order of arrival.

    Attributes:
        events: addresses in the core's input map, ``(events,)`` int64.
        causes: what each stems from, ascending, ``(events,)`` int64.
        bins: the bin of each, ``(events,)`` int64.
    """

    events: np.ndarray
    causes: np.ndarray
    bins: np.ndarray

    def between(self, first: int, last: int) -> Arriving:
        """The events of causes from ``first`` to before ``last``."""
        here = slice(*np.searchsorted(self.causes, (first, last)))
        return Arriving(self.events[here], self.causes[here], self.bins[here])


class Rank(NamedTuple):
    """The order in which the spikes of one event leave a core.

    Attributes:
        places: of each neuron address, ``(neurons,)`` int64.
        addresses: of the neuron at each place, the inverse.
    """

    places: np.ndarray
    addresses: np.ndarray


NO_RANK = Rank(np.empty(0, np.int64), np.empty(0, np.int64))


@dataclass(eq=False)
class Core:
    """One core during one run.

    Attributes:
        layer: what it computes; plain convolution, one whole threshold, no leak.
        taps: its weights as the loop reads them, in numbers of a width.
        rank: the order in which the spikes of one event leave; None for ascending addresses.
        decimator: passes one spike of so many; 1 for every one.
        v: state by neuron address, ``(neurons,)`` int16, int32 or int64.
        low: lowest state seen before the lower bound was applied.
        high: highest state seen before a reset.
        overflow: how many updates left the state outside ``state_bits``.
    """

    layer: CoreLayer
    taps: Callable[[Word], EventRows]
    rank: Rank | None = None
    decimator: int = 1
    v: np.ndarray = field(init=False)
    low: int = 0
    high: int = 0
    overflow: int = 0

    def __post_init__(self) -> None:
        neurons = int(np.prod(self.layer.neuron_shape))
        self._largest_weight = int(np.abs(self.layer.weight).max())
        self._may_remain = int(self.layer.weight.max()) > int(self.layer.neuron.threshold)
        self._largest_bias = 0 if self.layer.bias is None else int(np.abs(self.layer.bias).max())
        rank = NO_RANK if self.rank is None else self.rank
        spikes, whence = np.empty((2, max(_ROOM, neurons)), np.int64)
        self._outbox = Outbox(spikes, whence, rank.places, rank.addresses)
        self.v = np.zeros(neurons, np.int16)
        self._limit = 0
        self._make_room(max(self._reached(1), self._largest_bias))
        self.clear()

    def _use(self, word: Word) -> None:
        """Keep the state in numbers of this width from now on."""
        neuron = self.layer.neuron
        self._limit = int(np.iinfo(word).max)
        self._taps = self.taps(word)
        positions = self.layer.neuron_shape[1] * self.layer.neuron_shape[2]
        self._bias = None if self.layer.bias is None else np.tile(self.layer.bias.astype(word), positions)
        most = self._limit if neuron.state_bits is None else 2 ** (neuron.state_bits - 1) - 1
        v_min = -self._limit if neuron.v_min is None else int(neuron.v_min)
        theta, least = int(neuron.threshold), -most - 1
        at_once = bounds_at_once(theta, v_min, self._largest_weight, least)
        self._firing = Firing(theta, neuron.reset is Reset.ZERO, v_min, at_once, least, most)
        self.v = self.v.astype(word)

    @property
    def ticks(self) -> bool:
        """Whether a tick of the slow clock changes anything."""
        return self._bias is not None

    def clear(self) -> None:
        """Zero state and decimator, as before a clip."""
        self.v = np.zeros_like(self.v)
        self._sent = 0

    def tick(self, cause: int | None) -> Events:
        """One tick of the slow clock: the bias is added, neurons fire or not, then the lower bound.

        Args:
            cause: what its spikes stem from, or None if it cannot fire.

        Returns:
            The spikes that leave, in order of emission.

        Raises:
            UnsupportedError: the state could leave 64 bits.
        """
        if self._bias is None:
            return NO_EVENTS
        self._make_room(max(-self.low, self.high) + self._largest_bias)
        firing = self._firing
        self.v += self._bias
        lowest, highest = int(self.v.min()), int(self.v.max())
        self.low, self.high = min(self.low, lowest), max(self.high, highest)
        if lowest < firing.least or highest > firing.most:
            self.overflow += int(((self.v < firing.least) | (self.v > firing.most)).sum())
        spikes = NO_EVENTS
        if cause is not None and highest >= firing.theta:
            fired = np.flatnonzero(self.v >= firing.theta)
            self.v[fired] = 0 if firing.to_zero else self.v[fired] - firing.theta
            fired = fired if self.rank is None else fired[self.rank.places[fired].argsort()]
            spikes = self._leaving(fired, np.full(len(fired), cause))
        if lowest < firing.v_min:
            np.maximum(self.v, firing.v_min, out=self.v)
        return spikes

    def drain(self, arriving: Arriving, operations: np.ndarray) -> Events:
        """Process a queue, one event after the other.

        Args:
            arriving: the events, in order of arrival.
            operations: synaptic operations of each bin, ``(T,)`` int64; added to.

        Returns:
            The spikes that leave, in order of emission.

        Raises:
            UnsupportedError: the state could leave 64 bits.
        """
        events, bins = arriving.events, arriving.bins
        if not len(events):
            return NO_EVENTS
        self._make_room(self._reached(len(events)))
        found, done = [], 0
        while done < len(events):
            part = drain(
                events, bins, operations, done, self._taps, self._firing, self.v, self.low, self.high, self._outbox
            )
            found.append((self._outbox.spikes[: part.sent].copy(), self._outbox.whence[: part.sent].copy()))
            done, self.low, self.high = part.done, part.low, part.high
            self.overflow += part.overflow
        spikes, whence = (
            found[0] if len(found) == 1 else (np.concatenate(parts) for parts in zip(*found, strict=True))
        )
        return self._leaving(spikes, arriving.causes[whence])

    def _leaving(self, spikes: np.ndarray, causes: np.ndarray) -> Events:
        """What the decimator passes."""
        if self.decimator == 1:
            return spikes, causes
        numbers = np.arange(self._sent + 1, self._sent + len(spikes) + 1)
        self._sent += len(spikes)
        passing = numbers % self.decimator == 0
        return spikes[passing], causes[passing]

    def _reached(self, events: int) -> int:
        """How far from 0 so many events can take a state, before the reset and the lower bound of each."""
        neuron, change = self.layer.neuron, events * self._largest_weight
        highest = self.high + change
        if not self._may_remain:
            highest = min(highest, max(self.high, int(neuron.threshold) - 1) + self._largest_weight)
        lowest = self.low - change
        if neuron.v_min is not None:
            lowest = max(lowest, int(neuron.v_min) - self._largest_weight)
        return max(highest, -lowest, int(neuron.threshold), -int(neuron.v_min or 0))

    def _make_room(self, largest: int) -> None:
        """Go on in the narrowest numbers that hold such a state, or refuse where none do."""
        if largest <= self._limit:
            return
        for word in WORDS:
            if largest <= np.iinfo(word).max:
                self._use(word)
                return
        raise UnsupportedError(
            f"a state may become {largest} and leave 64 bits",
            where=self.layer.neuron_name,
            hint="simulate shorter clips or shorter time steps",
        )
