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


_SA_TAPS = 7 * 7 * 2
"""Taps of SA's spatial convolution: 7x7 over two maps (the paper's parameter count, +98 a layer)."""


def cost_of(kind: str, shapes: Mapping[str, tuple[int, int, int]], steps: int, clips: int) -> AttentionCost:
    """MACs that an attention adds over a run.

    ASA as in `attention_cost`. SA: ``T C H W`` gate products and one 7x7 convolution of two maps at every step. TCSA:
    three products an element (time, channel, place), SA's convolutions, and for each clip two dense pairs, T to T/4
    and C to C/4 and back, on a mean and a maximum.

    Args:
        kind: ``model.attention``.
        shapes: output ``(C, H, W)`` of the attention layers, by name.
        steps: T.
        clips: N.
    """
    if kind in ("sa", "tcsa"):
        elements = sum(steps * c * h * w for c, h, w in shapes.values()) * clips
        maps = sum(steps * _SA_TAPS * h * w for _, h, w in shapes.values()) * clips
        if kind == "sa":
            return AttentionCost(elements, maps)
        dense = sum(4 * (side * max(1, side // 4)) for c, _, _ in shapes.values() for side in (steps, c)) * clips
        return AttentionCost(3 * elements, maps, dense)
    return attention_cost(shapes, steps, clips, mlp=kind == "asa1") if kind != "none" else AttentionCost()


def attention_cost(shapes: Mapping[str, tuple[int, int, int]], steps: int, clips: int, *, mlp: bool) -> AttentionCost:
    """MACs of dynamic ASA over a run, for attention layers of output shape ``(C, H, W)`` by name.

    For each layer and clip: ``T C H W`` gate products, two 3x3 convolutions of two maps (``2 * 18 * H * W``), and for
    ASA-1 the product of the importance with a ``T x T`` matrix for each channel.
    """
    gate = sum(steps * c * h * w for c, h, w in shapes.values()) * clips
    maps = sum(2 * KERNEL_TAPS * h * w for _, h, w in shapes.values()) * clips
    mixing = sum(c * steps * steps for c, _, _ in shapes.values()) * clips if mlp else 0
    return AttentionCost(gate, maps, mixing)
