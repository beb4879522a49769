# SPDX-License-Identifier: Apache-2.0
"""Builds SEW-ResNet: residual blocks whose two branches each end in spikes, which are added.

The layers are those of SpikingJelly's ``sew_resnet18`` with ADD (stem 7x7 of stride 2, max pool 3x3 of stride 2 over
spikes, two blocks of two 3x3 convolutions a stage, mean over the map, one dense layer with biases); its convolutions
are initialised as there (Kaiming, fan out). Behind the dense layer follow output neurons without parameters, as in
our other networks; SpikingJelly reads the mean of their input current instead.

ASA stands in each block's main branch, behind both batch norms and before the neurons, as in Eq. 7 of the paper. The
paper does not say where it stands in this network; here the stem and the strided shortcuts have none. A block's
output is a count of spikes (0, 1, 2, ... after identity shortcuts), so every layer but the first reads spikes only.

Source: Fang et al., "Deep residual learning in spiking neural networks", NeurIPS 2021.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from spikingjelly.activation_based import layer
from torch import nn

from spikefold.config import ModelConfig
from spikefold.errors import ConfigError
from spikefold.train.models.parts import dense, gated, neurons
from spikefold.train.models.pointwise import PointwiseConv2d

_BLOCKS = "ab"
"""The names of the blocks of a stage."""


class SewBlock(nn.Module):
    """Adds the spikes of a main branch and those of a shortcut, or the input itself where the shortcut is empty.

    Args:
        config: the attention and the neurons.
        channels: the number of input channels.
        out: the number of output channels.
        stride: the stride of the first convolution and of the shortcut.
        steps: the number T of time steps.
    """

    computes = "main + shortcut"
    """What the block computes from its two parts; code that reads a network by its modules asks for it."""

    def __init__(self, config: ModelConfig, channels: int, out: int, stride: int, steps: int) -> None:
        super().__init__()
        main: OrderedDict[str, nn.Module] = OrderedDict()
        for number, (reads, step) in enumerate(((channels, stride), (out, 1)), 1):
            main[f"conv{number}"] = _conv(reads, out, 3, step)
            main[f"bn{number}"] = layer.BatchNorm2d(out, step_mode="m")
            main.update(gated(config, number, steps, out))
            main[f"sn{number}"] = neurons(config)
        self.main, self.shortcut = nn.Sequential(main), nn.Sequential()
        if stride != 1 or channels != out:
            norm = layer.BatchNorm2d(out, step_mode="m")
            parts = OrderedDict(conv=_kaiming(PointwiseConv2d(channels, out, stride)), bn=norm, sn=neurons(config))
            self.shortcut = nn.Sequential(parts)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Counts of spikes ``(T, N, C, H, W)``, from counts of spikes."""
        return torch.add(self.main(x), self.shortcut(x))


def sew_layers(
    config: ModelConfig, shape: tuple[int, int, int], steps: int, classes: int
) -> OrderedDict[str, nn.Module]:
    """Make the layers by name: a stem, ``block<stage><a or b>``, a mean over the map, ``fc`` and ``out``.

    Raises:
        ConfigError: the configuration sets keys that only a chain has.
    """
    chains = {"hidden": (), "reduction": "stride", "conv_bias": False}
    if wrong := [key for key, only in chains.items() if getattr(config, key) != only]:
        raise ConfigError(
            f"model.family sew has no {', '.join(wrong)}",
            where="model",
            hint=", ".join(f"model.{key} = {chains[key]!r}" for key in wrong),
        )
    channels = config.channels[0]
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=_conv(shape[0], channels, 7, 2),
        bn1=layer.BatchNorm2d(channels, step_mode="m"),
        sn1=neurons(config),
        pool1=layer.MaxPool2d(3, 2, padding=1, step_mode="m"),
    )
    sides = [_halved(_halved(side)) for side in shape[1:]]
    for stage, (out, stride) in enumerate(zip(config.channels, config.strides, strict=True), 1):
        for which in _BLOCKS:
            step = stride if which == _BLOCKS[0] else 1
            layers[f"block{stage}{which}"] = SewBlock(config, channels, out, step, steps)
            channels = out
        sides = [(side - 1) // stride + 1 for side in sides]
    layers["mean"] = layer.AvgPool2d((sides[0], sides[1]), step_mode="m")
    layers["flatten"] = nn.Flatten(2)
    layers["fc"] = dense(config, channels, classes * config.voters)
    layers["out"] = neurons(config)
    return layers


def _halved(side: int) -> int:
    return (side - 1) // 2 + 1


def _conv(channels: int, out: int, kernel: int, stride: int) -> nn.Module:
    return _kaiming(layer.Conv2d(channels, out, kernel, stride, padding=kernel // 2, bias=False, step_mode="m"))


def _kaiming(conv: nn.Conv2d) -> nn.Conv2d:
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return conv
