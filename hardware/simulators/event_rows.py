# SPDX-License-Identifier: Apache-2.0
"""Where the weights and the neurons of one event lie in memory: `EventRows`, for compiled loops.

Neurons are addressed row by row, the feature fastest, ``(y * width + x) * features + feature``, so that an event of a
convolution reaches whole rows of them; the weights are rearranged once so that those for such a row of neurons lie
side by side in the same order.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from spikefold.export.ops import Pair, Shape
from spikefold.hardware.simulators.lanes import lanes_of

Word = type[np.int16] | type[np.int32] | type[np.int64]
"""What states and weights are kept in."""


MOST_NUMBERS = 2**22
"""Of the weights that `equal_rows` may write out."""
SPARE = lanes_of(1)
"""Numbers behind the last neuron that `equal_rows` may add zeros to."""


class EventRows(NamedTuple):
    """A convolution's weights in the order in which an event reads them, and where each input begins to read.

    Padded column p meets the kernel columns kx = p - o * stride, which fall by the stride while the output column o
    ascends. So a kernel row is kept as one row for each remainder of kx, with its taps in falling order of kx and the
    features last.

    Attributes:
        weights: the rows of weights, ``(c, kH, stride, taps, f)`` flattened, int16, int32 or int64 as the state.
        reached: for each input the first neuron that it reaches, the place of its weight, how many neurons it
            reaches in an output row, and how many output rows, ``(inputs, 4)`` int32; inputs in the order y, x, c.
        neuron_row: neurons of one output row, ``fW * f``.
        down: from the weights of one output row to those of the next.
    """

    weights: np.ndarray
    reached: np.ndarray
    neuron_row: int
    down: int


def event_rows(
    weight: np.ndarray, shape: Shape, neurons: Shape, stride: Pair, padding: Pair, word: Word
) -> EventRows:
    """Rearrange the weights of a convolution without groups and dilation.

    Args:
        weight: ``(f, c, kH, kW)``, whole numbers that the width holds.
        shape: of the input, ``(C, H, W)``.
        neurons: shape of the output.
        stride: of the convolution.
        padding: of the convolution.
        word: the width of the numbers.
    """
    features, channels, k_height, k_width = weight.shape
    down, across = stride
    most = -(-k_width // across)
    weights = np.zeros((channels, k_height, across, most, features), word)
    for tap in range(k_width):
        last = (k_width - 1 - tap % across) // across  # the tap that meets the first output column
        weights[:, :, tap % across, last - tap // across] = weight[:, :, :, tap].transpose(1, 2, 0)
    top, height, k_y = _reached(shape[1], neurons[1], k_height, down, padding[0])
    left, width, k_x = _reached(shape[2], neurons[2], k_width, across, padding[1])
    first = k_x % across * most + (k_width - 1 - k_x % across) // across - k_x // across
    row = across * most * features  # numbers in ``weights`` for one ``(c, ky)``
    neuron_row = neurons[2] * features
    y, x, c = np.meshgrid(np.arange(len(top)), np.arange(len(left)), np.arange(channels), indexing="ij")
    reached = np.stack(
        [
            top[y] * neuron_row + left[x] * features,
            (c * k_height + k_y[y]) * row + first[x] * features,
            width[x] * features,
            np.where(width[x] > 0, height[y], 0),
        ],
        axis=-1,
    )
    return EventRows(weights.ravel(), reached.reshape(-1, 4).astype(np.int32), neuron_row, -down * row)


def _reached(size: int, outputs: int, kernel: int, stride: int, padding: int) -> tuple[np.ndarray, ...]:
    """Along one axis, for each input place: the first output, how many, and the kernel's place at the first."""
    place = np.arange(size) + padding
    first = np.maximum(0, -((kernel - 1 - place) // stride))  # output o reads place - o * stride, in [0, kernel)
    count = np.maximum(0, np.minimum(outputs - 1, place // stride) - first + 1)
    return np.where(count > 0, first, 0), count, np.where(count > 0, place - first * stride, 0)


def equal_rows(
    weight: np.ndarray, shape: Shape, neurons: Shape, stride: Pair, padding: Pair, word: Word
) -> EventRows | None:
    """As `event_rows`, but every event reaches as many neurons; where it has no weight for one, that weight is 0.

    A processor guesses the length of a loop that is always the same, and a wrong guess costs more than adding zeros.
    The sums are the same; how many neurons an event reaches cannot be told from it. The array of sums has room for
    `SPARE` more than there are neurons. None where it would take more than `MOST_NUMBERS`.
    """
    if neurons[1:] == (1, 1):  # a dense layer: whole vectors, what is behind the last neuron gets zeros
        weight = np.pad(weight, ((0, -len(weight) % lanes_of(np.dtype(word).itemsize)), (0, 0), (0, 0), (0, 0)))
    features, channels = weight.shape[:2]
    (first_y, taps_y, of_y), (first_x, taps_x, of_x) = (
        _equal(shape[axis + 1], neurons[axis + 1], weight.shape[axis + 2], stride[axis], padding[axis])
        for axis in (0, 1)
    )
    high, wide = taps_y.shape[1], taps_x.shape[1]
    of_one = high * wide * features
    if channels * len(taps_y) * len(taps_x) * of_one > MOST_NUMBERS:
        return None
    # a row and a column of zeros behind the kernel, for the places that it does not have
    padded = np.pad(weight, ((0, 0), (0, 0), (0, 1), (0, 1))).transpose(1, 2, 3, 0)
    # (c, kinds of y, kinds of x, high, wide, f)
    weights = padded[:, taps_y[:, None, :, None], taps_x[None, :, None, :]].astype(word)
    neuron_row = neurons[2] * features
    y, x, c = np.meshgrid(np.arange(shape[1]), np.arange(shape[2]), np.arange(channels), indexing="ij")
    reached = np.stack(
        [
            first_y[y] * neuron_row + first_x[x] * features,
            ((c * len(taps_y) + of_y[y]) * len(taps_x) + of_x[x]) * of_one,
            np.full_like(y, wide * features),
            np.full_like(y, high),
        ],
        axis=-1,
    )
    return EventRows(weights.ravel(), reached.reshape(-1, 4).astype(np.int32), neuron_row, wide * features)


def _equal(size: int, outputs: int, kernel: int, stride: int, padding: int) -> tuple[np.ndarray, ...]:
    """Along one axis: the first output of each input place, the kinds of taps there are, and the kind of each place.

    A kind is a list of kernel places, one for each output from the first on; ``kernel`` itself where there is none.
    """
    count = min(-(-kernel // stride), outputs)
    place = np.arange(size) + padding
    first = np.clip(-((kernel - 1 - place) // stride), 0, outputs - count)
    taps = place[:, None] - (first[:, None] + np.arange(count)) * stride
    taps[(taps < 0) | (taps >= kernel)] = kernel
    kinds, kind = np.unique(taps, axis=0, return_inverse=True)
    return first, kinds, kind.ravel()
