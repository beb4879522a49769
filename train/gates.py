# SPDX-License-Identifier: Apache-2.0
"""Calibrate ASA's dynamic gates over clips, so that a static factor per channel can take their place.

For each ASA layer and channel the factor is the least-squares one, ``sum(x * y) / sum(x * x)`` over clips, steps and
positions, with ``x`` the layer's input and ``y = x * gate`` its output; a gate counts by how much passes through it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from spikingjelly.activation_based import functional

from spikefold.train.attention import ASA
from spikefold.train.models import SpikingNet


@dataclass(frozen=True, eq=False)
class GateStatistics:
    """One ASA layer's gate over a calibration set.

    Attributes:
        scale: static factor per channel ``(C,)``.
        mean: mean of the dynamic gate over everything.
        std: its standard deviation over everything.
        explained: share of the energy of ``y`` that the static factor reproduces, 1 for a perfectly static gate.
    """

    scale: np.ndarray
    mean: float
    std: float
    explained: float


@torch.no_grad()
def calibrate(model: SpikingNet, frames: np.ndarray, batch: int = 50) -> dict[str, GateStatistics]:
    """Statistics of every ASA layer over calibration clips ``(T, N, C, H, W)``, by module name."""
    sums = {name: _Sums() for name, module in model.layers.named_children() if isinstance(module, ASA)}
    handles = []
    for name, module in model.layers.named_children():
        if isinstance(module, ASA):
            module.keep_gate = True
            handles.append(module.register_forward_hook(sums[name].add))
    try:
        model.eval()
        for start in range(0, frames.shape[1], batch):
            functional.reset_net(model)
            model(torch.from_numpy(frames[:, start : start + batch].astype(np.float32)))
    finally:
        for handle in handles:
            handle.remove()
        for module in model.modules():
            if isinstance(module, ASA):
                module.keep_gate, module.last_gate = False, None
        functional.reset_net(model)
    return {name: total.statistics() for name, total in sums.items()}


class _Sums:
    """Running sums of one layer in float64."""

    def __init__(self) -> None:
        self.xx = self.xy = self.yy = torch.zeros((), dtype=torch.float64)
        self.count, self.gate, self.gate_squared = 0, 0.0, 0.0

    def add(self, module: ASA, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        x, y = inputs[0].double(), output.double()
        axes = (0, 1, 3, 4)
        self.xx, self.xy, self.yy = (
            self.xx + (x * x).sum(axes), self.xy + (x * y).sum(axes), self.yy + (y * y).sum(axes)
        )  # fmt: skip
        if module.last_gate is not None:
            gate = module.last_gate.double()
            self.count += gate.numel()
            self.gate += float(gate.sum())
            self.gate_squared += float((gate * gate).sum())

    def statistics(self) -> GateStatistics:
        mean = self.gate / self.count
        scale = torch.where(self.xx > 0, self.xy / self.xx.clamp_min(1e-300), torch.tensor(mean).double())
        residual = self.yy.sum() - (self.xy * self.xy / self.xx.clamp_min(1e-300)).sum()
        return GateStatistics(
            scale.numpy(), mean, max(self.gate_squared / self.count - mean * mean, 0.0) ** 0.5,
            float(1 - residual / self.yy.sum()),
        )  # fmt: skip
