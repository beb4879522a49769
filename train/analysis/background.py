# SPDX-License-Identifier: Apache-2.0
"""Finds the neurons on the background of a clip: those whose receptive field holds no pixel of the foreground.

The paper shows noise "on the background" in pictures and gives no rule, so this rule is ours. A pixel belongs to the
foreground of a clip if it gets more events, over all steps and polarities, than a share of the mean over the clip's
pixels. With share 0 one event is enough, which the shot noise of real sensors gives to nearly every pixel. A neuron
is on the foreground if a foreground pixel lies in its receptive field, through all layers before it.
"""

from __future__ import annotations

import torch
from torch import nn

from spikefold.errors import SpikefoldError


def foreground(frames: torch.Tensor, share: float) -> torch.Tensor:
    """The foreground pixels ``(N, 1, H, W)`` of clips ``(T, N, C, H, W)``, as 0 and 1 in float32."""
    events = frames.sum(dim=(0, 2), dtype=torch.float64)
    height, width = events.shape[1:]
    total = events.sum(dim=(1, 2), keepdim=True)
    # both sides are whole numbers where the share is a half or one
    return (events * (height * width) > share * total).float()[:, None]


def seen_through(module: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    """Which outputs ``(N, 1, H', W')`` of a layer have one of the ``pixels`` ``(N, 1, H, W)`` in their window.

    Raises:
        SpikefoldError: the padding of a convolution is given by a name, which no network of this package does.
    """
    if not isinstance(module, nn.Conv2d | nn.AvgPool2d | nn.MaxPool2d):
        return pixels
    if isinstance(module.padding, str):
        raise SpikefoldError(f"padding {module.padding!r} has no numbers")
    rows, columns = _pair(module.padding)
    dilation = 1 if isinstance(module, nn.AvgPool2d) else module.dilation
    # padded with zeros, where a max pool pads with minus infinity: windows on the padding alone are background
    padded = nn.functional.pad(pixels, (columns, columns, rows, rows))
    return nn.functional.max_pool2d(padded, _pair(module.kernel_size), _pair(module.stride), dilation=_pair(dilation))


def _pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])
