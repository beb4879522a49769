# SPDX-License-Identifier: Apache-2.0
"""Runs a network whose input is silent: no events, and no bias in the layers that read them.

All activity then comes from the biases of the layers behind. Intel's benchmark of PilotNet ran like this by accident,
and a file without recordings can be asked in no other way.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from spikefold.export.network import INPUT, Layer, Network
from spikefold.export.ops import Conv2d, Dense
from spikefold.hardware.simulators import clocked
from spikefold.hardware.simulators.trace import Trace


@dataclass(frozen=True, eq=False)
class SilentRun:
    """The network with its silent first layers, its frames of zeros ``(T, 1, C, H, W)``, and its spikes."""

    network: Network
    frames: np.ndarray
    trace: Trace


def run_silent(network: Network) -> SilentRun:
    """Run one clip without events."""
    network = replace(network, layers=tuple(map(_silent, network.layers)))
    frames = np.zeros((network.input.steps, 1, *network.input.shape), np.uint16)
    return SilentRun(network, frames, clocked.run(network, frames))


def _silent(layer: Layer) -> Layer:
    op = layer.op
    if INPUT not in layer.inputs or not isinstance(op, Conv2d | Dense) or op.bias is None:
        return layer
    return replace(layer, op=replace(op, bias=np.zeros_like(op.bias)))
