# SPDX-License-Identifier: Apache-2.0
"""Computes batch norm over the batch of all ranks, on a CPU too, where PyTorch's own `SyncBatchNorm` refuses to run.

In training, with ``n`` values of a channel on all ranks together::

    mean = sum(x) / n        var = sum((x - mean)^2) / n        y = gamma (x - mean) / sqrt(var + eps) + beta

Each sum goes over all ranks and has a gradient (see `parallel`). The running variance is updated with
``n / (n - 1) var``, as in PyTorch. Source: Ioffe and Szegedy, "Batch normalization" (2015).
"""

from __future__ import annotations

import torch
from spikingjelly.activation_based import layer
from torch import nn

from spikefold.train.processes.parallel import ALONE, Ranks


class BatchNormAcrossRanks(layer.BatchNorm2d):  # type: ignore[misc, unused-ignore]
    """SpikingJelly's multi-step batch norm with the statistics of all ranks; parameters and buffers are the same."""

    ranks = ALONE

    def super_forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise ``(T N, C, H, W)``; the share of a rank may be empty."""
        if not self.training:
            return super().super_forward(x)
        values = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        n = int(self.ranks.total(values.numel() // values.shape[1])[0])
        mean = self.ranks.summed(values.sum(dim=(0, 2, 3))) / n
        centred = values - mean[:, None, None]
        var = self.ranks.summed(centred.square().sum(dim=(0, 2, 3))) / n
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(var * n / max(1, n - 1), self.momentum)
            self.num_batches_tracked.add_(1)
        scale = self.weight * torch.rsqrt(var + self.eps)
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)


def across_ranks(model: nn.Module, ranks: Ranks) -> None:
    """Give every batch norm of a network the statistics of all ranks, in place; parameters stay the same objects."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, layer.BatchNorm2d):
                fresh = BatchNormAcrossRanks(child.num_features, child.eps, child.momentum, step_mode=child.step_mode)
                fresh.weight, fresh.bias = child.weight, child.bias
                fresh.running_mean, fresh.running_var = child.running_mean, child.running_var
                fresh.num_batches_tracked = child.num_batches_tracked
                fresh.ranks = ranks
                fresh.train(child.training)
                setattr(parent, name, fresh)
