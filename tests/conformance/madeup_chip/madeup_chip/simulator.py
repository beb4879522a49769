# SPDX-License-Identifier: Apache-2.0
"""The made-up vendor's file and simulator. The simulator knows only the file, and shares no code with spikefold's."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from spikefold.export.network import Network
from spikefold.export.neuron import Neuron
from spikefold.export.ops import Conv2d
from spikefold.hardware.simulators.trace import LayerTrace, Trace

RUNNER = "made-up simulator"
MOST_SPIKES, LARGEST_STATE = 3, 2047


def text_of(integer: Network) -> str:
    """The file: each weight layer with the neurons behind it."""
    layers = []
    for layer in integer:
        if isinstance(layer.op, Neuron):
            source = integer[layer.inputs[0]]
            entry: dict[str, Any] = {"name": layer.name, "threshold": int(layer.op.threshold)}
            entry["weight"] = source.op.weight.tolist()
            if isinstance(source.op, Conv2d):
                entry |= {"stride": list(source.op.stride), "padding": list(source.op.padding)}
            layers.append(entry)
    return json.dumps({"layers": layers})


def simulate(text: str, frames: np.ndarray, *, potentials: bool = False) -> Trace:
    """Run the file on frames ``(T, N, C, H, W)``, step by step and layer by layer."""
    layers = json.loads(text)["layers"]
    states: dict[str, np.ndarray] = {}
    spikes: dict[str, list[np.ndarray]] = {layer["name"]: [] for layer in layers}
    after: dict[str, list[np.ndarray]] = {layer["name"]: [] for layer in layers}
    for frame in frames:
        x = frame.astype(np.int64)
        for layer in layers:
            current, theta = _current(layer, x), layer["threshold"]
            v = np.clip(states.get(layer["name"], 0) + current, -LARGEST_STATE, LARGEST_STATE)
            x = np.clip(v // theta, 0, MOST_SPIKES)
            states[layer["name"]] = np.where(x > 0, 0, v)
            spikes[layer["name"]].append(x.astype(np.uint16))
            after[layer["name"]].append(states[layer["name"]])
    return Trace(
        RUNNER,
        {
            name: LayerTrace(np.stack(one), potentials=np.stack(after[name]) if potentials else None)
            for name, one in spikes.items()
        },
    )


def _current(layer: dict[str, Any], x: np.ndarray) -> np.ndarray:
    weight = np.array(layer["weight"], np.int64)
    if weight.ndim == 2:
        return (x.reshape(len(x), -1) @ weight.T)[:, :, None, None]
    (sy, sx), (py, px) = layer["stride"], layer["padding"]
    _, _, ky, kx = weight.shape
    padded = np.pad(x, ((0, 0), (0, 0), (py, py), (px, px)))
    height, width = (padded.shape[2] - ky) // sy + 1, (padded.shape[3] - kx) // sx + 1
    total = np.zeros((len(x), len(weight), height, width), np.int64)
    for y in range(ky):
        for column in range(kx):
            part = padded[:, :, y : y + sy * height : sy, column : column + sx * width : sx]
            total += np.einsum("nchw,oc->nohw", part, weight[:, :, y, column])
    return total
