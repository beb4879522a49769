# SPDX-License-Identifier: Apache-2.0
"""``spikefold inspect``: what a network by name consists of, read from the module that would be trained."""

from __future__ import annotations

from typing import Any

import torch
from spikingjelly.activation_based import functional

from spikefold.train.architectures import Architecture, build


def inspect(architecture: Architecture) -> dict[str, Any]:
    """Layers with their output shapes and trained parameters, and the sum of these.

    Shapes are those of a forward pass over one clip of two steps, ``(C, H, W)`` or ``(N,)``, without time and batch.
    """
    model = build(architecture).eval()
    layers: list[dict[str, Any]] = []
    x = torch.zeros(min(architecture.steps, 2), 1, *architecture.shape)
    with torch.no_grad():
        for name, module in model.layers.named_children():
            # attention is built for T steps, and leaves a shape as it is
            x = x if hasattr(module, "static_gate") else module(x)
            parameters = sum(p.numel() for p in module.parameters() if p.requires_grad)
            layers.append({"name": name, "kind": type(module).__name__, "shape": list(x.shape[2:]),
                           "parameters": parameters})  # fmt: skip
    functional.reset_net(model)
    return {
        "architecture": architecture.name, "title": architecture.title, "input": list(architecture.shape),
        "steps": architecture.steps, "dt_us": architecture.dt_us, "classes": architecture.classes,
        "attention": architecture.model.attention, "model": architecture.model.model_dump(mode="json"),
        "reasons": list(architecture.reasons), "layers": layers,
        "parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
    }  # fmt: skip
