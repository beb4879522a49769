# SPDX-License-Identifier: Apache-2.0
"""Computes the strided 1x1 convolution of a shortcut on the pixels that it reads and on no others.

The sum is the same, term by term. The reason is a fault of PyTorch: on one thread, PyTorch 2.13.0 writes outside its
memory in the backward pass of a strided 1x1 convolution with few channels in channels-last order, on some processors
(seen on x86 with AVX2 and without AVX-512). Behind a slice it is a convolution of stride 1, which is not affected.
"""

from __future__ import annotations

import torch
from spikingjelly.activation_based import functional, layer
from torch.nn.functional import conv2d


class PointwiseConv2d(layer.Conv2d):  # type: ignore[misc, unused-ignore]
    """A 1x1 convolution of any stride over ``(T, N, C, H, W)``, without bias, groups or padding.

    Args:
        channels: the number of input channels.
        out: the number of output channels.
        stride: the distance in pixels between two pixels that are read, in both directions.
    """

    computes = layer.Conv2d
    """The class whose function this is; code that reads a network by the types of its modules asks for it."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__(channels, out, 1, stride, bias=False, step_mode="m")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Give the same result as SpikingJelly's convolution."""
        rows, columns = self.stride
        return functional.seq_to_ann_forward(x[..., ::rows, ::columns], lambda read: conv2d(read, self.weight))
