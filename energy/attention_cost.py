# SPDX-License-Identifier: Apache-2.0
"""Multiplications that dynamic attention adds, counted as executed; folded attention adds none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

KERNEL_TAPS = 3 * 3 * 2
"""Taps of ASA's spatial convolution: 3x3 over two maps, the mean and the maximum (facts of the published code)."""


@dataclass(frozen=True)
class AttentionCost:
    """Multiplications that dynamic attention adds over a run, counted as executed.

    Attributes:
        gate_macs: products of the gate with every element.
        map_macs: the spatial convolutions, once a clip.
        mlp_macs: the temporal mixing of ASA-1.
    """

    gate_macs: int = 0
    map_macs: int = 0
    mlp_macs: int = 0

    @property
    def macs(self) -> int:
        """All of them."""
        return self.gate_macs + self.map_macs + self.mlp_macs


def attention_cost(shapes: Mapping[str, tuple[int, int, int]], steps: int, clips: int, *, mlp: bool) -> AttentionCost:
    """MACs of dynamic ASA over a run, for attention layers of output shape ``(C, H, W)`` by name.

    For each layer and clip: ``T C H W`` gate products, two 3x3 convolutions of two maps (``2 * 18 * H * W``), and for
    ASA-1 the product of the importance with a ``T x T`` matrix for each channel.
    """
    gate = sum(steps * c * h * w for c, h, w in shapes.values()) * clips
    maps = sum(2 * KERNEL_TAPS * h * w for _, h, w in shapes.values()) * clips
    mixing = sum(c * steps * steps for c, _, _ in shapes.values()) * clips if mlp else 0
    return AttentionCost(gate, maps, mixing)
