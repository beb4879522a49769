# SPDX-License-Identifier: Apache-2.0
"""Pads kernels with zeros to squares, for chips that know one side of a kernel only (Speck).

Equation: along the shorter axis ``a`` zeros before the taps and ``b`` behind them, and ``a`` more rows of padding on
both sides of the map: tap j stays on the same pixel. The number of outputs stays the same too where ``a = b``, or
where ``a - b`` is swallowed by the stride. A dense layer on a map that is no square is a convolution of one output.

Precondition: none; a kernel for which no such ``a`` and ``b`` exist stays as it is. Dilated kernels stay (write them
out first, `expand_kernels`). Exact: only zeros are added. The zeros are memory and operations for the chip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from spikefold.export.network import Layer, Network, WeightLayer
from spikefold.export.ops import Conv2d, Shape
from spikefold.export.passes.network_pass import network_pass

STEP = "square_kernels"


@network_pass(STEP)
def square_kernels(network: Network) -> Sequence[Layer]:
    """The same function with square kernels wherever zeros can make them so."""
    return [_squared(network, layer) if isinstance(layer, WeightLayer) else layer for layer in network]


def _squared(network: Network, layer: WeightLayer) -> Layer:
    op, shape = layer.op, network.input_shape(layer)
    if not isinstance(op, Conv2d):
        if shape[1] == shape[2]:
            return layer
        op = Conv2d(op.weight.reshape(-1, *shape), op.bias)
    height, width = op.weight.shape[2:]
    if height == width or op.dilation != (1, 1):
        return layer
    axis = 0 if height < width else 1
    made = _longer(op, axis, max(height, width), shape)
    return layer if made is None else replace(layer, op=made)


def _longer(op: Conv2d, axis: int, side: int, shape: Shape) -> Conv2d | None:
    taps, stride, padding = op.weight.shape[2 + axis], op.stride[axis], op.padding[axis]
    free = shape[1 + axis] + 2 * padding - taps
    missing = side - taps
    for before in sorted(range(missing + 1), key=lambda zeros: abs(2 * zeros - missing)):
        behind = missing - before
        if (free + before - behind) // stride == free // stride:
            zeros = [(0, 0)] * 4
            zeros[2 + axis] = (before, behind)
            padded = list(op.padding)
            padded[axis] = padding + before
            return replace(op, weight=np.pad(op.weight, zeros), padding=(padded[0], padded[1]))
    return None
