# SPDX-License-Identifier: Apache-2.0
"""Builds the ASA-SNNs and their vanilla baselines as one `torch.nn.Sequential` of SpikingJelly layers.

Each convolution is followed by batch norm, an average pool, attention, neurons and a pool of spikes, of which the
pools and the attention are optional. Then come dense layers with neurons, the last one with ``classes * voters``
output neurons. Sequences are ``(T, N, C, H, W)``.

Names in such a chain: layer n is ``conv<n>`` or ``fc<n>`` with ``bn<n>``, ``pool<n>``, ``asa<n>`` (``sa<n>``,
``tcsa<n>``) and the neurons ``sn<n>``; the output layer is ``fc`` and ``out``. With ``family = "sew"`` the network is
the residual one of `sew` instead. Arrays lie in memory with their channels last.

Dropout stands twice in a layer that has it, as in the published code of the paper (BICLab/ASA-SNN, ``-ps``):
``drop<n>`` before its weights draws anew for every step; ``hold<n>`` behind its neurons leaves out the same neurons
in all steps of a clip (`layer.Dropout` of SpikingJelly). In the output layer they are ``drop`` and ``hold``. The
other values are scaled by ``1 / (1 - p)``. After the training neither does anything. In a training of several
processes each process draws its own.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from spikingjelly.activation_based import layer
from torch import nn

from spikefold.config import ModelConfig
from spikefold.errors import ConfigError
from spikefold.train.models.mean_pool import MeanPool
from spikefold.train.models.parts import dense, gated, neurons, with_dropout
from spikefold.train.models.sew import sew_layers


class SpikingNet(nn.Module):
    """A feed-forward spiking classifier.

    Args:
        config: the widths, the reduction of maps, the attention and the neurons.
        shape: the shape ``(C, H, W)`` of the input.
        steps: the number T of steps of a clip; ASA-1's temporal MLP has this width.
        classes: the number of classes.
    """

    def __init__(self, config: ModelConfig, shape: tuple[int, int, int], steps: int, classes: int) -> None:
        super().__init__()
        self.config, self.shape, self.steps, self.classes = config, shape, steps, classes
        made = sew_layers if config.family == "sew" else _chain
        self.layers = nn.Sequential(made(config, shape, steps, classes))
        self._output = [name for name, _ in self.layers.named_children()].index("out")

    def forward(self, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute input current and spikes of the output neurons, each ``(T, N, classes, voters)``."""
        current = self.layers[: self._output](channels_last(frames))
        spikes = self.layers[self._output :](current)
        split = (*current.shape[:2], self.classes, self.config.voters)
        return current.reshape(split), spikes.reshape(split)


def channels_last(frames: torch.Tensor) -> torch.Tensor:
    """The same frames, on a CPU with the channels of a pixel next to each other in memory.

    Every layer keeps that order, in which PyTorch's batch norm is 2 to 3 times as fast, mean pools are 7 times and
    convolutions 1.2 times as fast (measured on network A).
    """
    if frames.device.type != "cpu":
        return frames
    return frames.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, frames.shape[:2])


def _chain(config: ModelConfig, shape: tuple[int, int, int], steps: int, classes: int) -> OrderedDict[str, nn.Module]:
    channels = shape[0]
    height, width = final_map(config, shape[1:])
    modules: OrderedDict[str, nn.Module] = OrderedDict()
    for number, (out, stride) in enumerate(zip(config.channels, config.strides, strict=True), 1):
        modules.update(_block(config, number, channels, out, stride, steps))
        channels = out
    modules["flatten"] = nn.Flatten(2)
    features = channels * height * width
    for number, out in enumerate(config.hidden, len(config.channels) + 1):
        layers = {f"fc{number}": dense(config, features, out), f"sn{number}": neurons(config)}
        modules.update(with_dropout(config, number, layers, str(number)))
        features = out
    output = {"fc": dense(config, features, classes * config.voters), "out": neurons(config)}
    modules.update(with_dropout(config, len(config.channels) + len(config.hidden) + 1, output, ""))
    return modules


def final_map(config: ModelConfig, sides: tuple[int, int]) -> tuple[int, int]:
    """The size ``(H, W)`` of the map behind the last convolution of a chain and its pool, for an input of ``sides``.

    Raises:
        ConfigError: the strides leave no pixel, or the network is no chain.
    """
    if config.family != "chain":
        raise ConfigError(f"a network of the family {config.family} is no chain", where="model.family")
    height, width = sides
    for stride in config.strides:
        # a k x k pool after a padded 3x3 convolution and the strided convolution that equals both drop the rest
        height, width = height // stride, width // stride
    if min(height, width) < 1:
        raise ConfigError(
            f"strides {config.strides} leave nothing of an input of {sides[0]}x{sides[1]}",
            where="model.strides",
            hint="smaller strides, or a smaller data.downsample",
        )
    return height, width


def _block(
    config: ModelConfig, number: int, channels: int, out: int, stride: int, steps: int
) -> dict[str, nn.Module]:
    kernel, step = (stride + 2, stride) if config.reduction == "stride" and stride > 1 else (3, 1)
    conv = layer.Conv2d(channels, out, kernel, step, padding=1, bias=config.conv_bias, step_mode="m")
    block: dict[str, nn.Module] = {f"conv{number}": conv, f"bn{number}": layer.BatchNorm2d(out, step_mode="m")}
    if config.reduction == "pool" and stride > 1:
        block[f"pool{number}"] = MeanPool(stride, step_mode="m")
    block.update(gated(config, number, steps, out))
    block[f"sn{number}"] = neurons(config)
    block = with_dropout(config, number, block, str(number))
    if config.reduction in ("spike_max", "spike_mean") and stride > 1:
        pool = layer.MaxPool2d if config.reduction == "spike_max" else MeanPool
        block[f"pool{number}"] = pool(stride, step_mode="m")
    return block
