# SPDX-License-Identifier: Apache-2.0
"""How many weights a configuration claims, told before any memory is taken for them."""

from __future__ import annotations

from collections.abc import Iterator

from spikefold.config import ModelConfig
from spikefold.errors import ConfigError
from spikefold.train.models.spiking_net import final_map

MOST_WEIGHTS = 2**28
"""Of a network: ten times those of the largest in the papers."""


def weights_claimed(config: ModelConfig, shape: tuple[int, int, int], steps: int, classes: int) -> int:
    """The weights of all convolutions, dense layers and temporal MLPs; biases and batch norm come on top.

    Args:
        config: of the network.
        shape: ``(C, H, W)`` of its input.
        steps: T of a clip.
        classes: of the network.

    Raises:
        ConfigError: the strides leave no pixel.
    """
    layers = _sew(config, shape) if config.family == "sew" else _chain(config, shape)
    sizes = list(layers)
    mlp = len(config.channels) * _temporal(config, steps)
    return sum(sizes) + mlp + _features(config, shape) * classes * config.voters


def check_weights(config: ModelConfig, shape: tuple[int, int, int], steps: int, classes: int) -> None:
    """Check that a network is not beyond all reason.

    Raises:
        ConfigError: it has more than `MOST_WEIGHTS`, or its strides leave no pixel.
    """
    claimed = weights_claimed(config, shape, steps, classes)
    if claimed > MOST_WEIGHTS:
        raise ConfigError(
            f"the network has {claimed:,} weights, more than the {MOST_WEIGHTS:,} allowed",
            where="model",
            hint="smaller model.channels, model.hidden, model.voters or model.strides, or fewer data.steps",
        )


def _chain(config: ModelConfig, shape: tuple[int, int, int]) -> Iterator[int]:
    channels = shape[0]
    for out, stride in zip(config.channels, config.strides, strict=True):
        kernel = stride + 2 if config.reduction == "stride" and stride > 1 else 3
        yield channels * out * kernel**2
        channels = out
    height, width = final_map(config, shape[1:])
    features = channels * height * width
    for out in config.hidden:
        yield features * out
        features = out


def _sew(config: ModelConfig, shape: tuple[int, int, int]) -> Iterator[int]:
    channels = config.channels[0]
    yield shape[0] * channels * 7**2
    for out in config.channels:
        yield 3**2 * (channels * out + 3 * out * out)
        channels = out


def _features(config: ModelConfig, shape: tuple[int, int, int]) -> int:
    """What the output layer reads."""
    if config.hidden:
        return config.hidden[-1]
    if config.family == "sew":
        return config.channels[-1]
    height, width = final_map(config, shape[1:])
    return config.channels[-1] * height * width if config.channels else shape[0] * height * width


def _temporal(config: ModelConfig, steps: int) -> int:
    if config.attention != "asa1":
        return 0
    ratio = config.reduction_ratio
    return steps * steps if ratio == 1 else 2 * steps * (steps // ratio)
