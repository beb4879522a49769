# SPDX-License-Identifier: Apache-2.0
"""The names of the tensors in published checkpoints, by the names that our networks have for them.

Of BICLab/ASA-SNN (c68b2d0) with SpikingJelly 0.0.0.0.12, whose containers are sequences:

    architectures A and D   ConvAttLIFs.<i>.conv.0, .bn.0, .attn, and FCs.<i>.linear.0
    architectures B and C   ConvAttLIFs.<i>.0.conv.0, .bn.0, .attn, .spike.0.w, and FCs.<i>.1.fc, .spike.0.w
    attn                    alpha, beta, fc (or fc.0 and fc.2 where its reduction is above 1), conv1, conv2

Of SpikingJelly's ``sew_resnet18``, which the paper names and publishes no code of:

    sew18                   conv1, bn1, layer<s>.<b>.conv1, .bn1, .conv2, .bn2, .downsample.0, .downsample.1, fc
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

Tensors = Mapping[str, torch.Tensor]
UNUSED = ".spike.0.attn."
"""A part of the name of attention that the authors' code builds and never calls."""
_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def names_of(state: Tensors, arch: str) -> dict[str, str]:
    """Their name of each of our tensors, as far as the checkpoint's attention goes.

    Args:
        state: the checkpoint.
        arch: ``a`` to ``d``, or ``sew18``.
    """
    return _residual(state) if arch == "sew18" else _chain(state, arch)


def _chain(state: Tensors, arch: str) -> dict[str, str]:
    deep = arch in ("b", "c")
    body = "ConvAttLIFs.{}.0" if deep else "ConvAttLIFs.{}"
    names: dict[str, str] = {}
    convolutions, hidden = (5, 1) if deep else (3, 1)
    for number in range(1, convolutions + 1):
        their = body.format(number - 1)
        names |= {
            f"layers.conv{number}.{key}": f"{their}.conv.0.{key}" for key in ("weight", *(() if deep else ("bias",)))
        }
        names |= _norm(state, f"layers.bn{number}", f"{their}.bn.0")
        names |= _attention(state, f"layers.asa{number}", f"{their}.attn")
        names |= {f"layers.sn{number}.w": f"{their}.spike.0.w"} if arch == "b" else {}
    for number in range(hidden + 1):
        fc, neurons = ("fc", "out") if number == hidden else (f"fc{convolutions + 1}", f"sn{convolutions + 1}")
        their = f"FCs.{number}.1.fc" if deep else f"FCs.{number}.linear.0"
        names |= {f"layers.{fc}.{key}": f"{their}.{key}" for key in ("weight", "bias")}
        names |= {f"layers.{neurons}.w": f"FCs.{number}.1.spike.0.w"} if arch == "b" else {}
    return names


def _residual(state: Tensors) -> dict[str, str]:
    names = {"layers.conv1.weight": "conv1.weight", **_norm(state, "layers.bn1", "bn1")}
    for stage in range(1, 5):
        for number, which in enumerate("ab"):
            ours, their = f"layers.block{stage}{which}", f"layer{stage}.{number}"
            for part in (1, 2):
                names[f"{ours}.main.conv{part}.weight"] = f"{their}.conv{part}.weight"
                names |= _norm(state, f"{ours}.main.bn{part}", f"{their}.bn{part}")
            if which == "a" and stage > 1:
                names[f"{ours}.shortcut.conv.weight"] = f"{their}.downsample.0.weight"
                names |= _norm(state, f"{ours}.shortcut.bn", f"{their}.downsample.1")
    return names | {f"layers.fc.{key}": f"fc.{key}" for key in ("weight", "bias")}


def _norm(state: Tensors, ours: str, their: str) -> dict[str, str]:
    return {
        f"{ours}.{key}": f"{their}.{key}"
        for key in _NORM
        if key != "num_batches_tracked" or f"{their}.{key}" in state
    }


def _attention(state: Tensors, ours: str, their: str) -> dict[str, str]:
    if f"{their}.conv1.weight" not in state:
        return {}
    names = {f"{ours}.alpha": f"{their}.alpha", f"{ours}.beta": f"{their}.beta",
             f"{ours}.important.weight": f"{their}.conv1.weight",
             f"{ours}.sub_important.weight": f"{their}.conv2.weight"}  # fmt: skip
    if f"{their}.fc.0.weight" in state:
        return names | {f"{ours}.mix.{part}.weight": f"{their}.fc.{part}.weight" for part in (0, 2)}
    return names | {f"{ours}.mix.weight": f"{their}.fc.weight"}
