# SPDX-License-Identifier: Apache-2.0
"""Which neurons a step's events reach: the difference between an active and an idle neuron update."""

from __future__ import annotations

import numpy as np

from spikefold.export.ops import AvgPool2d, Conv2d, Dense, MaxPool2d, SumPool2d

Pool = AvgPool2d | SumPool2d | MaxPool2d


def reached(op: Conv2d | Dense, active: np.ndarray) -> np.ndarray:
    """Outputs with at least one active input under their synapses, weights of zero included.

    Args:
        op: the layer.
        active: where its input is other than zero, ``(T, N, C, H, W)`` bool.

    Returns:
        ``(T, N, C, H, W)`` bool of the output's shape.
    """
    frames = active.shape[:2]
    if isinstance(op, Dense):
        return np.broadcast_to(active.any(axis=(2, 3, 4), keepdims=True), (*frames, len(op.weight), 1, 1))
    outputs, rows, columns = op.output_shape(active.shape[2:])
    (pad_y, pad_x), (stride_y, stride_x), (gap_y, gap_x) = op.padding, op.stride, op.dilation
    groups = active.reshape(*frames, op.groups, -1, *active.shape[3:]).any(axis=3)
    padded = np.pad(groups, ((0, 0), (0, 0), (0, 0), (pad_y, pad_y), (pad_x, pad_x)))
    found = np.zeros((*frames, op.groups, rows, columns), bool)
    for ky in range(op.weight.shape[2]):
        below = slice(ky * gap_y, ky * gap_y + stride_y * (rows - 1) + 1, stride_y)
        for kx in range(op.weight.shape[3]):
            beside = slice(kx * gap_x, kx * gap_x + stride_x * (columns - 1) + 1, stride_x)
            found |= padded[..., below, beside]
    return np.repeat(found, outputs // op.groups, axis=2)


def windows(x: np.ndarray, op: Pool) -> np.ndarray:
    """``(T, N, C, H, W)`` cut into the pool's windows ``(T, N, C, rows, kH, columns, kW)``, the remainder dropped."""
    t, n, c, h, w = x.shape
    rows, columns = h // op.kernel[0], w // op.kernel[1]
    kept = x[..., : rows * op.kernel[0], : columns * op.kernel[1]]
    return kept.reshape(t, n, c, rows, op.kernel[0], columns, op.kernel[1])
