# SPDX-License-Identifier: Apache-2.0
"""Multiplications that dynamic attention adds: as executed, and by the paper's rule; folded attention adds none.

The two are not the same for ASA. The paper counts for SA and TCSA the multiplication of every element with the gate,
and leaves it out for ASA, whose 3x3 convolution it counts once, and at every step, where the published code has two
once a clip. `cost_of` counts what is executed, by one rule for all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

KERNEL_TAPS = 3 * 3 * 2
"""Taps of ASA's spatial convolution: 3x3 over two maps, the mean and the maximum (facts of the published code)."""


@dataclass(frozen=True)
class AttentionCost:
    """Multiplications that dynamic attention adds over a run.

    Attributes:
        gate_macs: products of the gate with every element.
        map_macs: the spatial convolutions.
        mlp_macs: the temporal mixing of ASA-1, or the two small networks of TCSA.
    """

    gate_macs: int = 0
    map_macs: int = 0
    mlp_macs: int = 0

    @property
    def macs(self) -> int:
        """All of them."""
        return self.gate_macs + self.map_macs + self.mlp_macs


SPATIAL_TAPS = 7 * 7 * 2
"""Taps of SA's spatial convolution: 7x7 over two maps (the paper's parameter count, +98 a layer)."""


def cost_of(
    kind: str, shapes: Mapping[str, tuple[int, int, int]], steps: int, clips: int, reduction: int = 1
) -> AttentionCost:
    """MACs that an attention adds over a run.

    ASA as in `attention_cost`. SA: ``T C H W`` gate products and one 7x7 convolution of two maps at every step. TCSA:
    three products an element (time, channel, place), SA's convolutions, and for each clip two dense pairs, T to T/4
    and C to C/4 and back, on a mean and a maximum.

    Args:
        kind: ``model.attention``.
        shapes: output ``(C, H, W)`` of the attention layers, by name.
        steps: T.
        clips: N.
        reduction: r of ASA-1's temporal MLP, ``model.reduction_ratio``.
    """
    if kind in ("sa", "tcsa"):
        elements = sum(steps * c * h * w for c, h, w in shapes.values()) * clips
        maps = sum(steps * SPATIAL_TAPS * h * w for _, h, w in shapes.values()) * clips
        if kind == "sa":
            return AttentionCost(elements, maps)
        dense = sum(4 * (side * max(1, side // 4)) for c, _, _ in shapes.values() for side in (steps, c)) * clips
        return AttentionCost(3 * elements, maps, dense)
    if kind == "none":
        return AttentionCost()
    return attention_cost(shapes, steps, clips, mlp=kind == "asa1", reduction=reduction)


def attention_cost(
    shapes: Mapping[str, tuple[int, int, int]], steps: int, clips: int, *, mlp: bool, reduction: int = 1
) -> AttentionCost:
    """MACs of dynamic ASA over a run, for attention layers of output shape ``(C, H, W)`` by name.

    For each layer and clip: ``T C H W`` gate products, two 3x3 convolutions of two maps (``2 * 18 * H * W``), and for
    ASA-1 the product of the importance of each channel with a ``T x T`` matrix, or with a reduction r above 1 those
    with two matrices, from T to ``T // r`` and back.
    """
    gate = sum(steps * c * h * w for c, h, w in shapes.values()) * clips
    maps = sum(2 * KERNEL_TAPS * h * w for _, h, w in shapes.values()) * clips
    channel = steps * steps if reduction == 1 else 2 * steps * (steps // reduction)
    mixing = sum(c * channel for c, _, _ in shapes.values()) * clips if mlp else 0
    return AttentionCost(gate, maps, mixing)


_EXECUTED = {
    "none": "no attention",
    "sa": "SA's rule: one product an element, a 7x7 convolution of two maps every step",
    "tcsa": "SA's rule: three products an element, a 7x7 convolution of two maps every step, and both small networks "
    "with reduction 4 on a mean and a maximum",
    "asa1": "SA's rule, as the published code runs: one product an element, both 3x3 convolutions once a clip, T x T "
    "mixing of each channel",
    "asa2": "SA's rule, as the published code runs: one product an element, both 3x3 convolutions once a clip",
}
_PAPER = {
    "none": "no attention",
    "sa": "one product an element, a 7x7 convolution of two maps every step",
    "tcsa": "three products an element, a 7x7 convolution of two maps every step, and both small networks without "
    "reduction on a mean and a maximum",
    "asa1": "T x T mixing of each channel and one 3x3 convolution every step; no product an element",
    "asa2": "one 3x3 convolution every step; no product an element",
}


def paper_cost(
    kind: str, shapes: Mapping[str, tuple[int, int, int]], steps: int, clips: int, reduction: int = 1
) -> AttentionCost:
    """MACs that an attention adds over a run by the decompositions that meet the printed numbers of Table 3.

    For arch A, T = 60 and one clip: SA 14,292,480 (14.3 M printed), TCSA 27,262,656 (27.3 M) and ASA-1 2,603,520
    (2.6 M); for ASA-2 2.6 M is printed too, though it has no mixing and comes to 1,451,520 (facts, asa_snn 4).

    Args:
        kind: ``model.attention``.
        shapes: output ``(C, H, W)`` of the attention layers, by name.
        steps: T.
        clips: N.
        reduction: as for `cost_of`.
    """
    executed = cost_of(kind, shapes, steps, clips, reduction)
    if kind == "tcsa":
        sides = (side for c, _, _ in shapes.values() for side in (steps, c))
        return AttentionCost(executed.gate_macs, executed.map_macs, sum(4 * side * side for side in sides) * clips)
    if kind in ("asa1", "asa2"):
        every_step = sum(steps * KERNEL_TAPS * h * w for _, h, w in shapes.values()) * clips
        return AttentionCost(0, every_step, executed.mlp_macs)
    return executed


def labelled_macs(
    kind: str, shapes: Mapping[str, tuple[int, int, int]], steps: int, reduction: int = 1
) -> dict[str, Any]:
    """What an attention adds to one clip: by the paper's rule, as executed, each with its rule; and in a sentence."""
    paper, executed = (rule(kind, shapes, steps, 1, reduction).macs for rule in (paper_cost, cost_of))
    mixed = "T x T" if reduction == 1 else f"T to T/{reduction} to T"
    paper_rule, executed_rule = (rules[kind].replace("T x T", mixed) for rules in (_PAPER, _EXECUTED))
    return {
        "kind": kind,
        "paper": {"macs_per_clip": paper, "rule": paper_rule},
        "executed": {"macs_per_clip": executed, "rule": executed_rule},
        "what": f"Dynamic {kind} adds {paper:,} MACs a clip by the paper's rule ({paper_rule}), {executed:,} as "
        f"executed ({executed_rule}).",
    }
