# SPDX-License-Identifier: Apache-2.0
"""Writes dense layers as convolutions, for tools that know nothing else.

Equation: a dense layer over an input ``(C, H, W)``, flattened in that order, is a convolution whose kernel is the
whole map, ``K[o, c, y, x] = W[o, (c H + y) W + x]``, without padding: its output is ``(out, 1, 1)``. A dense layer
behind a dense layer is a 1x1 convolution. Precondition: none. Exact: the same products; in float64 only the order in
which they are added may differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from spikefold.export.network import Layer, Network
from spikefold.export.ops import Conv2d, Dense
from spikefold.export.passes.network_pass import network_pass

STEP = "dense_to_conv"


@network_pass(STEP)
def dense_to_conv(network: Network) -> Sequence[Layer]:
    """The same function without any `Dense`."""
    layers = []
    for layer in network:
        op = layer.op
        if isinstance(op, Dense):
            kernel = op.weight.reshape(-1, *network.input_shape(layer))
            layer = replace(layer, op=Conv2d(kernel, op.bias))
        layers.append(layer)
    return layers
