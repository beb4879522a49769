# SPDX-License-Identifier: Apache-2.0
"""Where the weights and the neurons of one event lie in the memory of a core: `Taps`, for the compiled loop.

Neurons are addressed row by row, the feature fastest, so that an event reaches whole rows of them; the weights are
rearranged once so that those for such a row of neurons lie side by side in the same order.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from spikefold.hardware.speck.cores import CoreLayer

Word = type[np.int16] | type[np.int32] | type[np.int64]
"""What states and weights are kept in."""


class Taps(NamedTuple):
    """A core's weights in the order in which an event reads them, and where each input pixel begins to read.

    Padded column p meets the kernel columns kx = p - o * stride, which fall by the stride while the output column o
    ascends. So a kernel row is kept as one row for each remainder of kx, with its taps in falling order of kx and the
    features last.

    Attributes:
        weights: the rows of weights, ``(c, kH, stride, taps, f)`` flattened, int16, int32 or int64 as the state.
        reached: for each input address the first neuron that it reaches, the place of its weight, how many
            neurons it reaches in an output row, and how many output rows, ``(inputs, 4)`` int32.
        neuron_row: neurons of one output row, ``fW * f``.
        down: from the weights of one output row to those of the next.
    """

    weights: np.ndarray
    reached: np.ndarray
    neuron_row: int
    down: int


def taps_of(layer: CoreLayer, word: Word) -> Taps:
    """The weights of a core, rearranged, as whole numbers of the width ``word``."""
    features, channels, k_height, k_width = layer.weight.shape
    down, across = layer.stride
    most = -(-k_width // across)
    weights = np.zeros((channels, k_height, across, most, features), word)
    for tap in range(k_width):
        last = (k_width - 1 - tap % across) // across  # the tap that meets the first output column
        weights[:, :, tap % across, last - tap // across] = layer.weight[:, :, :, tap].transpose(1, 2, 0)
    top, height, k_y = _reached(layer.input_shape[1], layer.neuron_shape[1], k_height, down, layer.padding[0])
    left, width, k_x = _reached(layer.input_shape[2], layer.neuron_shape[2], k_width, across, layer.padding[1])
    first = k_x % across * most + (k_width - 1 - k_x % across) // across - k_x // across
    row = across * most * features  # numbers in ``weights`` for one ``(c, ky)``
    neuron_row = layer.neuron_shape[2] * features
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
    return Taps(weights.ravel(), reached.reshape(-1, 4).astype(np.int32), neuron_row, -down * row)


def _reached(size: int, outputs: int, kernel: int, stride: int, padding: int) -> tuple[np.ndarray, ...]:
    """Along one axis, for each input place: the first output, how many, and the kernel's place at the first."""
    place = np.arange(size) + padding
    first = np.maximum(0, -((kernel - 1 - place) // stride))  # output o reads place - o * stride, in [0, kernel)
    count = np.maximum(0, np.minimum(outputs - 1, place // stride) - first + 1)
    return np.where(count > 0, first, 0), count, np.where(count > 0, place - first * stride, 0)
