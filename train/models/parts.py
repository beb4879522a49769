# SPDX-License-Identifier: Apache-2.0
"""Makes the parts of a network that its configuration asks for: attention, neurons, dense layers and dropout."""

from __future__ import annotations

from spikingjelly.activation_based import layer
from torch import nn

from spikefold.config import ModelConfig
from spikefold.train.models.attention import ASA, Attention
from spikefold.train.models.attention_compared import SA, TCSA
from spikefold.train.models.neurons import make_neuron


def gated(config: ModelConfig, number: int, steps: int, channels: int) -> dict[str, nn.Module]:
    """The attention before the neurons of convolution ``number``, by its module name; empty where there is none."""
    if config.attention == "none":
        return {}
    return {f"{config.attention.rstrip('12')}{number}": _attention(config, steps, channels)}


def _attention(config: ModelConfig, steps: int, channels: int) -> Attention:
    match config.attention:
        case "sa":
            return SA(steps, channels, static_share=config.static_share)
        case "tcsa":
            return TCSA(steps, channels, static_share=config.static_share)
    return ASA(
        steps,
        channels,
        temporal_mlp=config.attention == "asa1",
        reduction_ratio=config.reduction_ratio,
        lam=config.lam,
        mode=config.asa_mode,
        learn_importance=config.learn_importance,
        static_share=config.static_share,
    )


def neurons(config: ModelConfig) -> nn.Module:
    """Make a layer of the configuration's neurons."""
    return make_neuron(
        config.neuron,
        threshold=config.threshold,
        keep=config.keep,
        spike=config.surrogate,
        detach_reset=config.detach_reset,
    )


def with_dropout(config: ModelConfig, number: int, layers: dict[str, nn.Module], suffix: str) -> dict[str, nn.Module]:
    """Put a layer between its two dropouts; a layer without dropout is returned as it is.

    Args:
        config: holds the probabilities.
        number: the number of the layer, from 1.
        layers: the modules of the layer from its weights to its neurons, by name.
        suffix: the end of the dropouts' names.
    """
    probability = config.dropout[number - 1] if config.dropout else 0.0
    if not probability:
        return layers
    held = layer.Dropout(probability, step_mode="m")
    return {f"drop{suffix}": nn.Dropout(probability), **layers, f"hold{suffix}": held}


def dense(config: ModelConfig, features: int, out: int) -> nn.Module:
    """Make a dense layer over the features of one step."""
    return layer.Linear(features, out, bias=config.dense_bias, step_mode="m")
