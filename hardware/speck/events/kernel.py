# SPDX-License-Identifier: Apache-2.0
"""The compiled loop of the event-driven simulator, which takes a queue of events through one core.

An event adds one row of weights to one row of states for each output row under its kernel. Rows are contiguous in
both (`event_rows`), so they are added as whole vectors (`lanes`). The loop keeps only one number of the sums of an
event: how far the farthest of them lies above ``floor``, as an unsigned number, so that a sum below the floor counts
as far above it. An event is looked at again only where a sum is outside ``floor..floor + span``, which means that a
neuron fires, overflows, or has a sum lower or higher than ever before.

The lower bound is applied to every sum as it is stored (`Firing.bounds_at_once`), for a neuron that mostly inhibits
lies at its bound, and most events reach such a one. Where that would come to something else than spike, reset and
bound one after the other, the bound is one more reason to look again.

The same code is compiled for states of 16 bits and, where a core needs them, of 32 and 64 bits: numba makes one
machine code for each type of ``v``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from spikefold.compiled import compiled
from spikefold.hardware.simulators.event_rows import EventRows
from spikefold.hardware.simulators.lanes import add_bounded_rows, at_least, lanes_of, lowest_and_highest, lowest_bit

_U64 = np.uint64
_VECTOR = lanes_of(1)
"""Bytes of a vector."""


class Firing(NamedTuple):
    """What a sum is compared with, and what a spike does.

    Attributes:
        theta: threshold, at which a neuron fires.
        to_zero: a spike sets the state to zero, where it otherwise subtracts the threshold.
        v_min: lower bound of the state after an event.
        bounds_at_once: the bound can be applied before the spikes, and hides no overflow; see `bounds_at_once`.
        least: lowest state of the chip's width; below it an update is counted as overflow.
        most: highest state of that width.
    """

    theta: int
    to_zero: bool
    v_min: int
    bounds_at_once: bool
    least: int
    most: int


def bounds_at_once(theta: int, v_min: int, largest_weight: int, least: int) -> bool:
    """Whether a state may be bounded before it is compared: it is the same then, and no sum leaves its width.

    A neuron at the bound does not fire, and a reset leaves no state below 0.
    """
    return v_min <= 0 < theta and v_min - largest_weight >= least


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
        low: lowest state so far.
        high: highest state so far.
        overflow: updates that left the width of the state.
    """

    done: int
    sent: int
    low: int
    high: int
    overflow: int


@compiled()
def drain(
    events: np.ndarray,
    bins: np.ndarray,
    operations: np.ndarray,
    start: int,
    taps: EventRows,
    firing: Firing,
    v: np.ndarray,
    low: Any,
    high: Any,
    outbox: Outbox,
) -> Drained:
    """Process events from number ``start`` on, while there is room for the spikes of one more.

    Args:
        events: addresses in the core's input map, in order of arrival, ``(events,)`` int64.
        bins: the bin of each, ``(events,)`` int64.
        operations: synaptic operations of each bin, ``(T,)`` int64; added to.
        start: number of the first event to process.
        taps: the core's weights.
        firing: threshold, reset and bounds.
        v: states by neuron address, changed in place, ``(neurons,)`` int16, int32 or int64 as the weights.
        low: lowest state so far.
        high: highest state so far.
        outbox: what the spikes are written to.
    """
    # of one type from the beginning: each other type would be compiled too
    sent: Any = np.int64(0)
    overflow: Any = np.int64(0)
    word = v.dtype.type
    # taken out of the tuples here: inside the loop each access to an array would count references
    reached, weights, spikes, whence = taps.reached, taps.weights, outbox.spikes, outbox.whence
    rank, ranked, neuron_row, down = outbox.rank, outbox.ranked, taps.neuron_row, taps.down
    theta, to_zero, v_min, least, most = firing.theta, firing.to_zero, firing.v_min, firing.least, firing.most
    at_once = firing.bounds_at_once
    bound, after = (v_min, least) if at_once else (-(2 ** (8 * v.itemsize - 1)), v_min)
    floor, span = _quiet(v, low, high, theta, after, least, most)
    for index in range(start, len(events)):
        address = _U64(events[index])
        first, weight = np.int64(reached[address, 0]), np.int64(reached[address, 1])
        width, height = np.int64(reached[address, 2]), np.int64(reached[address, 3])
        if sent + height * width > len(spikes):
            return Drained(index, sent, low, high, overflow)
        operations[bins[index]] += height * width
        farthest, lowest = add_bounded_rows(
            v, _U64(first), weights, _U64(weight), width, height, neuron_row, down, floor, word(bound)
        )
        if _U64(farthest) <= span:
            continue
        before = sent
        highest = lowest_and_highest(v, _U64(first), width, height, neuron_row)[1]
        low, high = min(low, np.int64(lowest)), max(high, np.int64(highest))
        if lowest < least or highest > most:
            overflow += _lost(v, first, width, height, neuron_row, least, most)
        if highest >= theta:
            for row in range(height):
                line = first + row * neuron_row
                sent = _fire(v, line, width, word(theta), to_zero, spikes, whence, sent, index)
            if len(rank) and sent - before > 1:
                _in_order(spikes, rank, ranked, before, sent)
        if lowest < v_min and not at_once:
            _bound(v, first, width, height, neuron_row, word(v_min))
        floor, span = _quiet(v, low, high, theta, after, least, most)
    return Drained(len(events), sent, low, high, overflow)


@compiled()
def _quiet(v: np.ndarray, low: int, high: int, theta: int, v_min: int, least: int, most: int) -> tuple[Any, Any]:
    """The lowest sum that asks for nothing, and how far above it the highest lies."""
    floor, ceiling = max(low, v_min, least), min(high, theta - 1, most)
    return v.dtype.type(floor), _U64(ceiling - floor)


@compiled()
def _lost(v: np.ndarray, start: Any, width: Any, height: Any, step: int, least: int, most: int) -> int:
    """How many states of some rows are outside their width."""
    lost = 0
    for row in range(height):
        for place in range(start + row * step, start + row * step + width):
            lost += (v[_U64(place)] < least) | (v[_U64(place)] > most)
    return lost


@compiled()
def _fire(
    v: np.ndarray,
    start: Any,
    width: Any,
    theta: Any,
    to_zero: bool,
    spikes: np.ndarray,
    whence: np.ndarray,
    sent: int,
    index: int,
) -> int:
    """One spike of each neuron of a row that is at the threshold, and its reset; how many have been sent then."""
    word = v.dtype.type
    lanes = _VECTOR // v.itemsize
    place = start
    while place + lanes <= start + width:
        bits = at_least(v, _U64(place), theta)
        while bits:
            neuron: Any = place + np.int64(lowest_bit(bits))
            spikes[sent], whence[sent] = neuron, index
            sent += 1
            v[_U64(neuron)] = word(0) if to_zero else word(v[_U64(neuron)] - theta)
            bits &= bits - _U64(1)
        place += lanes
    for neuron in range(place, start + width):
        if v[_U64(neuron)] >= theta:
            spikes[sent], whence[sent] = neuron, index
            sent += 1
            v[_U64(neuron)] = word(0) if to_zero else word(v[_U64(neuron)] - theta)
    return sent


@compiled()
def _bound(v: np.ndarray, start: Any, width: Any, height: Any, step: int, bound: Any) -> None:
    for row in range(height):
        for place in range(start + row * step, start + row * step + width):
            v[_U64(place)] = max(v[_U64(place)], bound)


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
