# SPDX-License-Identifier: Apache-2.0
"""Runs a `SpikingNet` in PyTorch and returns its `Trace`: the spikes of every layer of neurons, by module name.

A max pool whose windows overlap is a layer of neurons in the network that `from_torch` makes of the module. To
compare a trace with that network, name such pools in ``also``.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

import numpy as np
import torch
from spikingjelly.activation_based import base, functional

from spikefold.hardware.simulators.trace import LayerTrace, Trace, as_raster, concatenate
from spikefold.train.evaluate import batches
from spikefold.train.models.spiking_net import SpikingNet

RUNNER = "pytorch float"


@torch.no_grad()
def trace_model(model: SpikingNet, frames: np.ndarray, batch: int | None = None, also: Collection[str] = ()) -> Trace:
    """Record the spikes of every layer over clips ``(T, N, C, H, W)``, each from zero state.

    A dense layer has the shape ``(K, 1, 1)``.

    Args:
        model: the network; its state is reset afterwards.
        frames: the event counts of the clips.
        batch: the number of clips that are run at once; it must be given where the clips of a batch share masks.
        also: names of modules that are not neurons, but whose output is spikes.

    Raises:
        SpikefoldError: see `batches`.
    """
    model.eval()
    return concatenate([_batch(model, frames[:, part], also) for part in batches(model, frames.shape[1], batch)])


def _batch(model: SpikingNet, frames: np.ndarray, also: Collection[str]) -> Trace:
    rasters: dict[str, LayerTrace] = {}

    def keep(name: str, module: torch.nn.Module, inputs: object, spikes: torch.Tensor) -> None:
        raster = as_raster(spikes.numpy(), name)
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
