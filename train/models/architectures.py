# SPDX-License-Identifier: Apache-2.0
"""Knows the networks of the paper by name, two of our own that fit a Speck, and one that was measured on it.

``a`` to ``d`` are the networks of "Inherent Redundancy in Spiking Neural Networks" (ICCV 2023) as its published code
(BICLab/ASA-SNN, c68b2d0) builds them. ``sew18`` is the residual network that the paper names and whose code is not
published. The tests compare the numbers of parameters with the published ones.
``speck-s`` and ``speck-m`` keep the idea (convolution, batch norm, attention before the neuron) within the limits of
Speck's nine cores.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import torch

from spikefold.config import ModelConfig
from spikefold.errors import ConfigError, nearest
from spikefold.export.from_torch import from_torch
from spikefold.export.network import InputSpec, Network
from spikefold.export.passes.fold import fold
from spikefold.export.passes.fold_global_mean import fold_global_mean
from spikefold.train.models.attention import Attention
from spikefold.train.models.spiking_net import SpikingNet


@dataclass(frozen=True)
class Architecture:
    """A network that can be built, and the input that it is made for.

    Attributes:
        name: the name that `architecture` takes.
        title: one line that a reader sees in lists.
        model: the widths, the reduction of maps, the attention and the neurons.
        shape: the shape ``(C, H, W)`` of the input.
        steps: the number T of time steps in a clip.
        dt_us: the length of a step in microseconds.
        classes: the number of classes.
        reasons: the source of the network and of every choice in it.

    Raises:
        ConfigError: a size, a time or a number of classes below 1.
    """

    name: str
    title: str
    model: ModelConfig
    shape: tuple[int, int, int]
    steps: int
    dt_us: int
    classes: int
    reasons: tuple[str, ...]

    def __post_init__(self) -> None:
        if min(*self.shape, self.steps, self.dt_us, self.classes) < 1:
            numbers = f"input {self.shape}, {self.steps} steps of {self.dt_us} us, {self.classes} classes"
            raise ConfigError(f"{numbers}: whole numbers above 0 only", where=f"architecture {self.name}")


def _three_layers(*channels: int, dropout: float) -> ModelConfig:
    """Architectures A and D: leak and threshold are 0.3, pools average currents, one dense layer has 256 neurons."""
    return ModelConfig(
        channels=channels, strides=(1, 2, 2), reduction="pool", hidden=(256,), dropout=(0.0, 0.0, *3 * (dropout,)),
        conv_bias=True, dense_bias=True, attention="none", static_share=0.0, neuron="lif", threshold=0.3, keep=0.3,
        surrogate="rectangle", detach_reset=False, voters=1,
    )  # fmt: skip


def _five_layers(
    first: int, reduction: Literal["spike_max", "spike_mean"], neuron: Literal["plif", "lif_decay_input"]
) -> ModelConfig:
    """Architectures B and C: pools read spikes, one dense layer has 512 neurons, each class ten voters; tau is 2."""
    return ModelConfig(
        channels=(first, 128, 128, 128, 128), strides=(2, 2, 2, 2, 2), reduction=reduction, hidden=(512,),
        dense_bias=True, attention="none", static_share=0.0, neuron=neuron, keep=0.5, detach_reset=False, voters=10,
    )  # fmt: skip


def _for_speck(channels: tuple[int, ...], strides: tuple[int, ...], voters: int) -> ModelConfig:
    return ModelConfig(
        channels=channels, strides=strides, reduction="stride", attention="none", neuron="if", voters=voters
    )


def _yao() -> ModelConfig:
    return ModelConfig(
        channels=(32, 32, 32), strides=(1, 2, 4), reduction="spike_mean", hidden=(32,), attention="none",
        static_share=0.0, neuron="if", voters=1,
    )  # fmt: skip


def _residual() -> ModelConfig:
    return ModelConfig(
        family="sew",
        channels=(64, 128, 256, 512),
        strides=(1, 2, 2, 2),
        reduction="stride",
        dense_bias=True,
        attention="none",
        static_share=0.0,
        neuron="if",
        voters=1,
    )


_PAPER = "BICLab/ASA-SNN (c68b2d0), the published code of the paper, -arch"
_BY_NUMBER = "its frames hold equal numbers of events, so dt_us is nominal: a gesture of some 6 s over 20 frames"
_DROPOUT = "dropout as its runs ask for, -ps 00111: of conv3 and both dense layers"
_FREE_KERNEL = "a stride of 2 has a 4x4 kernel: it takes the 16 words that a core gives a 3x3 kernel too"
_CORE_NEURONS = "integrate-and-fire with one threshold a layer, as cores are; batch norm and ASA fold into weights"

_ALL = (
    Architecture(
        "a", "three-layer LIF-SNN of the paper (Gesture, Gait-day)", _three_layers(64, 128, 128, dropout=0.1),
        (2, 32, 32), 60, 15_000, 11,
        (f"{_PAPER} A", _DROPOUT, "2,323,531 parameters are those with 11 classes; Gait-day has 20 and 2,325,844"),
    ),
    Architecture(
        "b", "five-layer PLIF-SNN of the paper (Gesture, not downsampled)", _five_layers(128, "spike_max", "plif"),
        (2, 128, 128), 20, 300_000, 11,
        (f"{_PAPER} B", "the paper calls its neurons LIF; the code learns their time constants", _BY_NUMBER),
    ),
    Architecture(
        "c", "five-layer LIF-SNN of the published code", _five_layers(64, "spike_mean", "lif_decay_input"),
        (2, 128, 128), 20, 300_000, 11,
        (f"{_PAPER} C", "in none of the paper's runs; input and clip are those of b", _BY_NUMBER),
    ),
    Architecture(
        "d", "a with 32 channels a layer (Gait-night)", _three_layers(32, 32, 32, dropout=0.5),
        (2, 32, 32), 60, 15_000, 20,
        (f"{_PAPER} D", _DROPOUT),
    ),
    Architecture(
        "sew18", "SEW-Res-SNN-18 of the paper (HAR-DVS)", _residual(),
        (3, 224, 224), 8, 625_000, 300,
        (
            "not in the published code; the paper names SpikingJelly's SEW-ResNet, whose sew_resnet18 has these "
            "11,330,412 parameters with 3 channels and 300 classes (11,327,276 with the 2 of polarities)",
            "the data set has 8 frames a clip, whose length is not fixed: dt_us is nominal, 5 s over 8 frames",
            "not published, so chosen: 224x224 pixels, as SpikingJelly's network is made for; integrate-and-fire "
            "neurons and the arctangent; ASA in the main branch of each block, behind each batch norm, not in the "
            "stem and the shortcuts",
            "its spikes are added to counts, and its stem pools maxima of overlapping windows",
        ),
    ),
    Architecture(
        "speck-s", "four cores of a Speck, on the frames of a", _for_speck((16, 32, 32), (2, 2, 2), 4),
        (2, 32, 32), 60, 15_000, 11,
        (
            "three convolutions as a has, with a quarter of the channels and a stride in the first one too: a dense "
            "layer of 512 inputs is left instead of 8192, which no core holds",
            _FREE_KERNEL, _CORE_NEURONS,
            "up to 32 classes: the dense layer of 32 channels, 4x4 pixels and 128 voters takes 64 Ki words",
        ),
    ),
    Architecture(
        "speck-m", "eight cores of a Speck, on its whole sensor",
        _for_speck((16, 64, 32, 64, 64, 64, 16), (2, 2, 1, 2, 1, 2, 2), 2),
        (2, 128, 128), 60, 15_000, 11,
        (
            "reads the 128x128 pixels as they are; cores have 64x64 neurons a channel at most, hence a stride first",
            "channels by memory: conv1 and conv2 fill 64 Ki neurons, conv3 and conv4 32 Ki kernel words, conv5 and "
            "conv6 64 Ki, conv2 and conv7 16 Ki; 85 % of the kernel words of all nine cores are in use",
            _FREE_KERNEL, _CORE_NEURONS,
            "up to 32 classes: the dense layer of 16 channels, 4x4 pixels and 64 voters takes 16 Ki words",
        ),
    ),
    Architecture(
        "speck-yao", "five cores of a Speck: the network whose power Yao et al. measured on it", _yao(),
        (2, 32, 32), 36, 15_000, 11,
        (
            "Input-32C3S1-32C3S2-32C3S1-AP4-32FC-Output, 36 steps of 15 ms: the windows of 540 ms of Yao et al., "
            "Nat. Commun. 15:4464, 2024, Table 1",
            "not published, so chosen: 32x32 pixels, as the frames of a; the stride of 2 stands as a mean pool of 2 "
            "on the spikes of that layer, as its AP4 does on the next; one output neuron a class",
            _CORE_NEURONS,
        ),
    ),
)  # fmt: skip
_BY_NAME = {found.name: found for found in _ALL}
NAMES = tuple(_BY_NAME)
"""The names that `architecture` knows."""
CHAINS = tuple(name for name, found in _BY_NAME.items() if found.model.family == "chain")
"""The names of the networks whose layers follow one after the other, without residual blocks."""


def architecture(name: str, classes: int | None = None, attention: str | None = None) -> Architecture:
    """Look up a network by its name.

    Args:
        name: one of `NAMES`.
        classes: the number of classes; None for that of the data set that the network is made for.
        attention: a value of ``model.attention``; None for the vanilla network.

    Raises:
        ConfigError: the name or the attention is unknown, or there is no class.
    """
    if name not in _BY_NAME:
        raise ConfigError(f"no architecture {name!r}", where="architecture", hint=nearest(name, NAMES))
    found = _BY_NAME[name]
    kinds = get_args(ModelConfig.model_fields["attention"].annotation)
    if attention is not None and attention not in kinds:
        raise ConfigError(f"no attention {attention!r}", where="attention", hint=nearest(attention, kinds))
    model = found.model.model_copy(update={"attention": attention or found.model.attention})
    return replace(found, model=model, classes=found.classes if classes is None else classes)


def build(architecture: Architecture) -> SpikingNet:
    """Make the module in training mode, with weights drawn from PyTorch's global generator."""
    return SpikingNet(architecture.model, architecture.shape, architecture.steps, architecture.classes)


def network(architecture: Architecture, seed: int = 0) -> Network:
    """The folded real network of the untrained module: its shapes and connections are final, its weights arbitrary.

    No clip has calibrated its attention, which is therefore folded as a factor of 1 for each channel.

    Args:
        architecture: the network to build.
        seed: the seed of the weights; PyTorch's global generator is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build(architecture)
    gates = {
        name: np.ones(module.channels)
        for name, module in model.layers.named_modules()
        if isinstance(module, Attention)
    }
    spec = InputSpec(architecture.shape, architecture.dt_us, architecture.steps)
    real = from_torch(model.layers, spec, architecture.classes, gates)
    return fold(fold_global_mean(real) if architecture.model.family == "sew" else real)
