# SPDX-License-Identifier: Apache-2.0
"""The compiled loop of the event-driven simulator: a queue of events through one core.

An event adds one row of weights to one row of states for each output row under its kernel. Rows are contiguous in
both (`Taps`), so this vectorises. Only one number is kept of the sums: how far the farthest of them lies above
``floor``, unsigned, so that those below it are far above. Only where a sum is outside ``floor..floor + span`` is an
event looked at again: something fires, needs the lower bound, overflows, or is lower or higher than ever before.

The machine code is not cached on disk: where neither this folder nor the home can be written, numba refuses to
import a module with a cached function. Compiling takes about a second, once a process.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from spikefold.hardware.speck.cores import CoreLayer

LARGEST = 2**31 - 1
"""Of the 32-bit numbers in which the simulator keeps a state."""
_U64 = np.uint64


@dataclass(frozen=True, eq=False)
class Taps:
    """Where an event's weights and neurons lie.

    Padded column p meets kernel columns kx = p - o * stride, which fall by the stride while the output column o
    ascends. So a kernel row is kept as one row for each remainder of kx, taps in falling order of kx, features last.

    Attributes:
        weights: those rows, ``(c, kH, stride, taps, f)`` flattened, int32.
        row: entries for one ``(c, ky)``.
        kernel_height: kH.
        stride: of the output rows.
        neuron_row: neurons of one output row, ``fW * f``.
        rows: for each input row the first output row it reaches, how many, and the kernel row of the first.
        columns: for each input column the first neuron it reaches in an output row, its weight's place in a ``row``,
            and how many of both.
    """

    weights: np.ndarray
    row: int
    kernel_height: int
    stride: int
    neuron_row: int
    rows: np.ndarray
    columns: np.ndarray


def taps_of(layer: CoreLayer) -> Taps:
    """The weights of a core, rearranged; see `Taps`."""
    features, channels, k_height, k_width = layer.weight.shape
    down, across = layer.stride
    most = -(-k_width // across)
    weights = np.zeros((channels, k_height, across, most, features), np.int32)
    for tap in range(k_width):
        last = (k_width - 1 - tap % across) // across  # the tap that meets the first output column
        weights[:, :, tap % across, last - tap // across] = layer.weight[:, :, :, tap].transpose(1, 2, 0)
    top, height, k_y = _reached(layer.input_shape[1], layer.neuron_shape[1], k_height, down, layer.padding[0])
    left, width, k_x = _reached(layer.input_shape[2], layer.neuron_shape[2], k_width, across, layer.padding[1])
    first = k_x % across * most + (k_width - 1 - k_x % across) // across - k_x // across
    return Taps(
        weights.ravel(),
        across * most * features,
        k_height,
        down,
        layer.neuron_shape[2] * features,
        np.stack([top, height, k_y], axis=1),
        np.stack([left, first, width], axis=1) * features,
    )


def _reached(size: int, outputs: int, kernel: int, stride: int, padding: int) -> tuple[np.ndarray, ...]:
    """Along one axis, for each input place: the first output, how many, and the kernel's place at the first."""
    place = np.arange(size) + padding
    first = np.maximum(0, -((kernel - 1 - place) // stride))  # output o reads place - o * stride, in [0, kernel)
    count = np.maximum(0, np.minimum(outputs - 1, place // stride) - first + 1)
    return np.where(count > 0, first, 0), count, np.where(count > 0, place - first * stride, 0)


@njit(cache=False, error_model="numpy")
def drain(
    events: np.ndarray, start: int, channels: int, in_width: int, rows: np.ndarray, columns: np.ndarray,
    weights: np.ndarray, row: int, kernel_height: int, stride: int, v: np.ndarray, neuron_row: int, theta: int,
    to_zero: bool, v_min: int, least: int, most: int, low: int, high: int, spikes: np.ndarray, whence: np.ndarray,
) -> tuple[int, int, int, int, int, int]:  # fmt: skip
    """Process events from number ``start`` on while there is room for the spikes of one more.

    Spikes are written by address, ascending within an event, and for each the number of its event. Returns the number
    of the next event, how many spikes there are, operations, lowest and highest state, overflows.
    """
    sent, operations, overflow = 0, 0, 0
    floor, span = _quiet(low, high, theta, v_min, least, most)
    for index in range(start, len(events)):
        address = _U64(events[index])
        place = address // _U64(channels)
        channel = address - place * _U64(channels)
        y = place // _U64(in_width)
        x = place - y * _U64(in_width)
        top, height, k_y = rows[y, 0], rows[y, 1], rows[y, 2]
        left, first, width = columns[x, 0], columns[x, 1], columns[x, 2]
        if sent + height * width > len(spikes):
            return index, sent, operations, low, high, overflow
        operations += height * width
        farthest = np.uint32(0)
        neurons = top * neuron_row + left
        taps = (np.int64(channel) * kernel_height + k_y) * row + first
        for _ in range(height):
            farthest = _add(v, _U64(neurons), weights, _U64(taps), width, floor, farthest)
            neurons += neuron_row
            taps -= stride * row
        if farthest <= span:
            continue
        neurons = top * neuron_row + left
        for _ in range(height):
            lowest, highest, lost = _range(v, _U64(neurons), width, least, most)
            low, high, overflow = min(low, lowest), max(high, highest), overflow + lost
            if highest >= theta:
                sent = _fire(v, neurons, width, theta, to_zero, spikes, whence, sent, index)
            if lowest < v_min:
                _bound(v, _U64(neurons), width, v_min)
            neurons += neuron_row
        floor, span = _quiet(low, high, theta, v_min, least, most)
    return len(events), sent, operations, low, high, overflow


@njit(cache=False)
def _quiet(low: int, high: int, theta: int, v_min: int, least: int, most: int) -> tuple[np.int32, np.uint32]:
    """The lowest sum that asks for nothing, and how far above it the highest lies."""
    floor, ceiling = max(low, v_min, least), min(high, theta - 1, most)
    return np.int32(floor), np.uint32(ceiling - floor)


@njit(cache=False)
def _add(
    v: np.ndarray,
    start: np.uint64,
    weights: np.ndarray,
    taps: np.uint64,
    width: int,
    floor: np.int32,
    farthest: np.uint32,
) -> np.uint32:
    """Add one row; unsigned indices, for numba counts negative ones from the end, and that does not vectorise."""
    for i in range(width):
        value = np.int32(v[start + _U64(i)] + weights[taps + _U64(i)])
        v[start + _U64(i)] = value
        farthest = max(farthest, np.uint32(value - floor))
    return farthest


@njit(cache=False)
def _range(v: np.ndarray, start: np.uint64, width: int, least: int, most: int) -> tuple[int, int, int]:
    """Lowest and highest state of a row, and how many are outside their width."""
    lowest, highest, lost = np.int32(LARGEST), np.int32(-LARGEST), np.int32(0)
    for i in range(width):
        value = v[start + _U64(i)]
        lowest, highest = min(lowest, value), max(highest, value)
        lost += np.int32((value < np.int32(least)) | (value > np.int32(most)))
    return int(lowest), int(highest), int(lost)


@njit(cache=False)
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
    for neuron in range(start, start + width):
        # written in any case, and overwritten by the next one unless it counts: no branch to be guessed wrong
        spikes[sent], whence[sent] = neuron, index
        sent += v[_U64(neuron)] >= theta
    kept = np.int32(0 if to_zero else 1)
    for neuron in range(start, start + width):
        value = v[_U64(neuron)]
        v[_U64(neuron)] = np.int32(kept * np.int32(value - theta)) if value >= np.int32(theta) else value
    return sent


@njit(cache=False)
def _bound(v: np.ndarray, start: np.uint64, width: int, v_min: int) -> None:
    for i in range(width):
        v[start + _U64(i)] = max(v[start + _U64(i)], np.int32(v_min))
