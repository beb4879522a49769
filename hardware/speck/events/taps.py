# SPDX-License-Identifier: Apache-2.0
"""Where the weights and the neurons of one event lie in the memory of a core: `Taps`, for the compiled loop.

Neurons are addressed row by row, the feature fastest, so that an event reaches whole rows of them; the weights are
rearranged once so that those for such a row of neurons lie side by side in the same order.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from spikefold.hardware.speck.cores import CoreLayer


class Taps(NamedTuple):
    """A core's weights in the order in which an event reads them, and where each input pixel begins to read.

    Padded column p meets the kernel columns kx = p - o * stride, which fall by the stride while the output column o
    ascends. So a kernel row is kept as one row for each remainder of kx, with its taps in falling order of kx and the
    features last.

    Attributes:
        channels: channels of the input map.
        in_width: columns of the input map.
        weights: the rows of weights, ``(c, kH, stride, taps, f)`` flattened, int32 or int64 as the state.
        row: numbers in ``weights`` for one ``(c, ky)``.
        kernel_height: kH.
        stride: vertical stride of the convolution.
        neuron_row: neurons of one output row, ``fW * f``.
        rows: for each input row the first output row that it reaches, how many it reaches, and the kernel row of the
            first, ``(H, 3)`` int64.
        columns: for each input column the first neuron that it reaches in an output row, the place of its weight
            in a ``row``, and how many neurons it reaches, ``(W, 3)`` int64.
    """

    channels: int
    in_width: int
    weights: np.ndarray
    row: int
    kernel_height: int
    stride: int
    neuron_row: int
    rows: np.ndarray
    columns: np.ndarray


def taps_of(layer: CoreLayer, word: type[np.int32 | np.int64]) -> Taps:
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
    return Taps(
        channels=layer.input_shape[0],
        in_width=layer.input_shape[2],
        weights=weights.ravel(),
        row=across * most * features,
        kernel_height=k_height,
        stride=down,
        neuron_row=layer.neuron_shape[2] * features,
        rows=np.stack([top, height, k_y], axis=1),
        columns=np.stack([left, first, width], axis=1) * features,
    )


def _reached(size: int, outputs: int, kernel: int, stride: int, padding: int) -> tuple[np.ndarray, ...]:
    """Along one axis, for each input place: the first output, how many, and the kernel's place at the first."""
    place = np.arange(size) + padding
    first = np.maximum(0, -((kernel - 1 - place) // stride))  # output o reads place - o * stride, in [0, kernel)
    count = np.maximum(0, np.minimum(outputs - 1, place // stride) - first + 1)
    return np.where(count > 0, first, 0), count, np.where(count > 0, place - first * stride, 0)
