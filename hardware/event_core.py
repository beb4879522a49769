# SPDX-License-Identifier: Apache-2.0
"""One Speck core fed event by event: its state, the update by one event, and the tick of the slow clock.

Addresses are whole numbers in the order y, x, channel, the channel fastest: ``(y * width + x) * channels + channel``.
The state lies in the same order, so that all features of one position are updated as one vector.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numba import njit

from spikefold.errors import UnsupportedError
from spikefold.export.neuron import Reset
from spikefold.hardware.speck_cores import CoreLayer

LARGEST = 2**31 - 1
"""Of the 32-bit numbers in which the simulator keeps a state."""


@dataclass(eq=False)
class Core:
    """One core during one run.

    Attributes:
        layer: what it computes; plain convolution, one whole threshold, no leak.
        rank: place of each neuron address among the spikes of one event, ``(neurons,)``; None for ascending ones.
        v: state ``(fH, fW, f)`` int32.
        low: lowest state seen before the lower bound was applied.
        high: highest state seen before a reset.
        overflow: how many updates left the state outside ``state_bits``.
    """

    layer: CoreLayer
    rank: np.ndarray | None
    v: np.ndarray = field(init=False)
    low: int = 0
    high: int = 0
    overflow: int = 0

    def __post_init__(self) -> None:
        layer = self.layer
        self._weight = np.ascontiguousarray(layer.weight.transpose(1, 2, 3, 0), np.int32)
        self._bias = np.zeros(1, np.int32) if layer.bias is None else layer.bias.astype(np.int32)
        self._largest_weight = int(np.abs(layer.weight).max())
        bits, v_min = layer.neuron.state_bits, layer.neuron.v_min
        self._v_min = -LARGEST if v_min is None else int(v_min)
        self._most = LARGEST if bits is None else 2 ** (bits - 1) - 1
        self._least = -self._most - 1
        self.clear()

    def clear(self) -> None:
        """Zero state, as before a clip."""
        f, height, width = self.layer.neuron_shape
        self.v = np.zeros((height, width, f), np.int32)

    def tick(self) -> None:
        """One tick of the slow clock: the bias is added, then the lower bound; nothing fires.

        Raises:
            UnsupportedError: the state could leave 32 bits.
        """
        if self.layer.bias is None:
            return
        self._check_room(int(np.abs(self._bias).max()))
        self.v += self._bias
        self.low, self.high = min(self.low, int(self.v.min())), max(self.high, int(self.v.max()))
        self.overflow += int(((self.v < self._least) | (self.v > self._most)).sum())
        np.maximum(self.v, self._v_min, out=self.v)

    def drain(self, events: np.ndarray, causes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
        """Process a queue, one event after the other.

        Args:
            events: addresses in the core's input map, in order of arrival, ``(events,)`` int64.
            causes: for each the input event of the bin that it stems from, ``(events,)`` int64.

        Returns:
            Neuron addresses of the spikes in order of emission, their causes, spikes a neuron ``(fH, fW, f)``, and
            the synaptic operations.

        Raises:
            UnsupportedError: the state could leave 32 bits.
        """
        self._check_room(len(events) * self._largest_weight)
        counts = np.zeros(self.v.shape, np.int64)
        layer, neuron = self.layer, self.layer.neuron
        unsorted = self.rank is None
        rank = np.zeros(1, np.int64) if self.rank is None else self.rank
        spikes, whence, operations, low, high, overflow = _drain(
            events, causes, self._weight, self.v, counts, layer.input_shape[2], layer.stride, layer.padding,
            int(neuron.threshold), neuron.reset is Reset.ZERO, self._v_min, self._least, self._most, unsorted, rank,
        )  # fmt: skip
        self.low, self.high, self.overflow = min(self.low, low), max(self.high, high), self.overflow + overflow
        return spikes, whence, counts, operations

    def _check_room(self, change: int) -> None:
        if max(-self.low, self.high) + change > LARGEST:
            raise UnsupportedError(
                f"a state of {max(-self.low, self.high)} that can change by {change} may leave 32 bits",
                where=self.layer.neuron_name,
                hint="simulate shorter clips or shorter time steps",
            )


@njit(cache=False)
def _drain(
    events: np.ndarray, causes: np.ndarray, weight: np.ndarray, v: np.ndarray, counts: np.ndarray, in_width: int,
    stride: tuple[int, int], padding: tuple[int, int], theta: int, to_zero: bool, v_min: int, least: int, most: int,
    unsorted: bool, rank: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, int, int, int, int]:  # fmt: skip
    channels, k_height, k_width, features = weight.shape
    height, width = v.shape[0], v.shape[1]
    spikes, whence = np.empty(1024, np.int64), np.empty(1024, np.int64)
    sent, operations, overflow, low, high = 0, 0, 0, 0, 0
    for index in range(len(events)):
        place, channel = events[index] // channels, events[index] % channels
        y, x = place // in_width + padding[0], place % in_width + padding[1]
        # output row o reads kernel row y - o * stride, which must lie in [0, k_height)
        top, left = max(0, -((k_height - 1 - y) // stride[0])), max(0, -((k_width - 1 - x) // stride[1]))
        bottom, right = min(height - 1, y // stride[0]), min(width - 1, x // stride[1])
        reached = max(0, bottom - top + 1) * max(0, right - left + 1) * features
        operations += reached
        first = sent
        if sent + reached > len(spikes):
            spikes, whence = _grown(spikes, sent, 2 * (sent + reached)), _grown(whence, sent, 2 * (sent + reached))
        for o_y in range(top, bottom + 1):
            for o_x in range(left, right + 1):
                state = v[o_y, o_x]
                column = weight[channel, y - o_y * stride[0], x - o_x * stride[1]]
                lowest, highest = _add(state, column)
                low, high = min(low, lowest), max(high, highest)
                if lowest < max(v_min, least) or highest > most:
                    overflow += _bound(state, v_min, least, most)
                if highest >= theta:
                    base = (o_y * width + o_x) * features
                    sent = _fire(state, theta, to_zero, counts[o_y, o_x], base, spikes, sent)
        whence[first:sent] = causes[index]
        if not unsorted and sent - first > 1:
            block = spikes[first:sent].copy()
            spikes[first:sent] = block[np.argsort(rank[block])]
    return spikes[:sent].copy(), whence[:sent].copy(), operations, low, high, overflow


@njit(cache=False)
def _add(state: np.ndarray, column: np.ndarray) -> tuple[int, int]:
    """Add weights to the states of one position; the lowest and highest then. 32 bits only, so that it vectorises."""
    lowest, highest = np.int32(LARGEST), np.int32(-LARGEST)
    for f in range(len(state)):
        value = np.int32(state[f] + column[f])
        lowest, highest = min(lowest, value), max(highest, value)
        state[f] = value
    return int(lowest), int(highest)


@njit(cache=False)
def _bound(state: np.ndarray, v_min: int, least: int, most: int) -> int:
    """Apply the lower bound, which no firing neuron is below; how many states were outside their width."""
    overflow = 0
    for f in range(len(state)):
        overflow += state[f] < least or state[f] > most
        state[f] = max(state[f], v_min)
    return overflow


@njit(cache=False)
def _fire(
    state: np.ndarray, theta: int, to_zero: bool, counts: np.ndarray, base: int, spikes: np.ndarray, sent: int
) -> int:
    """One spike of each neuron at the threshold, and its reset; how many spikes have been sent then."""
    for f in range(len(state)):
        if state[f] >= theta:
            state[f] = 0 if to_zero else state[f] - theta
            counts[f] += 1
            spikes[sent] = base + f
            sent += 1
    return sent


@njit(cache=False)
def _grown(array: np.ndarray, used: int, room: int) -> np.ndarray:
    larger = np.empty(room, np.int64)
    larger[:used] = array[:used]
    return larger
