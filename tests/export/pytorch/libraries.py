# SPDX-License-Identifier: Apache-2.0
"""What the tests of other libraries' networks share: weights that make every layer fire, and the comparison."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn

from spikefold.export.from_torch import from_torch
from spikefold.export.network import InputSpec, Network
from spikefold.export.neuron import Neuron
from spikefold.hardware.simulators import clocked

Run = Callable[[nn.Module, torch.Tensor], object]
GRID = 64
"""Weights are whole numbers of 1/64: float32 sums of them are exact, whatever their order."""


@pytest.fixture(scope="module")
def no_torchvision() -> object:
    """SpikingJelly's model files import torchvision to download weights, which nobody does here."""
    names = ("torchvision", "torchvision.models", "torchvision.models.utils", "torchvision.models._utils")
    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            patch.setitem(sys.modules, name, ModuleType(name))
        patch.setattr(sys.modules["torchvision.models.utils"], "load_state_dict_from_url", None, raising=False)
        yield


@torch.no_grad()
def lively(module: nn.Module, gain: float = 1.6) -> nn.Module:
    """Weights, statistics and biases on a grid, with which every layer fires."""
    generator = torch.Generator().manual_seed(0)

    def drawn(shape: torch.Size, low: float, high: float) -> torch.Tensor:
        values = torch.rand(shape, generator=generator) * (high - low) + low
        return (values * GRID).round() / GRID

    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.running_mean = drawn(part.running_mean.shape, -0.1, 0.1)
            part.running_var = torch.ones_like(part.running_var) - part.eps  # divides by 1
            if part.weight is not None:
                part.weight.copy_(drawn(part.weight.shape, 0.8, 1.5))
                part.bias.copy_(drawn(part.bias.shape, 0.0, 1.8))
        elif isinstance(part, nn.Conv2d | nn.Linear | nn.Conv1d):
            spread = gain / part.weight[0].numel() ** 0.5
            part.weight.copy_(drawn(part.weight.shape, -1.2 * spread, 1.7 * spread))
            if part.bias is not None:
                part.bias.copy_(drawn(part.bias.shape, -0.1, 0.3))
    return module.eval()


def compared(
    module: nn.Module, spec: InputSpec, run: Run, kinds: tuple[type[nn.Module], ...], *, clips_first: bool = False,
    readout: Neuron | None = None, dtype: torch.dtype = torch.float32,
) -> tuple[Network, dict[str, int]]:  # fmt: skip
    """Import the module, run both on the same events, and count the spikes of each layer after comparing them all.

    ``run(module, x)`` runs the module on ``(T, N, C, H, W)`` in its own way; ``clips_first`` says that its neurons
    see clips before steps.
    """
    module = module.to(dtype)
    network = from_torch(module, spec, readout=readout)
    generator = torch.Generator().manual_seed(1)
    x = torch.poisson(torch.full((spec.steps, 1, *spec.shape), 0.6), generator=generator).to(dtype)
    heard: dict[str, list[torch.Tensor]] = {}

    def listen(name: str) -> Callable[[nn.Module, object, object], None]:
        def hook(_: nn.Module, __: object, result: object) -> None:
            first = result[0] if isinstance(result, tuple) else result
            assert isinstance(first, torch.Tensor)
            heard.setdefault(name, []).append(first)

        return hook

    handles = [
        part.register_forward_hook(listen(name)) for name, part in module.named_modules() if isinstance(part, kinds)
    ]
    with torch.no_grad():
        run(module, x)
    for handle in handles:
        handle.remove()
    ours, spikes = clocked.run(network, x.numpy().astype(np.float64)).layers, {}
    assert heard
    assert set(heard) <= set(ours)
    for name, parts in heard.items():
        theirs = (torch.stack(parts) if len(parts) == spec.steps > 1 else parts[0]).double().numpy()
        mine = ours[name].raster.astype(np.float64)
        if clips_first:
            mine = mine.swapaxes(0, 1)
        assert theirs.size == mine.size > 0
        assert int((theirs.reshape(-1) != mine.reshape(-1)).sum()) == 0, name
        spikes[name] = int(theirs.sum())
    assert min(spikes.values()) > 0, spikes
    return network, spikes
