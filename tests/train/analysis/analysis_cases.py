# SPDX-License-Identifier: Apache-2.0
"""Small random networks of every neuron and reduction that fire, for the tests of the analysis."""

from __future__ import annotations

import numpy as np
import torch

from spikefold.config import ModelConfig
from spikefold.train.models.spiking_net import SpikingNet

SHAPE, STEPS, CLASSES, CLIPS = (2, 14, 12), 5, 3, 7


def network(**options: object) -> SpikingNet:
    """Two convolutions and the output; batch norm shifts each layer so that it fires."""
    torch.manual_seed(3)
    settings = {"channels": (4, 6), "strides": (1, 2), "attention": "asa2"} | options
    net = SpikingNet(ModelConfig.model_validate(settings), SHAPE, STEPS, CLASSES)
    for name, module in net.layers.named_modules():
        if name.startswith("bn"):
            module.bias.data += 0.8
        if name.startswith("fc"):
            module.weight.data *= 6
    return net.eval()


def clips() -> np.ndarray:
    """Frames ``(T, N, C, H, W)`` of a blob on a dark field with a few stray events; no two clips alike."""
    rng = np.random.default_rng(5)
    frames = rng.poisson(0.03, (STEPS, CLIPS, *SHAPE))
    for clip in range(CLIPS):
        row, column = rng.integers(0, 12), rng.integers(0, 10)
        frames[:, clip, :, row : row + 2, column : column + 2] += rng.poisson(12, (STEPS, 2, 2, 2))
    return frames.astype(np.uint16)
