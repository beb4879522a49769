# SPDX-License-Identifier: Apache-2.0
"""``spikefold inspect``: what a network by name consists of, read from the module that would be trained."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from spikingjelly.activation_based import functional
from torch import nn

from spikefold.train.models.architectures import Architecture, build
from spikefold.train.models.attention import Attention
from spikefold.train.models.sew import SewBlock


def layer_table(architecture: Architecture) -> dict[str, Any]:
    """Layers with their output shapes and trained parameters, in the order in which they run, and the sum of these.

    Shapes are those of a forward pass over one clip of two steps, ``(C, H, W)`` or ``(N,)``, without time and batch.
    A layer inside a block is named ``block.branch.layer``.
    """
    model = build(architecture).eval()
    layers: list[dict[str, Any]] = []
    for name, module in _parts(model.layers):
        if isinstance(module, Attention):
            # a dynamic gate is built for T steps; either leaves a shape as it is
            module.static_gate = torch.ones(())
        module.register_forward_hook(_entry(layers, name))
    with torch.no_grad():
        model(torch.zeros(min(architecture.steps, 2), 1, *architecture.shape))
    functional.reset_net(model)
    return {
        "architecture": architecture.name,
        "title": architecture.title,
        "input": list(architecture.shape),
        "steps": architecture.steps,
        "dt_us": architecture.dt_us,
        "classes": architecture.classes,
        "attention": architecture.model.attention,
        "model": architecture.model.model_dump(mode="json"),
        "reasons": list(architecture.reasons),
        "layers": layers,
        "parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
    }


def _parts(module: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The layers of a network and of the blocks in it, by their names."""
    for child, part in module.named_children():
        name = prefix + child
        if isinstance(part, nn.Sequential | SewBlock):
            yield from _parts(part, f"{name}.")
        else:
            yield name, part


def _entry(layers: list[dict[str, Any]], name: str) -> Any:
    def hook(module: nn.Module, inputs: object, output: torch.Tensor) -> None:
        parameters = sum(p.numel() for p in module.parameters() if p.requires_grad)
        layers.append(
            {
                "name": name,
                "kind": getattr(type(module), "computes", type(module)).__name__,
                "shape": list(output.shape[2:]),
                "parameters": parameters,
            }
        )

    return hook
