# SPDX-License-Identifier: Apache-2.0
"""Computes SpikingJelly's average pool with a backward pass that keeps nothing of the forward pass.

The gradient of an input is ``1 / (k_H k_W)`` of the gradient of its window's mean. PyTorch adds these to an array of
zeros and keeps the pool's input until then, though it needs only its shape; in the paper's network A that input is
the largest array. The result equals PyTorch's bit for bit. Windows that overlap, pad or leave a rest run in
SpikingJelly.
"""

from __future__ import annotations

from typing import Any

import torch
from spikingjelly.activation_based import layer
from torch.autograd.function import once_differentiable


class _Mean(torch.autograd.Function):
    """Means over windows that tile maps ``(N, C, H, W)``."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, kernel: tuple[int, int]) -> torch.Tensor:
        ctx.kernel = kernel
        return torch.nn.functional.avg_pool2d(x, kernel)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        rows, columns = ctx.kernel
        share = (grad / (rows * columns)).permute(0, 2, 3, 1)  # channels last, as our networks keep them
        clips, height, width, channels = share.shape
        every = share[:, :, None, :, None].expand(clips, height, rows, width, columns, channels)
        return every.reshape(clips, height * rows, width * columns, channels).permute(0, 3, 1, 2), None


class MeanPool(layer.AvgPool2d):  # type: ignore[misc, unused-ignore]
    """`layer.AvgPool2d` over windows that tile the map."""

    computes = layer.AvgPool2d
    """The class whose function this is; code that reads a network by the types of its modules asks for it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The means over the windows of ``(T, N, C, H, W)``."""
        kernel = self.kernel_size if isinstance(self.kernel_size, tuple) else (self.kernel_size, self.kernel_size)
        fits = x.ndim == 5 and all(side % size == 0 for side, size in zip(x.shape[3:], kernel, strict=True))
        plain = self.stride in (self.kernel_size, kernel) and self.padding == 0 and self.divisor_override is None
        if not (fits and plain and self.step_mode == "m"):
            return super().forward(x)
        return _Mean.apply(x.flatten(0, 1), kernel).unflatten(0, x.shape[:2])
