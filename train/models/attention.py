# SPDX-License-Identifier: Apache-2.0
"""Advanced spatial attention (ASA), as "Inherent Redundancy in Spiking Neural Networks" (ICCV 2023) describes it.

For one clip ``x`` ``(T, C, H, W)``: channels and steps are ranked by mean and maximum; those in exactly one of the
two rankings' top shares form the important group ``G``, all others the sub-important group. Each group is summed up
in two maps, which a 3x3 convolution and a sigmoid turn into a gate of ``(H, W)``::

    M0 = 1/2 (a + m) + alpha a + beta m        a, m: mean and maximum over H, W
    M  = W M0 over time (asa1; with a reduction r W2 relu(W1 M0), T to T/r to T), M0 (asa2)
    G  = top(lam C) per step  XOR  top(lam T) per channel
    y  = x * (G * A1 + (1 - G) * A2),  A = sigmoid(conv3x3([mean(G x) / lam, max(G x)]))

A mean is taken over all T C slices, where slices outside the group count as zeros, and is divided by the share that
the group is assumed to have. All steps and channels of a group share one gate. Source: the authors' code
BICLab/ASA-SNN (Apache-2.0), in two modes::

    clip    each clip has its own masks, as the paper describes it
    batch   a mask holds what is in the top of any clip of the batch, as in the published code: there the result for
            one clip depends on the other clips of its batch, in evaluation too (``train.test_batch`` sets their
            number)

Ranking has no gradient. The published alpha, beta and W therefore keep their first values, though the paper calls
them learned. With ``learn_importance`` they are learned by a straight-through gradient (Bengio et al., 2013): each
mask is 0 or 1 as before, and passes gradients on as if it were ``sigmoid(M - theta)``, where theta lies halfway
between the last value inside the top and the first value outside. Outputs and the gradient of ``x`` stay the same.

In a training of several processes, masks and mean gates are those of the batch of all processes together.

The gates depend on the whole clip, so no chip can compute them. `Attention.static_gate` replaces them by constant
factors.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from spikefold.errors import ConfigError
from spikefold.train.models import asa_loops
from spikefold.train.models.one_loop import TYPES
from spikefold.train.processes.parallel import ALONE, Ranks

_KERNEL = 3


class Attention(nn.Module):
    """Multiplies a sequence ``(T, N, C, H, W)`` by a gate that is computed from it, or by a static gate.

    Args:
        steps: the number T of time steps.
        channels: the number C of channels.
        static_share: the share of clips that see the mean gate of each channel in training, which makes the network
            lose less when its gates become static.

    Attributes:
        static_gate: factors ``(C, 1, 1)`` or ``(C, H, W)`` that replace the dynamic gate, or None. They are never
            part of a checkpoint.
        keep_gate: whether a forward pass keeps its gate and its group.
        last_gate: the dynamic gate ``(T, N, C, H, W)`` of the last forward pass, kept while `keep_gate` is set.
        last_group: the important group ``(T, N, C)`` of that pass as 0 and 1; all ones where an attention has no
            groups.
        ranks: the processes that share every batch in training; in evaluation each process has its own batches.
    """

    static_gate: torch.Tensor | None

    def __init__(self, steps: int, channels: int, static_share: float) -> None:
        super().__init__()
        self.steps, self.channels, self.static_share = steps, channels, static_share
        self.register_buffer("static_gate", None, persistent=False)
        self.keep_gate = False
        self.ranks = ALONE
        self.last_gate: torch.Tensor | None = None
        self.last_group: torch.Tensor | None = None

    def gate(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The dynamic gate, in a shape that broadcasts to ``x``, and the important group ``(T, N, C)``."""
        raise NotImplementedError

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Gate a sequence ``(T, N, C, H, W)``."""
        if self.static_gate is not None:
            return x * self.static_gate
        gate, group = self.gate(x)
        if self.keep_gate:
            self.last_gate, self.last_group = gate.detach().expand_as(x), group
        if self.training and self.static_share:
            # drawn for each clip of the batch, so that the layers behind learn to read both gates
            mean = self.ranks.mean(gate, (0, 1, 3, 4))
            chosen = self.ranks.drawn(x.shape[1], x.device) < self.static_share
            gate = torch.where(chosen[None, :, None, None, None], mean, gate)
        return x * gate


class ASA(Attention):
    """Advanced spatial attention over a sequence ``(T, N, C, H, W)``; the module's docstring has its equations.

    Args:
        steps: the number T of time steps.
        channels: the number C of channels.
        temporal_mlp: whether the importance is mixed over time (ASA-1) or not (ASA-2).
        reduction_ratio: r of the mixing: 1 for one matrix, else two, from T to T // r and back with a ReLU between.
        lam: the share of channels and of steps that counts as important, rounded down.
        mode: ``"clip"`` or ``"batch"``, see the module's docstring.
        learn_importance: whether alpha, beta and W get gradients.
        static_share: see `Attention`.
    """

    def __init__(
        self,
        steps: int,
        channels: int,
        *,
        temporal_mlp: bool = True,
        reduction_ratio: int = 1,
        lam: float = 0.5,
        mode: Literal["clip", "batch"] = "clip",
        learn_importance: bool = False,
        static_share: float = 0.0,
    ) -> None:
        super().__init__(steps, channels, static_share)
        self.lam, self.mode, self.learn_importance = lam, mode, learn_importance
        self.alpha = nn.Parameter(torch.tensor(0.5))
        self.beta = nn.Parameter(torch.tensor(0.5))
        self.mix = _mixing(steps, reduction_ratio) if temporal_mlp else None
        self.important = nn.Conv2d(2, 1, _KERNEL, padding=_KERNEL // 2, bias=False)
        self.sub_important = nn.Conv2d(2, 1, _KERNEL, padding=_KERNEL // 2, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Gate a sequence ``(T, N, C, H, W)``."""
        return self._in_two_loops(x) if self._covered(x) else super().forward(x)

    def _covered(self, x: torch.Tensor) -> bool:
        """Whether `asa_loops` can take this call."""
        # in training alone: elsewhere a counter of operations must see them
        if not (self.training and torch.is_grad_enabled()):
            return False
        plain = self.static_gate is None and not self.keep_gate and not self.learn_importance
        alone = self.ranks.count == 1 and x.shape[1] > 0
        return (
            plain and alone and x.device.type == "cpu" and x.dtype in TYPES and not torch.is_autocast_enabled("cpu")
        )

    def _in_two_loops(self, x: torch.Tensor) -> torch.Tensor:
        """What `Attention.forward` does, with each product over the whole sequence in one compiled loop."""
        steps, clips, channels, *sides = x.shape
        flat = _pixels(x)
        with torch.no_grad():
            group = self._ranked(*asa_loops.slices(flat)).contiguous()
        maps = asa_loops.Maps.apply(flat, group).unflatten(2, sides)
        gates = torch.stack(
            [
                torch.sigmoid(conv(torch.stack([total / (steps * channels * share), most], dim=1)))[:, 0]
                for conv, share, (total, most) in (
                    (self.important, self.lam, maps[:2]),
                    (self.sub_important, 1 - self.lam, maps[2:]),
                )
            ]
        ).flatten(2)
        static, mean = torch.zeros(clips, dtype=torch.bool), gates.new_zeros(channels)
        if self.static_share:
            static = self.ranks.drawn(clips, x.device) < self.static_share
            first, second = gates.mean(2)  # of each clip; over steps and clips the groups weigh them
            mean = (second[:, None] + group.mean(0) * (first - second)[:, None]).mean(0)
        gated: torch.Tensor = asa_loops.Applied.apply(flat, group, gates, mean, static)
        return gated.unflatten(2, sides).permute(0, 1, 4, 2, 3)

    def gate(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """``G A1 + (1 - G) A2`` and ``G``."""
        group = self._important_group(x)
        first = self._map(x, group, self.lam, self.important)
        second = self._map(x, 1 - group, 1 - self.lam, self.sub_important)
        # G A1 + (1 - G) A2, written so that one large product is enough
        return second + group[..., None, None] * (first - second), group.detach()

    def _important_group(self, x: torch.Tensor) -> torch.Tensor:
        """``G`` as 0/1 floats ``(T, N, C)``, with gradients for the importance weights where these are learned."""
        with torch.set_grad_enabled(self.learn_importance and torch.is_grad_enabled()):
            x = x.detach()
            return self._ranked(x.mean(dim=(3, 4)), x.amax(dim=(3, 4)))

    def _ranked(self, mean: torch.Tensor, most: torch.Tensor) -> torch.Tensor:
        """The group, from mean and maximum of each slice ``(T, N, C)``."""
        importance = 0.5 * (mean + most) + self.alpha * mean + self.beta * most
        if self.mix is not None:
            importance = self.mix(importance.movedim(0, -1)).movedim(-1, 0)
        channels = _top(importance, int(self.lam * self.channels), dim=2)
        steps = _top(importance, int(self.lam * self.steps), dim=0)
        if self.mode == "batch":
            ranks = self.ranks if self.training else ALONE
            channels, steps = (_in_any(mask, ranks).expand_as(mask) for mask in (channels, steps))
        return channels + steps - 2 * channels * steps  # exactly one of them

    def _map(self, x: torch.Tensor, group: torch.Tensor, share: float, conv: nn.Conv2d) -> torch.Tensor:
        """The group's gate ``(N, 1, H, W)``."""
        chosen = x * group[..., None, None]
        maps = torch.stack([chosen.mean(dim=(0, 2)) / share, chosen.amax(dim=(0, 2))], dim=1)
        return torch.sigmoid(conv(maps))


def _pixels(x: torch.Tensor) -> torch.Tensor:
    """A sequence ``(T, N, C, H, W)`` as ``(T, N, H W, C)``, without a copy where channels are last in memory."""
    return x.permute(0, 1, 3, 4, 2).contiguous().flatten(2, 3)


def _mixing(steps: int, ratio: int) -> nn.Module:
    """The temporal MLP.

    Raises:
        ConfigError: a ratio that leaves no step between.
    """
    if ratio == 1:
        return nn.Linear(steps, steps, bias=False)
    if steps // ratio < 1:
        raise ConfigError(
            f"a temporal MLP from {steps} steps to {steps}/{ratio}", where="model.reduction_ratio",
            hint=f"at most {steps}",
        )  # fmt: skip
    narrow = steps // ratio
    return nn.Sequential(nn.Linear(steps, narrow, bias=False), nn.ReLU(), nn.Linear(narrow, steps, bias=False))


def _in_any(mask: torch.Tensor, ranks: Ranks) -> torch.Tensor:
    """The union ``(T, 1, C)`` of the masks ``(T, N, C)`` of the clips of all ranks; a rank may have no clip."""
    if ranks.count == 1:
        return mask.amax(dim=1, keepdim=True)
    inside = ranks.summed(mask.detach().sum(dim=1, keepdim=True))
    union = (inside > 0).to(mask.dtype)
    if not mask.requires_grad:
        return union
    # as in amax, the gradient of a maximum goes in equal parts to all clips that have it
    (clips,) = ranks.total(mask.shape[1])
    part = (mask.detach() == union) / torch.where(inside > 0, inside, clips)
    return union + ranks.summed(((mask - mask.detach()) * part).sum(dim=1, keepdim=True))


def _top(values: torch.Tensor, k: int, dim: int) -> torch.Tensor:
    """1 for the k largest values along one axis, else 0; its gradient is that of a soft threshold."""
    mask = torch.zeros_like(values).scatter(dim, values.topk(k, dim=dim).indices, 1.0)
    if not torch.is_grad_enabled() or not values.requires_grad or not 0 < k < values.shape[dim]:
        return mask
    last_in, first_out = values.detach().topk(k + 1, dim=dim).values.split([k, 1], dim=dim)
    soft = torch.sigmoid(values - (last_in.amin(dim=dim, keepdim=True) + first_out) / 2)
    return mask.detach() + (soft - soft.detach())
