# SPDX-License-Identifier: Apache-2.0
"""Compiles the inner loops of `sparse`: one weight layer and its neurons over whole clips, in 32-bit whole numbers.

States and currents lie in the order y, x, channel, the channel fastest, so that one event adds to all features of a
position as one vector. Each function below is one line of `export.neuron` for all neurons of a layer; they are kept
apart because the compiler turns each of them into vector instructions.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from spikefold.compiled import compiled

UNBOUNDED = -(2**31)
"""As the lower bound of a state: none."""
NONE, FORBID, SATURATE, WRAP = range(4)
"""What a state does outside its width; NONE where it is proven never to get there."""


class Synapses(NamedTuple):
    """A convolution in the order in which events look it up.

    Attributes:
        places: of each input its channel, y, x and first output channel, ``(inputs, 4)``.
        rows: for each input y the pairs of kernel row and output y that it reaches, see `reach`.
        columns: the same for x.
        weight: ``(Cin, kH, kW, Cout / groups)``, in the unit of the state.
        bias: what every step adds, ``(neurons,)``.
        width: of the output.
        channels: of the output.
    """

    places: np.ndarray
    rows: np.ndarray
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


@compiled(nogil=True)
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


@compiled(nogil=True)
def run_loop(x: np.ndarray, synapses: Synapses, rules: Rules, raster: np.ndarray, states: np.ndarray) -> tuple:  # type: ignore[type-arg]
    """All clips of ``x`` ``(T, N, inputs)`` uint16, each from zero state.

    Fills ``raster`` ``(T, N, neurons)``, given as zeros, and ``states`` likewise where it has any clips.

    Returns:
        Lowest and highest state before firing, and how many left their width.
    """
    neurons = rules.theta.size
    v, u = np.empty(neurons, np.int32), np.empty(neurons, np.int32)
    fired = np.empty(neurons, np.uint16)
    index = np.empty(max(neurons, x.shape[2]) + 1, np.int32)
    low, high, lost = 0, 0, 0
    for clip in range(x.shape[1]):
        v[:] = 0
        u[:] = 0
        for step in range(x.shape[0]):
            events = x[step, clip]
            _begin(u, synapses.bias, rules.current)
            _add_events(u, synapses, index[: _nonzero(events, index)], events)
            if rules.checked:
                lost += int(_outside(u, rules.largest))
            _charge(v, u, rules.leak, rules.input_first)
            lost += int(_bound(v, rules.overflow, rules.largest))
            lowest, highest = _range(v)
            low, high = min(low, lowest), max(high, highest)
            _fire(v, rules, fired)
            _reset(v, rules, fired)
            for found in range(_nonzero(fired, index)):
                neuron = index[found]
                raster[step, clip, rules.targets[neuron]] = fired[neuron]
            if states.shape[1]:
                for neuron in range(neurons):
                    states[step, clip, rules.targets[neuron]] = v[neuron]
    return low, high, lost


@compiled(nogil=True)
def _nonzero(values: np.ndarray, index: np.ndarray) -> int:
    """Write down where values are not 0, and give their number; without a branch, which would be guessed wrong."""
    count = 0
    for i in range(values.size):
        index[count] = i
        count += values[i] != 0
    return count


@compiled(nogil=True)
def _begin(u: np.ndarray, bias: np.ndarray, keep: float) -> None:
    if keep == 0:
        for i in range(u.size):
            u[i] = bias[i]
    else:
        for i in range(u.size):
            u[i] = np.int32(u[i] * keep) + bias[i]  # the conversion truncates toward zero


@compiled(nogil=True)
def _add_events(u: np.ndarray, synapses: Synapses, index: np.ndarray, counts: np.ndarray) -> None:
    # taken out of the tuple here: inside the loops each access would count references
    places, rows, columns, weight = synapses.places, synapses.rows, synapses.columns, synapses.weight
    width, channels, features = synapses.width, synapses.channels, synapses.weight.shape[3]
    for source in index:
        count = np.int32(counts[source])
        c, y, x, first = places[source]
        for i in range(rows.shape[1]):
            kernel_y, to_y = rows[y, i]
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


@compiled(nogil=True)
def _charge(v: np.ndarray, u: np.ndarray, keep: float, input_first: bool) -> None:
    if keep == 1:
        for i in range(v.size):
            v[i] += u[i]
    elif input_first:
        for i in range(v.size):
            v[i] = np.int32((v[i] + u[i]) * keep)
    else:
        for i in range(v.size):
            v[i] = np.int32(v[i] * keep) + u[i]


@compiled(nogil=True)
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


@compiled(nogil=True)
def _outside(v: np.ndarray, largest: int) -> np.int32:
    lost = np.int32(0)
    for i in range(v.size):
        lost = np.int32(lost + ((v[i] > largest) | (v[i] < -largest - 1)))
    return lost


@compiled(nogil=True)
def _range(v: np.ndarray) -> tuple:  # type: ignore[type-arg]
    low = high = v[0]
    for i in range(v.size):
        low, high = min(low, v[i]), max(high, v[i])
    return low, high


@compiled(nogil=True)
def _fire(v: np.ndarray, rules: Rules, fired: np.ndarray) -> None:
    """Among whole numbers, above k is at or above k + 1; quotients of 32-bit numbers are exact enough in float64."""
    theta, above = rules.theta, np.int32(rules.above)
    if rules.most == 1:
        for i in range(v.size):
            fired[i] = v[i] - above >= theta[i]
    else:
        for i in range(v.size):
            fired[i] = np.int32(min(max(np.floor((v[i] - above) / theta[i]), 0.0), rules.most))


@compiled(nogil=True)
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
