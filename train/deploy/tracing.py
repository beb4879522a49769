# SPDX-License-Identifier: Apache-2.0
"""Run a `SpikingNet` in PyTorch and return its `Trace`: the spikes of every neuron layer, by module name.

A pool whose windows overlap is a layer of neurons in the network that `from_torch` makes of the module. Whoever holds
a trace against that network names it too.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

import numpy as np
import torch
from spikingjelly.activation_based import base, functional

from spikefold.hardware.simulators.trace import LayerTrace, Trace, concatenate
from spikefold.train.evaluate import batches
from spikefold.train.models.spiking_net import SpikingNet

RUNNER = "pytorch float"


@torch.no_grad()
def trace_model(model: SpikingNet, frames: np.ndarray, batch: int | None = None, also: Collection[str] = ()) -> Trace:
    """Spikes of every layer over clips ``(T, N, C, H, W)``, each from zero state; a dense layer is ``(K, 1, 1)``.

    Args:
        model: the network; it is left without state.
        frames: event counts.
        batch: clips run at once, which a network whose clips share their masks must be given.
        also: modules that are no neurons, and whose output is spikes all the same.

    Raises:
        SpikefoldError: see `batches`.
    """
    model.eval()
    return concatenate([_batch(model, frames[:, part], also) for part in batches(model, frames.shape[1], batch)])


def _batch(model: SpikingNet, frames: np.ndarray, also: Collection[str]) -> Trace:
    rasters: dict[str, LayerTrace] = {}

    def keep(name: str, module: torch.nn.Module, inputs: object, spikes: torch.Tensor) -> None:
        raster = spikes.numpy().astype(np.uint16)
        rasters[name] = LayerTrace(raster if raster.ndim == 5 else raster[..., None, None])

    hooks = [
        module.register_forward_hook(partial(keep, name))
        for name, module in model.layers.named_modules()
        if name in also or (isinstance(module, base.MemoryModule) and hasattr(module, "v_threshold"))
    ]
    try:
        functional.reset_net(model)
        model(torch.from_numpy(frames.astype(np.float32)))
    finally:
        for hook in hooks:
            hook.remove()
        functional.reset_net(model)
    return Trace(RUNNER, rasters)
