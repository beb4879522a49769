# SPDX-License-Identifier: Apache-2.0
"""One Speck core fed event by event: its state, its events, the tick of the slow clock, and its decimator.

Addresses are whole numbers in the order y, x, channel, the channel fastest: ``(y * width + x) * channels + channel``.
The state lies in the same order, so that an event reaches whole rows of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from spikefold.errors import UnsupportedError
from spikefold.export.neuron import Reset
from spikefold.export.neuron_support import CARRIED, NeuronSupport
from spikefold.hardware.speck.cores import CoreLayer
from spikefold.hardware.speck.events.kernel import LARGEST, drain, taps_of
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
Events = tuple[np.ndarray, np.ndarray]
"""Addresses, and for each the input event of the bin that it stems from; both ``(events,)`` int64."""
NO_EVENTS: Events = (np.empty(0, np.int64), np.empty(0, np.int64))


@dataclass(eq=False)
class Core:
    """One core during one run.

    Attributes:
        layer: what it computes; plain convolution, one whole threshold, no leak.
        rank: place of each neuron address among the spikes of one event, ``(neurons,)``; None for ascending ones.
        decimator: passes one spike of so many; 1 for every one.
        v: state by neuron address, ``(neurons,)`` int32.
        low: lowest state seen before the lower bound was applied.
        high: highest state seen before a reset.
        overflow: how many updates left the state outside ``state_bits``.
    """

    layer: CoreLayer
    rank: np.ndarray | None = None
    decimator: int = 1
    v: np.ndarray = field(init=False)
    low: int = 0
    high: int = 0
    overflow: int = 0

    def __post_init__(self) -> None:
        layer = self.layer
        self._taps = taps_of(layer)
        positions = layer.neuron_shape[1] * layer.neuron_shape[2]
        self._bias = None if layer.bias is None else np.tile(layer.bias.astype(np.int32), positions)
        self._largest_weight = int(np.abs(layer.weight).max())
        bits, v_min = layer.neuron.state_bits, layer.neuron.v_min
        self._theta, self._to_zero = int(layer.neuron.threshold), layer.neuron.reset is Reset.ZERO
        self._v_min = -LARGEST if v_min is None else int(v_min)
        self._most = LARGEST if bits is None else 2 ** (bits - 1) - 1
        self._least = -self._most - 1
        self._room = np.empty((2, max(_ROOM, int(np.prod(layer.neuron_shape)))), np.int64)
        self.clear()

    def clear(self) -> None:
        """Zero state and decimator, as before a clip."""
        self.v = np.zeros(int(np.prod(self.layer.neuron_shape)), np.int32)
        self._sent = 0

    def tick(self, cause: int | None) -> Events:
        """One tick of the slow clock: the bias is added, neurons fire or not, then the lower bound.

        Args:
            cause: what its spikes stem from, or None if it cannot fire.

        Returns:
            The spikes that leave, in order of emission.

        Raises:
            UnsupportedError: the state could leave 32 bits.
        """
        if self._bias is None:
            return NO_EVENTS
        self._check_room(int(np.abs(self._bias).max()))
        self.v += self._bias
        lowest, highest = int(self.v.min()), int(self.v.max())
        self.low, self.high = min(self.low, lowest), max(self.high, highest)
        if lowest < self._least or highest > self._most:
            self.overflow += int(((self.v < self._least) | (self.v > self._most)).sum())
        spikes = NO_EVENTS
        if cause is not None and highest >= self._theta:
            fired = np.flatnonzero(self.v >= self._theta)
            self.v[fired] = 0 if self._to_zero else self.v[fired] - self._theta
            fired = fired if self.rank is None else fired[self.rank[fired].argsort()]
            spikes = self._leaving(fired, np.full(len(fired), cause))
        if lowest < self._v_min:
            np.maximum(self.v, self._v_min, out=self.v)
        return spikes

    def drain(self, events: np.ndarray, causes: np.ndarray) -> tuple[Events, int]:
        """Process a queue, one event after the other.

        Args:
            events: addresses in the core's input map, in order of arrival, ``(events,)`` int64.
            causes: for each the input event of the bin that it stems from, ``(events,)`` int64.

        Returns:
            The spikes that leave in order of emission, and the synaptic operations.

        Raises:
            UnsupportedError: the state could leave 32 bits.
        """
        if not len(events):
            return NO_EVENTS, 0
        self._check_room(len(events) * self._largest_weight)
        channels, _, width = self.layer.input_shape
        taps, found = self._taps, []
        done = operations = 0
        while done < len(events):
            done, sent, reached, self.low, self.high, overflow = drain(
                events, done, channels, width, taps.rows, taps.columns, taps.weights, taps.row, taps.kernel_height,
                taps.stride, self.v, taps.neuron_row, self._theta, self._to_zero, self._v_min, self._least,
                self._most, self.low, self.high, *self._room,
            )  # fmt: skip
            found.append(self._room[:, :sent].copy())
            operations += reached
            self.overflow += overflow
        spikes, whence = found[0] if len(found) == 1 else np.concatenate(found, axis=1)
        if self.rank is not None:
            spikes = spikes[np.lexsort((self.rank[spikes], whence))]
        return self._leaving(spikes, causes[whence]), operations

    def _leaving(self, spikes: np.ndarray, causes: np.ndarray) -> Events:
        """What the decimator passes."""
        if self.decimator == 1:
            return spikes, causes
        numbers = np.arange(self._sent + 1, self._sent + len(spikes) + 1)
        self._sent += len(spikes)
        passing = numbers % self.decimator == 0
        return spikes[passing], causes[passing]

    def _check_room(self, change: int) -> None:
        if max(-self.low, self.high) + change > LARGEST:
            raise UnsupportedError(
                f"a state of {max(-self.low, self.high)} that can change by {change} may leave 32 bits",
                where=self.layer.neuron_name,
                hint="simulate shorter clips or shorter time steps",
            )
