# SPDX-License-Identifier: Apache-2.0
"""Runs sinabs' discretised network, clocked, and record what `Trace` records."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import numpy as np
import torch

from spikefold.errors import NetworkError
from spikefold.hardware.simulators.trace import LayerTrace, Trace, as_raster
from spikefold.hardware.speck.lowering.sinabs import Discretised, name_of

RUNNER = "sinabs discretised"


def run(model: Discretised, frames: np.ndarray, *, potentials: bool = False) -> Trace:
    """Forward through sinabs' own modules, each clip from zero state.

    sinabs cannot reset an undeployed network (3.1.3 raises), and on another batch size it draws states at random
    from the old ones; so every run works on a fresh copy of a network that has never run.

    Args:
        model: from `sinabs.discretised` or `sinabs.convert`.
        frames: event counts ``(T, N, C, H, W)``.
        potentials: record the state after every step too.

    Returns:
        Rasters ``(T, N, C, H, W)`` of every spiking layer, before its pool. State range and overflow are not
        known to sinabs.

    Raises:
        NetworkError: the frames do not have the network's input shape.
    """
    if frames.ndim != 5 or frames.shape[2:] != model.input_shape:
        raise NetworkError(f"frames {frames.shape} do not fit (T, N, *{model.input_shape})")
    steps, clips = frames.shape[:2]
    module = copy.deepcopy(model.network.dynapcnn_module)
    spikes: dict[str, np.ndarray] = {}
    states: dict[str, np.ndarray] = {}
    for core in module.dynapcnn_layers.values():
        layer = core.spk_layer
        layer.batch_size, layer.num_timesteps, layer.record_states = clips, steps, potentials
        layer.register_forward_hook(partial(_record, name_of(core), spikes, states))
    # IAFSqueeze unfolds its first axis into clips and steps, clips first
    batch = torch.from_numpy(np.swapaxes(frames, 0, 1).astype(np.float64)).flatten(0, 1)
    with torch.no_grad():
        module(batch)
    return Trace(RUNNER, {name: LayerTrace(spikes[name], potentials=states.get(name)) for name in model.layers})


def _record(
    name: str,
    spikes: dict[str, np.ndarray],
    states: dict[str, np.ndarray],
    layer: Any,
    args: Any,
    output: torch.Tensor,
) -> None:
    raster = output.reshape(layer.batch_size, layer.num_timesteps, *output.shape[1:]).transpose(0, 1)
    spikes[name] = as_raster(raster.numpy(), name)
    if layer.record_states:
        states[name] = layer.recordings["v_mem"].transpose(0, 1).numpy()
