# SPDX-License-Identifier: Apache-2.0
"""Calibrate ASA's dynamic gates over clips, so that a static factor per channel can take their place.

For each ASA layer and channel the factor is the mean of the dynamic gate over clips, steps and positions. (The
least-squares factor, which weights a gate by what passes through it, explains more energy but lets the noise between
the events through: up to 2.5 times the spikes in trials, at no better accuracy.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from spikingjelly.activation_based import functional

from spikefold.errors import SpikefoldError
from spikefold.train.attention import ASA
from spikefold.train.models import SpikingNet


@dataclass(frozen=True, eq=False)
class GateStatistics:
    """One ASA layer's gate over a calibration set.

    Attributes:
        scale: static factor per channel ``(C,)``, the gate's mean.
        mean: mean of the dynamic gate over everything.
        std: its standard deviation over everything.
        explained: ``1 - sum((y - s x)^2) / sum(y^2)`` for the layer's input x, its output y and the static factor s:
            1 for a perfectly static gate.
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
    """Running sums of one layer in float64, each ``(C,)``."""

    def __init__(self) -> None:
        self.xx = self.xy = self.yy = self.gate = self.gate_squared = torch.zeros((), dtype=torch.float64)
        self.count = 0

    def add(self, module: ASA, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        x, y, gate = inputs[0].double(), output.double(), module.last_gate
        if gate is None:
            raise SpikefoldError("the attention layer kept no gate", hint="a static gate cannot be calibrated again")
        gate = gate.double()
        axes = (0, 1, 3, 4)
        self.xx, self.xy, self.yy = (
            self.xx + (x * x).sum(axes), self.xy + (x * y).sum(axes), self.yy + (y * y).sum(axes)
        )  # fmt: skip
        self.gate, self.gate_squared = self.gate + gate.sum(axes), self.gate_squared + (gate * gate).sum(axes)
        self.count += gate[:, :, 0].numel()

    def statistics(self) -> GateStatistics:
        scale = self.gate / self.count
        mean = float(scale.mean())
        variance = float((self.gate_squared / self.count).mean()) - mean * mean
        residual = self.yy - 2 * scale * self.xy + scale * scale * self.xx
        explained = float(1 - residual.sum() / self.yy.sum())
        return GateStatistics(scale.numpy(), mean, max(variance, 0.0) ** 0.5, explained)
