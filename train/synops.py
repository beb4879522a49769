# SPDX-License-Identifier: Apache-2.0
"""Counts the synaptic operations of hidden spikes while a network runs, so that a training can hold them down.

An input ``x`` of a convolution or dense layer makes ``x`` operations at each of its synapses. Their number is booked
here as ``sum(x) * fan-out`` with the layer's mean fan-out ``k_h k_w / (s_h s_w) * out / groups``, the borders of a
map included; reports count exactly (`spikefold.energy.counts`). The network's own input, which no training changes,
is left out.
"""

from __future__ import annotations

from typing import Any

import torch
from spikingjelly.activation_based import layer
from torch import nn


class SynopsMeter:
    """Listens to every weight layer of a network until it is closed; the layers of an attention have no spikes.

    Args:
        model: the network; in training its spikes carry gradients, and only inputs that do are counted.
    """

    def __init__(self, model: nn.Module) -> None:
        self._found: list[torch.Tensor] = []
        layers = [module for module in model.modules() if isinstance(module, layer.Conv2d | layer.Linear)]
        self._hooks = [module.register_forward_pre_hook(self._count) for module in layers]

    def _count(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        spikes = inputs[0]
        if isinstance(spikes, torch.Tensor) and spikes.requires_grad:
            self._found.append(spikes.float().sum() * mean_fanout(module))

    def taken(self) -> torch.Tensor:
        """The operations since the last call, all clips and steps together, with their gradient."""
        total = sum(self._found, start=torch.zeros(()))
        self._found = []
        return total

    def close(self) -> None:
        """Stop listening."""
        for hook in self._hooks:
            hook.remove()


def mean_fanout(module: nn.Module) -> float:
    """Synapses that leave one input of a weight layer, far from the borders of a map; 0 of any other module."""
    if isinstance(module, nn.Conv2d):
        kernel, stride = module.kernel_size, module.stride
        return kernel[0] * kernel[1] * module.out_channels / (int(stride[0]) * int(stride[1]) * module.groups)
    return float(module.out_features) if isinstance(module, nn.Linear) else 0.0
