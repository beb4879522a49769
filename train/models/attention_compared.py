# SPDX-License-Identifier: Apache-2.0
"""The two attentions that the paper compares ASA with: spatial (SA), and temporal, channel and spatial (TCSA).

For ``x`` ``(T, N, C, H, W)``, with ``a`` and ``m`` the mean and the maximum over the named axes, and without biases::

    S(x) = sigmoid(conv7x7([a_C, m_C]))                     for each step, (T, N, 1, H, W)
    D(x) = sigmoid(W1 relu(W0 a) + W1 relu(W0 m))           W0 to a quarter, W1 back
    T(x) = D over a_CHW, m_CHW                              for each clip, (T, N, 1, 1, 1)
    C(x) = D over a_THW, m_THW                              for each clip, (1, N, C, 1, 1)

    SA    y = x S(x)
    TCSA  y = z S(z),  z = y' C(y'),  y' = x T(x)

Source: Woo et al., "CBAM" (ECCV 2018), eq. 2 and 3; Yao et al., "Attention spiking neural networks" (2022), and their
code BICLab/Attention-SNN. The sizes follow from the counts that the paper prints (294 and 24,126 more parameters on
its three-layer network, 14.3 million more multiplications for SA): a 7x7 kernel at every step, and a quarter of the
width inside both dense pairs. The code of "Attention spiking neural networks" differs: it has 3x3 kernels over all
steps at once, and a ReLU on the result, which no constant factor could replace.
"""

from __future__ import annotations

import torch
from torch import nn

from spikefold.train.models.attention import Attention

_KERNEL, _REDUCTION = 7, 4


class SA(Attention):
    """Spatial attention, computed for each step by itself.

    Args:
        steps: the number T of time steps.
        channels: the number C of channels.
        static_share: see `Attention`.
    """

    def __init__(self, steps: int, channels: int, *, static_share: float = 0.0) -> None:
        super().__init__(steps, channels, static_share)
        self.spatial = nn.Conv2d(2, 1, _KERNEL, padding=_KERNEL // 2, bias=False)

    def gate(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """``S(x)``; all of its elements count as important."""
        maps = torch.stack([x.mean(dim=2), x.amax(dim=2)], dim=2)
        gate = torch.sigmoid(self.spatial(maps.flatten(0, 1)))
        return gate.unflatten(0, x.shape[:2]), x.new_ones(x.shape[:3])


class TCSA(SA):
    """Temporal, channel and spatial attention, each computed from the result of the one before it.

    Args:
        steps: the number T of time steps.
        channels: the number C of channels.
        static_share: see `Attention`.
    """

    def __init__(self, steps: int, channels: int, *, static_share: float = 0.0) -> None:
        super().__init__(steps, channels, static_share=static_share)
        self.temporal, self.channel = _narrow(steps), _narrow(channels)

    def gate(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """``T(x) C(y') S(z)``; all of its elements count as important."""
        steps = _weights(self.temporal, x, kept=0)
        after_steps = x * steps
        channels = _weights(self.channel, after_steps, kept=2)
        places, group = super().gate(after_steps * channels)
        return steps * channels * places, group


def _narrow(width: int) -> nn.Sequential:
    narrow = max(1, width // _REDUCTION)
    return nn.Sequential(nn.Linear(width, narrow, bias=False), nn.ReLU(), nn.Linear(narrow, width, bias=False))


def _weights(dense: nn.Module, x: torch.Tensor, kept: int) -> torch.Tensor:
    """``D`` for each clip along the axis ``kept``; all other axes except that of the clips have length 1."""
    others = tuple(axis for axis in range(x.ndim) if axis not in (1, kept))
    mean, most = (pooled.movedim(kept, -1) for pooled in (x.mean(others, keepdim=True), x.amax(others, keepdim=True)))
    return torch.sigmoid(dense(mean) + dense(most)).movedim(-1, kept)
