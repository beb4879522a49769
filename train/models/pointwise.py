# SPDX-License-Identifier: Apache-2.0
"""The strided 1x1 convolution of a shortcut, computed on the pixels that it reads and on no others.

The sum is the same, term by term. PyTorch 2.13.0 on one thread writes beyond its memory in the backward pass of such
a convolution with few channels in channels-last order on some processors (seen on x86 with AVX2 and without AVX-512);
behind a slice it is a convolution of stride 1, which it computes correctly there.
"""

from __future__ import annotations

import torch
from spikingjelly.activation_based import functional, layer
from torch.nn.functional import conv2d


class PointwiseConv2d(layer.Conv2d):  # type: ignore[misc, unused-ignore]
    """A 1x1 convolution ``(T, N, C, H, W)``, without bias, groups or padding, of any stride.

    Args:
        channels: of the input.
        out: of the output.
        stride: pixels from one that is read to the next, in both directions.
    """

    computes = layer.Conv2d
    """Whose function this is, for whoever reads a network by the types of its modules."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__(channels, out, 1, stride, bias=False, step_mode="m")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The same as SpikingJelly's."""
        rows, columns = self.stride
        return functional.seq_to_ann_forward(x[..., ::rows, ::columns], lambda read: conv2d(read, self.weight))
