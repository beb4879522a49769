# SPDX-License-Identifier: Apache-2.0
"""The compiled loop of the event-driven simulator, which takes a queue of events through one core.

An event adds one row of weights to one row of states for each output row under its kernel. Rows are contiguous in
both (`taps.Taps`), so this is vectorised. The loop keeps only one number of the sums of an event: how far the
farthest of them lies above ``floor``, as an unsigned number, so that a sum below the floor counts as far above it.
An event is looked at again only where a sum is outside ``floor..floor + span``, which means that a neuron fires,
needs the lower bound, overflows, or has a state lower or higher than ever before.

The same code is compiled for states of 32 bits and, where a core needs them, of 64 bits: numba makes one machine
code for each type of ``v``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import types
from numba.extending import overload

from spikefold.compiled import compiled
from spikefold.hardware.speck.events.taps import Taps

_U64 = np.uint64


class Firing(NamedTuple):
    """What a sum is compared with, and what a spike does.

    Attributes:
        theta: threshold, at which a neuron fires.
        to_zero: a spike sets the state to zero, where it otherwise subtracts the threshold.
        v_min: lower bound of the state after an event.
        least: lowest state of the chip's width; below it an update is counted as overflow.
        most: highest state of that width.
    """

    theta: int
    to_zero: bool
    v_min: int
    least: int
    most: int


class Outbox(NamedTuple):
    """Where the loop writes spikes, and the order in which those of one event leave.

    Attributes:
        spikes: neuron addresses, ``(room,)`` int64.
        whence: for each spike the number of its event in the queue, ``(room,)`` int64.
        rank: place of each neuron address in the order of emission, ``(neurons,)`` int64; empty for ascending ones.
        ranked: the neuron address at each place, the inverse of ``rank``.
    """

    spikes: np.ndarray
    whence: np.ndarray
    rank: np.ndarray
    ranked: np.ndarray


class Drained(NamedTuple):
    """How far one call of the loop came.

    Attributes:
        done: number of the next event.
        sent: spikes written.
        operations: synaptic operations.
        low: lowest state so far.
        high: highest state so far.
        overflow: updates that left the width of the state.
    """

    done: int
    sent: int
    operations: int
    low: int
    high: int
    overflow: int


def _unsigned(value: Any) -> Any:
    """A signed number of the state's width as an unsigned one of the same width, in compiled code only."""
    raise NotImplementedError("compiled code only")


@overload(_unsigned)
def _unsigned_compiled(value: Any) -> Any:
    # numba wants the annotations of the implementation to be those of the function above
    def narrow(value: Any) -> Any:
        return np.uint32(value)

    def wide(value: Any) -> Any:
        return np.uint64(value)

    return narrow if value == types.int32 else wide


@compiled(error_model="numpy")
def drain(
    events: np.ndarray, start: int, taps: Taps, firing: Firing, v: np.ndarray, low: int, high: int, outbox: Outbox
) -> Drained:
    """Process events from number ``start`` on, while there is room for the spikes of one more.

    Args:
        events: addresses in the core's input map, in order of arrival, ``(events,)`` int64.
        start: number of the first event to process.
        taps: the core's weights.
        firing: threshold, reset and bounds.
        v: states by neuron address, changed in place, ``(neurons,)`` int32 or int64 as the weights.
        low: lowest state so far.
        high: highest state so far.
        outbox: what the spikes are written to.
    """
    sent, operations, overflow = 0, 0, 0
    word = v.dtype.type
    # taken out of the tuples here: inside the loop each access to an array would count references
    rows, columns, weights, spikes, whence = taps.rows, taps.columns, taps.weights, outbox.spikes, outbox.whence
    rank, ranked = outbox.rank, outbox.ranked
    channels, in_width, row, neuron_row = taps.channels, taps.in_width, taps.row, taps.neuron_row
    kernel_height, down = taps.kernel_height, taps.stride * taps.row
    theta, to_zero, v_min, least, most = firing.theta, firing.to_zero, firing.v_min, firing.least, firing.most
    floor, span = _quiet(v, low, high, theta, v_min, least, most)
    for index in range(start, len(events)):
        address = _U64(events[index])
        place = address // _U64(channels)
        channel = address - place * _U64(channels)
        y = place // _U64(in_width)
        x = place - y * _U64(in_width)
        top, height, k_y = rows[y, 0], rows[y, 1], rows[y, 2]
        left, first, width = columns[x, 0], columns[x, 1], columns[x, 2]
        if sent + height * width > len(spikes):
            return Drained(index, sent, operations, low, high, overflow)
        operations += height * width
        farthest = _unsigned(word(0))
        neurons = top * neuron_row + left
        first_weight = (np.int64(channel) * kernel_height + k_y) * row + first
        for _ in range(height):
            farthest = _add(v, _U64(neurons), weights, _U64(first_weight), width, floor, farthest)
            neurons += neuron_row
            first_weight -= down
        if farthest <= span:
            continue
        neurons = top * neuron_row + left
        before = sent
        for _ in range(height):
            lowest, highest, lost = _range(v, _U64(neurons), width, least, most)
            low, high, overflow = min(low, lowest), max(high, highest), overflow + lost
            if highest >= theta:
                sent = _fire(v, neurons, width, theta, to_zero, spikes, whence, sent, index)
            if lowest < v_min:
                _bound(v, _U64(neurons), width, v_min)
            neurons += neuron_row
        if len(rank) and sent - before > 1:
            _in_order(spikes, rank, ranked, before, sent)
        floor, span = _quiet(v, low, high, theta, v_min, least, most)
    return Drained(len(events), sent, operations, low, high, overflow)


