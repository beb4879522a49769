# SPDX-License-Identifier: Apache-2.0
"""Writes grouped and dilated kernels out with zeros, for chips without groups or dilation (Speck).

Equation: with groups g and dilation d, ``K[o, c, i d, j d] = k[o, c - c0, i, j]`` where c0 is the first channel of
o's group, 0 elsewhere; the padding stays as it is. Precondition: none. Exact: only zeros are added, and adding 0
rounds nothing.
The zeros are synapses for the chip: memory and operations grow by g and by the square of d.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from spikefold.export.network import Layer, Network
from spikefold.export.ops import Conv2d
from spikefold.export.passes.network_pass import network_pass

STEP = "expand_kernels"


@network_pass(STEP)
def expand_kernels(network: Network) -> Sequence[Layer]:
    """The same function with dilation 1 and one group everywhere."""
    layers = []
    for layer in network:
        op = layer.op
        if isinstance(op, Conv2d) and (op.groups, op.dilation) != (1, (1, 1)):
            layer = replace(layer, op=written_out(op))
        layers.append(layer)
    return layers


def written_out(op: Conv2d) -> Conv2d:
    """The same convolution with dilation 1 and one group."""
    weight = full_kernel(op)
    height, width = ((side - 1) * d + 1 for side, d in zip(weight.shape[2:], op.dilation, strict=True))
    larger = np.zeros((*weight.shape[:2], height, width), weight.dtype)
    larger[:, :, :: op.dilation[0], :: op.dilation[1]] = weight
    return replace(op, weight=larger, dilation=(1, 1), groups=1)


def full_kernel(op: Conv2d) -> np.ndarray:
    """The kernel over all input channels, ``(Cout, Cin, kH, kW)``."""
    outputs, per_group = op.weight.shape[0] // op.groups, op.weight.shape[1]
    full = np.zeros((len(op.weight), per_group * op.groups, *op.weight.shape[2:]), op.weight.dtype)
    for group in range(op.groups):
        rows = slice(group * outputs, (group + 1) * outputs)
        full[rows, group * per_group : (group + 1) * per_group] = op.weight[rows]
    return full
