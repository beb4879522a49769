# SPDX-License-Identifier: Apache-2.0
"""The attentions that the paper compares ASA with: spatial (SA), and temporal, channel and spatial one after another.

For ``x`` ``(T, N, C, H, W)``, ``a`` and ``m`` mean and maximum over the axes named, biases nowhere::

    S(x) = sigmoid(conv7x7([a_C, m_C]))                     for each step, (T, N, 1, H, W)
    D(x) = sigmoid(W1 relu(W0 a) + W1 relu(W0 m))           W0 to a quarter, W1 back
    T(x) = D over a_CHW, m_CHW                              for each clip, (T, N, 1, 1, 1)
    C(x) = D over a_THW, m_THW                              for each clip, (1, N, C, 1, 1)

    SA    y = x S(x)
    TCSA  y = z S(z),  z = y' C(y'),  y' = x T(x)

Source: Woo et al., "CBAM" (ECCV 2018), eq. 2 and 3; Yao et al., "Attention spiking neural networks" (2022), and their
code BICLab/Attention-SNN. What is compared follows from the paper's counts (+294 and +24,126 parameters on its
three-layer network, +14.3 million multiplications for SA): a 7x7 kernel at every step, quarters in both dense pairs.
Their code differs where these do not: 3x3 kernels over all steps at once, and a ReLU on the result, which no factor
could stand for; ASA has none either.
"""

from __future__ import annotations

import torch
from torch import nn

from spikefold.train.models.attention import Attention

_KERNEL, _REDUCTION = 7, 4


class SA(Attention):
    """Spatial attention, for each step by itself.

    Args:
        steps: T.
        channels: C.
        static_share: as `Attention` takes it.
    """

    def __init__(self, steps: int, channels: int, *, static_share: float = 0.0) -> None:
        super().__init__(steps, channels, static_share)
        self.spatial = nn.Conv2d(2, 1, _KERNEL, padding=_KERNEL // 2, bias=False)

    def gate(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """``S(x)``, all of it important."""
        maps = torch.stack([x.mean(dim=2), x.amax(dim=2)], dim=2)
        gate = torch.sigmoid(self.spatial(maps.flatten(0, 1)))
        return gate.unflatten(0, x.shape[:2]), x.new_ones(x.shape[:3])


class TCSA(SA):
    """Temporal, channel and spatial attention, each on what the one before it left.

    Args:
        steps: T.
        channels: C.
        static_share: as `Attention` takes it.
    """

    def __init__(self, steps: int, channels: int, *, static_share: float = 0.0) -> None:
        super().__init__(steps, channels, static_share=static_share)
        self.temporal, self.channel = _narrow(steps), _narrow(channels)

    def gate(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """``T(x) C(y') S(z)``, all of it important."""
        steps = _weights(self.temporal, x, kept=0)
        after_steps = x * steps
        channels = _weights(self.channel, after_steps, kept=2)
        places, group = super().gate(after_steps * channels)
        return steps * channels * places, group


def _narrow(width: int) -> nn.Sequential:
    narrow = max(1, width // _REDUCTION)
    return nn.Sequential(nn.Linear(width, narrow, bias=False), nn.ReLU(), nn.Linear(narrow, width, bias=False))


def _weights(dense: nn.Module, x: torch.Tensor, kept: int) -> torch.Tensor:
    """``D`` for each clip along the axis ``kept``, every other axis of ``x`` but the clips' of length 1."""
    others = tuple(axis for axis in range(x.ndim) if axis not in (1, kept))
    mean, most = (pooled.movedim(kept, -1) for pooled in (x.mean(others, keepdim=True), x.amax(others, keepdim=True)))
    return torch.sigmoid(dense(mean) + dense(most)).movedim(-1, kept)
