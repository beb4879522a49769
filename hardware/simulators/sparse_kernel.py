# SPDX-License-Identifier: Apache-2.0
"""Compiles the inner loops of `sparse`: one weight layer and its neurons over whole clips, in 32-bit whole numbers.

States and currents lie in the order y, x, channel, the channel fastest, so that one event adds to all features of a
position as one vector. Each function below is one line of `export.neuron` for all neurons of a layer; they are kept
apart because the compiler turns each of them into vector instructions.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from spikefold.compiled import compiled
from spikefold.hardware.simulators.event_rows import SPARE, EventRows
from spikefold.hardware.simulators.lanes import add_rows, bits_set, lanes_of, lowest_and_highest, lowest_bit, not_zero

_U64 = np.uint64
_COUNTS = lanes_of(2)
"""Counts of 16 bits in one vector."""
_AT_ONCE = 8
_NARROW = 2**15
SLACK = 64

UNBOUNDED = -(2**31)
"""As the lower bound of a state: none."""
NONE, FORBID, SATURATE, WRAP = range(4)
"""What a state does outside its width; NONE where it is proven never to get there."""


class Synapses(NamedTuple):
    """A convolution in the order in which events look it up: in 16 bits by rows, and in 32 by tables.

    Attributes:
        by_rows: whether ``rows`` hold; not of groups, dilation, very wide or very large weights.
        rows: weights and neurons of an event as whole rows, `event_rows.equal_rows`.
        row_of: of each input its place in ``rows.reached``, ``(inputs,)`` int32.
        small_bias: what every step adds, ``(neurons,)`` int16, in the unit of the weights.
        largest_bias: of them, without its sign.
        largest_weight: of the weights, without its sign.
        largest_sum: of the weights of one neuron, without their signs.
        unit: of the state in units of the weights.
        places: of each input its channel, y, x and first output channel, ``(inputs, 4)``.
        lines: for each input y the pairs of kernel row and output y that it reaches, see `reach`.
        columns: the same for x.
        weight: ``(Cin, kH, kW, Cout / groups)``, in the unit of the state.
        bias: what every step adds, ``(neurons,)``, in the unit of the state.
        width: of the output.
        channels: of the output.
    """

    by_rows: bool
    rows: EventRows
    row_of: np.ndarray
    small_bias: np.ndarray
    largest_bias: int
    largest_weight: int
    largest_sum: int
    unit: int
    places: np.ndarray
    lines: np.ndarray
    columns: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    width: int
    channels: int


class Rules(NamedTuple):
    """A `Neuron` in numbers.

    Attributes:
        targets: place of each neuron in the order channel, y, x, ``(neurons,)``.
        theta: thresholds in the unit of the state ``(neurons,)``.
        current: share of the current kept; 0 where there is none.
        leak: share of the state kept; 1 without a leak.
        input_first: the leak acts on old state and input together.
        largest: highest state of the width.
        overflow: one of the names above.
        checked: whether a current may be too wide and is to be counted.
        above: fire above the threshold only.
        most: spikes of a neuron and step.
        subtract: reset by subtraction; else to ``value``.
        value: the state after a spike.
        v_min: lowest state after the reset.
    """

    targets: np.ndarray
    theta: np.ndarray
    current: float
    leak: float
    input_first: bool
    largest: int
    overflow: int
    checked: bool
    above: bool
    most: int
    subtract: bool
    value: int
    v_min: int


@compiled()
def reach(table: np.ndarray, outputs: int, stride: int, padding: int, dilation: int) -> None:
    """Fill in for each input position the kernel and output positions that meet there.

    ``table`` ``(size, kernel, 2)`` is given as -1, which ends each list.
    """
    for position in range(table.shape[0]):
        pairs = 0
        for offset in range(table.shape[1]):
            at = position + padding - offset * dilation
            if at >= 0 and at % stride == 0 and at // stride < outputs:
                table[position, pairs, 0] = offset
                table[position, pairs, 1] = at // stride
                pairs += 1


@compiled()
def run_loop(
    x: np.ndarray, most: int, synapses: Synapses, rules: Rules, raster: np.ndarray, states: np.ndarray
) -> tuple:  # type: ignore[type-arg]
    """All clips of ``x`` ``(T, N, inputs)`` uint16 of at most ``most``, each from zero state.

    The input of a step is added up in 16 bits wherever it cannot leave them, which its number of events tells.
    Fills ``raster`` ``(T, N, neurons)``, and ``states`` where it has any clips.

    Returns:
        Lowest and highest state before firing, and how many left their width.
    """
    neurons = rules.theta.size
    v, u = np.empty(neurons, np.int32), np.empty(neurons, np.int32)
    small, fired = np.zeros(neurons + SPARE, np.int16), np.empty(neurons, np.uint16)
    index, line = np.empty(max(neurons, x.shape[2]) + SLACK, np.int32), np.zeros(neurons, np.uint16)
    low, high, lost = np.int64(0), np.int64(0), np.int64(0)
    for clip in range(x.shape[1]):
        v[:] = 0
        u[:] = 0
        for step in range(x.shape[0]):
            events = x[step, clip]
            here = index[: _nonzero(events, index)]
            largest = min(synapses.largest_sum, len(here) * synapses.largest_weight) * most + synapses.largest_bias
            if synapses.by_rows and largest < _NARROW:
                small[:neurons] = synapses.small_bias
                _add_rows(small, synapses.rows, synapses.row_of, here, events)
                lowest, highest = _charge(v, small, np.int32(synapses.unit), rules.leak, rules.input_first)
            else:
                _begin(u, synapses.bias, rules.current)
                _add_events(u, synapses, here, events)
                if rules.checked:
                    lost += np.int64(_outside(u, rules.largest))
                lowest, highest = _charge(v, u, np.int32(1), rules.leak, rules.input_first)
            if lowest < -rules.largest or highest > rules.largest:
                lost += np.int64(_bound(v, rules.overflow, rules.largest))
                lowest, highest = lowest_and_highest(v, _U64(0), neurons, 1, 0)
            low, high = min(low, np.int64(lowest)), max(high, np.int64(highest))
            if rules.most == 1:
                _fire_once(v, rules, fired)
            else:
                _fire(v, rules, fired)
                _reset(v, rules, fired)
            _record(fired, index[: _nonzero(fired, index)], rules.targets, line, raster[step, clip])
            if states.shape[1]:
                for neuron in range(neurons):
                    states[step, clip, rules.targets[neuron]] = v[neuron]
    return low, high, lost


@compiled()
def _nonzero(values: np.ndarray, index: np.ndarray) -> int:
    """Write down where values are not 0, and give their number; ``index`` has room for `SLACK` more than all.

    Of each 64 values the first eight places are written whether or not there are so many, and overwritten by the
    next ones: how many there are is guessed wrong by a processor, which would cost more.
    """
    count: Any = 0
    place = 0
    while place + 64 <= values.size:
        bits = _U64(0)
        for part in range(64 // _COUNTS):
            bits |= not_zero(values, _U64(place + part * _COUNTS)) << _U64(part * _COUNTS)
        after = count + np.int64(bits_set(bits))
        for slot in range(_AT_ONCE):
            index[count + slot] = place + np.int64(lowest_bit(bits))
            bits &= bits - _U64(1)
        count += _AT_ONCE
        while bits:
            index[count] = place + np.int64(lowest_bit(bits))
            bits &= bits - _U64(1)
            count += 1
        count = after
        place += 64
    for rest in range(place, values.size):
        index[count] = rest
        count += values[rest] != 0
    return count


@compiled()
def _record(fired: np.ndarray, index: np.ndarray, targets: np.ndarray, line: np.ndarray, raster: np.ndarray) -> None:
    """Write down the neurons that fired.

    They lie all over the raster, so they are put in order in ``line``, which is given and left as zeros, and copied
    at one go: memory is several times faster so.
    """
    for neuron in index:
        line[targets[neuron]] = fired[neuron]
    for i in range(line.size):
        raster[i] = line[i]
    for neuron in index:
        line[targets[neuron]] = 0


@compiled()
def _add_rows(u: np.ndarray, rows: EventRows, row_of: np.ndarray, index: np.ndarray, counts: np.ndarray) -> None:
    # taken out of the tuple here: inside the loops each access would count references
    weights, reached, neuron_row, down = rows.weights, rows.reached, rows.neuron_row, rows.down
    for source in index:
        row = row_of[source]
        first, weight = np.int64(reached[row, 0]), np.int64(reached[row, 1])
        width, height = np.int64(reached[row, 2]), np.int64(reached[row, 3])
        if counts[source] == 1:
            add_rows(u, _U64(first), weights, _U64(weight), width, height, neuron_row, down, np.int16(0))
            continue
        count = np.int16(counts[source])
        for line in range(height):
            at, weight_at = first + line * neuron_row, weight + line * down
            for i in range(width):
                u[_U64(at + i)] += np.int16(count * weights[_U64(weight_at + i)])


@compiled()
def _begin(u: np.ndarray, bias: np.ndarray, keep: float) -> None:
    if keep == 0:
        for i in range(u.size):
            u[i] = bias[i]
    else:
        for i in range(u.size):
            u[i] = np.int32(u[i] * keep) + bias[i]  # the conversion truncates toward zero


@compiled()
def _add_events(u: np.ndarray, synapses: Synapses, index: np.ndarray, counts: np.ndarray) -> None:
    # taken out of the tuple here: inside the loops each access would count references
    places, lines, columns, weight = synapses.places, synapses.lines, synapses.columns, synapses.weight
    width, channels, features = synapses.width, synapses.channels, synapses.weight.shape[3]
    for source in index:
        count = np.int32(counts[source])
        c, y, x, first = places[source]
        for i in range(lines.shape[1]):
            kernel_y, to_y = lines[y, i]
            if to_y < 0:
                break
            for j in range(columns.shape[1]):
                kernel_x, to_x = columns[x, j]
                if to_x < 0:
                    break
                begin = (to_y * width + to_x) * channels + first
                target = u[begin : begin + features]
                added = weight[c, kernel_y, kernel_x]
                for o in range(features):
                    target[o] += count * added[o]


@compiled()
def _charge(v: np.ndarray, u: np.ndarray, unit: Any, keep: float, input_first: bool) -> tuple:  # type: ignore[type-arg]
    """Leak and input; the lowest and the highest state then."""
    low, high = np.int32(2**31 - 1), np.int32(-(2**31))
    if keep == 1:
        for i in range(v.size):
            charged = np.int32(v[i] + np.int32(u[i]) * unit)
            v[i], low, high = charged, min(low, charged), max(high, charged)
    elif input_first:
        for i in range(v.size):
            charged = np.int32((v[i] + np.int32(u[i]) * unit) * keep)  # the conversion truncates toward zero
            v[i], low, high = charged, min(low, charged), max(high, charged)
    else:
        for i in range(v.size):
            charged = np.int32(np.int32(v[i] * keep) + np.int32(u[i]) * unit)
            v[i], low, high = charged, min(low, charged), max(high, charged)
    return low, high


@compiled()
def _bound(v: np.ndarray, overflow: int, largest: int) -> np.int32:
    """Bring states into their width and count those that were outside."""
    lost = np.int32(0)
    if overflow == SATURATE:
        for i in range(v.size):
            held = np.int32(min(max(v[i], -largest), largest))
            lost = np.int32(lost + (held != v[i]))
            v[i] = held
    elif overflow == WRAP:
        for i in range(v.size):
            held = np.int32(((v[i] + largest + 1) & (2 * largest + 1)) - largest - 1)
            lost = np.int32(lost + (held != v[i]))
            v[i] = held
    elif overflow == FORBID:
        return _outside(v, largest)
    return lost


@compiled()
def _outside(v: np.ndarray, largest: int) -> np.int32:
    lost = np.int32(0)
    for i in range(v.size):
        lost = np.int32(lost + ((v[i] > largest) | (v[i] < -largest - 1)))
    return lost


@compiled()
def _fire_once(v: np.ndarray, rules: Rules, fired: np.ndarray) -> None:
    """At most one spike a neuron, and its reset, in one pass."""
    theta, above = rules.theta, np.int32(rules.above)
    value, v_min = np.int32(rules.value), np.int32(rules.v_min)
    if rules.subtract:
        for i in range(v.size):
            state = v[i]
            fires = np.int32(state - above) >= theta[i]
            fired[i] = fires
            v[i] = max(np.int32(state - theta[i]) if fires else state, v_min)
    else:
        for i in range(v.size):
            state = v[i]
            fires = np.int32(state - above) >= theta[i]
            fired[i] = fires
            v[i] = max(value if fires else state, v_min)


@compiled()
def _fire(v: np.ndarray, rules: Rules, fired: np.ndarray) -> None:
    """Among whole numbers, above k is at or above k + 1; quotients of 32-bit numbers are exact enough in float64."""
    theta, above = rules.theta, np.int32(rules.above)
    for i in range(v.size):
        fired[i] = np.int32(min(max(np.floor((v[i] - above) / theta[i]), 0.0), rules.most))


@compiled()
def _reset(v: np.ndarray, rules: Rules, fired: np.ndarray) -> None:
    if rules.subtract:
        for i in range(v.size):
            v[i] -= fired[i] * rules.theta[i]
    else:
        value = np.int32(rules.value)
        for i in range(v.size):
            v[i] = value if fired[i] else v[i]
    if rules.v_min > UNBOUNDED:
        v_min = np.int32(rules.v_min)
        for i in range(v.size):
            v[i] = max(v[i], v_min)
