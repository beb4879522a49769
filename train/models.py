# SPDX-License-Identifier: Apache-2.0
"""The three-layer ASA-SNN and its vanilla twin, as one `torch.nn.Sequential` of SpikingJelly layers.

Each convolution is followed by batch norm, (average pool,) (attention,) and a neuron; then one dense layer of
``classes * voters`` output neurons. Sequences are ``(T, N, C, H, W)``.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from spikingjelly.activation_based import layer
from torch import nn

from spikefold.config import ModelConfig
from spikefold.errors import ConfigError
from spikefold.train.attention import ASA
from spikefold.train.neurons import make_neuron


class SpikingNet(nn.Module):
    """A feed-forward spiking classifier.

    Args:
        config: widths, reduction, attention and neurons.
        shape: input ``(C, H, W)``.
        steps: T of a clip; ASA-1's temporal MLP is built for it.
        classes: number of classes.
    """

    def __init__(self, config: ModelConfig, shape: tuple[int, int, int], steps: int, classes: int) -> None:
        super().__init__()
        self.config, self.shape, self.steps, self.classes = config, shape, steps, classes
        channels = shape[0]
        height, width = final_map(config, shape[1:])
        modules: OrderedDict[str, nn.Module] = OrderedDict()
        for number, (out, stride) in enumerate(zip(config.channels, config.strides, strict=True), 1):
            modules.update(_block(config, number, channels, out, stride, steps))
            channels = out
        modules["flatten"] = nn.Flatten(2)
        modules["fc"] = layer.Linear(channels * height * width, classes * config.voters, bias=False, step_mode="m")
        modules["out"] = make_neuron(config.neuron, threshold=config.threshold, keep=config.keep)
        self.layers = nn.Sequential(modules)

    def forward(self, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Input current and spikes of the output neurons, each ``(T, N, classes, voters)``."""
        current = self.layers[:-1](frames)
        spikes = self.layers[-1](current)
        split = (*current.shape[:2], self.classes, self.config.voters)
        return current.reshape(split), spikes.reshape(split)


def final_map(config: ModelConfig, sides: tuple[int, int]) -> tuple[int, int]:
    """``(H, W)`` after the last convolution, for an input of ``sides``.

    Raises:
        ConfigError: nothing is left of it.
    """
    height, width = sides
    for stride in config.strides:
        # a k x k mean after a padded 3x3 convolution and the strided convolution that equals both drop the rest
        height, width = height // stride, width // stride
    if min(height, width) < 1:
        raise ConfigError(f"strides {config.strides} leave nothing of an input of {sides[0]}x{sides[1]}",
                          where="model.strides", hint="smaller strides, or a smaller data.downsample")  # fmt: skip
    return height, width


def _block(
    config: ModelConfig, number: int, channels: int, out: int, stride: int, steps: int
) -> dict[str, nn.Module]:
    kernel, step = (3, 1) if config.reduction == "pool" or stride == 1 else (stride + 2, stride)
    block: dict[str, nn.Module] = {
        f"conv{number}": layer.Conv2d(channels, out, kernel, step, padding=1, bias=False, step_mode="m"),
        f"bn{number}": layer.BatchNorm2d(out, step_mode="m"),
    }
    if config.reduction == "pool" and stride > 1:
        block[f"pool{number}"] = layer.AvgPool2d(stride, step_mode="m")
    if config.attention != "none":
        block[f"asa{number}"] = ASA(
            steps, out, temporal_mlp=config.attention == "asa1", lam=config.lam, static_share=config.static_share
        )
    block[f"sn{number}"] = make_neuron(config.neuron, threshold=config.threshold, keep=config.keep)
    return block
