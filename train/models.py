# SPDX-License-Identifier: Apache-2.0
"""The ASA-SNNs and their vanilla twins, as one `torch.nn.Sequential` of SpikingJelly layers.

Each convolution is followed by batch norm, (average pool,) (attention,) a neuron (and a pool on spikes); then come
dense layers with neurons, the last one of ``classes * voters`` output neurons. Sequences are ``(T, N, C, H, W)``.

Names: layer n of the network is ``conv<n>`` or ``fc<n>`` with ``bn<n>``, ``pool<n>``, ``asa<n>`` (``sa<n>``,
``tcsa<n>``) and the neurons ``sn<n>``; the output layer is ``fc`` and ``out``.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from spikingjelly.activation_based import layer
from torch import nn

from spikefold.config import ModelConfig
from spikefold.errors import ConfigError
from spikefold.train.attention import ASA
from spikefold.train.attention_compared import SA, TCSA
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
        features = channels * height * width
        for number, out in enumerate(config.hidden, len(config.channels) + 1):
            modules[f"fc{number}"] = _dense(config, features, out)
            modules[f"sn{number}"] = _neuron(config)
            features = out
        modules["fc"] = _dense(config, features, classes * config.voters)
        modules["out"] = _neuron(config)
        self.layers = nn.Sequential(modules)

    def forward(self, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Input current and spikes of the output neurons, each ``(T, N, classes, voters)``."""
        current = self.layers[:-1](frames)
        spikes = self.layers[-1](current)
        split = (*current.shape[:2], self.classes, self.config.voters)
        return current.reshape(split), spikes.reshape(split)


def final_map(config: ModelConfig, sides: tuple[int, int]) -> tuple[int, int]:
    """``(H, W)`` after the last convolution and its pool, for an input of ``sides``.

    Raises:
        ConfigError: nothing is left of it.
    """
    height, width = sides
    for stride in config.strides:
        # a k x k pool after a padded 3x3 convolution and the strided convolution that equals both drop the rest
        height, width = height // stride, width // stride
    if min(height, width) < 1:
        raise ConfigError(f"strides {config.strides} leave nothing of an input of {sides[0]}x{sides[1]}",
                          where="model.strides", hint="smaller strides, or a smaller data.downsample")  # fmt: skip
    return height, width


def _block(
    config: ModelConfig, number: int, channels: int, out: int, stride: int, steps: int
) -> dict[str, nn.Module]:
    kernel, step = (stride + 2, stride) if config.reduction == "stride" and stride > 1 else (3, 1)
    conv = layer.Conv2d(channels, out, kernel, step, padding=1, bias=config.conv_bias, step_mode="m")
    block: dict[str, nn.Module] = {f"conv{number}": conv, f"bn{number}": layer.BatchNorm2d(out, step_mode="m")}
    if config.reduction == "pool" and stride > 1:
        block[f"pool{number}"] = layer.AvgPool2d(stride, step_mode="m")
    if config.attention != "none":
        block[f"{config.attention.rstrip('12')}{number}"] = _attention(config, steps, out)
    block[f"sn{number}"] = _neuron(config)
    if config.reduction in ("spike_max", "spike_mean") and stride > 1:
        pool = layer.MaxPool2d if config.reduction == "spike_max" else layer.AvgPool2d
        block[f"pool{number}"] = pool(stride, step_mode="m")
    return block


def _attention(config: ModelConfig, steps: int, channels: int) -> nn.Module:
    match config.attention:
        case "sa":
            return SA(steps, channels, static_share=config.static_share)
        case "tcsa":
            return TCSA(steps, channels, static_share=config.static_share)
    mlp = config.attention == "asa1"
    return ASA(steps, channels, temporal_mlp=mlp, lam=config.lam, static_share=config.static_share)


def _dense(config: ModelConfig, features: int, out: int) -> nn.Module:
    return layer.Linear(features, out, bias=config.dense_bias, step_mode="m")


def _neuron(config: ModelConfig) -> nn.Module:
    return make_neuron(
        config.neuron, threshold=config.threshold, keep=config.keep, spike=config.surrogate,
        detach_reset=config.detach_reset,
    )  # fmt: skip
