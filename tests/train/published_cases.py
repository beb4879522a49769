# SPDX-License-Identifier: Apache-2.0
"""State dicts as the authors' code saves them, key by key, with weights drawn at random."""

from __future__ import annotations

import torch

State = dict[str, torch.Tensor]
STEPS, CLASSES = 8, 3


def layer(state: State, name: str, *shape: int, scale: float = 1.0) -> None:
    state[f"{name}.weight"] = scale * torch.randn(*shape)


def attention(state: State, name: str, reduction: int) -> None:
    state[f"{name}.alpha"], state[f"{name}.beta"] = torch.tensor([0.5]), torch.tensor([0.5])
    if reduction == 1:
        layer(state, f"{name}.fc", STEPS, STEPS, scale=0.4)
    else:
        layer(state, f"{name}.fc.0", STEPS // reduction, STEPS, scale=0.4)
        layer(state, f"{name}.fc.2", STEPS, STEPS // reduction, scale=0.4)
    layer(state, f"{name}.conv1", 1, 2, 3, 3, scale=0.5)
    layer(state, f"{name}.conv2", 1, 2, 3, 3, scale=0.5)


def three_layers(
    channels: tuple[int, int, int], reduction: int | None, classes: int = CLASSES, hidden: int = 256
) -> State:
    """Keys and shapes of architectures A and D."""
    state: State = {}
    widths = (2, *channels)
    for i in range(3):
        name = f"ConvAttLIFs.{i}"
        layer(state, f"{name}.conv.0", widths[i + 1], widths[i], 3, 3, scale=0.6 / widths[i] ** 0.5)
        state[f"{name}.conv.0.bias"] = 0.1 * torch.randn(widths[i + 1])
        state[f"{name}.bn.0.weight"] = 0.5 + torch.rand(widths[i + 1])
        state[f"{name}.bn.0.bias"] = 0.4 * torch.rand(widths[i + 1])
        state[f"{name}.bn.0.running_mean"] = 0.1 * torch.randn(widths[i + 1])
        state[f"{name}.bn.0.running_var"] = 0.5 + torch.rand(widths[i + 1])
        state[f"{name}.bn.0.num_batches_tracked"] = torch.tensor(7)
        if reduction is not None:
            attention(state, f"{name}.attn", reduction)
            state[f"{name}.spike.0.attn.alpha"] = torch.tensor([0.5])  # built, never called
            state[f"{name}.spike.0.attn.fc.weight"] = torch.randn(1, 1)
    for i, (out, reads) in enumerate(((hidden, channels[-1] * 64), (classes, hidden))):
        layer(state, f"FCs.{i}.linear.0", out, reads, scale=2.0 / reads**0.5)
        state[f"FCs.{i}.linear.0.bias"] = 0.1 * torch.rand(out)
    return state