@compiled()
def _quiet(v: np.ndarray, low: int, high: int, theta: int, v_min: int, least: int, most: int) -> tuple[Any, Any]:
    """The lowest sum that asks for nothing, and how far above it the highest lies."""
    word = v.dtype.type
    floor, ceiling = max(low, v_min, least), min(high, theta - 1, most)
    return word(floor), _unsigned(word(ceiling - floor))


@compiled()
def _add(
    v: np.ndarray, start: np.uint64, weights: np.ndarray, taps: np.uint64, width: int, floor: Any, farthest: Any
) -> Any:
    """Add one row; unsigned indices, for numba counts negative ones from the end, and that is not vectorised."""
    word = v.dtype.type
    for i in range(width):
        value = word(v[start + _U64(i)] + weights[taps + _U64(i)])
        v[start + _U64(i)] = value
        farthest = max(farthest, _unsigned(word(value - floor)))
    return farthest


@compiled()
def _range(v: np.ndarray, start: np.uint64, width: int, least: int, most: int) -> tuple[int, int, int]:
    """Lowest and highest state of a row of at least one neuron, and how many are outside their width."""
    word = v.dtype.type
    lowest = highest = v[start]
    lost = word(0)
    for i in range(width):
        value = v[start + _U64(i)]
        lowest, highest = min(lowest, value), max(highest, value)
        lost += word((value < word(least)) | (value > word(most)))
    return int(lowest), int(highest), int(lost)


@compiled()
def _fire(
    v: np.ndarray,
    start: int,
    width: int,
    theta: int,
    to_zero: bool,
    spikes: np.ndarray,
    whence: np.ndarray,
    sent: int,
    index: int,
) -> int:
    """One spike of each neuron of a row that is at the threshold, and its reset; how many have been sent then."""
    word = v.dtype.type
    for neuron in range(start, start + width):
        # written in any case, and overwritten by the next one unless it counts: no branch to be guessed wrong
        spikes[sent], whence[sent] = neuron, index
        sent += v[_U64(neuron)] >= theta
    threshold, kept = word(theta), word(0 if to_zero else 1)
    for neuron in range(start, start + width):
        value = v[_U64(neuron)]
        v[_U64(neuron)] = word(kept * word(value - threshold)) if value >= threshold else value
    return sent


@compiled()
def _bound(v: np.ndarray, start: np.uint64, width: int, v_min: int) -> None:
    bound = v.dtype.type(v_min)
    for i in range(width):
        v[start + _U64(i)] = max(v[start + _U64(i)], bound)


@compiled()
def _in_order(spikes: np.ndarray, rank: np.ndarray, ranked: np.ndarray, before: int, sent: int) -> None:
    """Sort the spikes of one event, those from ``before`` to ``sent``, by rank: Shell's sort, for they are few."""
    for place in range(before, sent):
        spikes[place] = rank[spikes[place]]
    gap = 1
    while gap < (sent - before) // 3:
        gap = 3 * gap + 1
    while gap > 0:
        for place in range(before + gap, sent):
            value, hole = spikes[place], place
            while hole >= before + gap and spikes[hole - gap] > value:
                spikes[hole] = spikes[hole - gap]
                hole -= gap
            spikes[hole] = value
        gap //= 3
    for place in range(before, sent):
        spikes[place] = ranked[spikes[place]]
