# SPDX-License-Identifier: Apache-2.0
"""Makes the folded network that a configuration leads to, without a module or a training; all weights are ones.

It has the layers that `fold` makes of a `SpikingNet`: a convolution and the average pool before its neurons are one
strided convolution, batch norm is a bias, and a mean of spikes is a sum pool. A test compares the two. A search asks
a chip about hundreds of such networks, so equal layers are made only once.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from spikefold.config import ModelConfig
from spikefold.export.network import InputSpec, Layer, Network, Op
from spikefold.export.neuron import Leak, Neuron
from spikefold.export.ops import Conv2d, Dense, MaxPool2d, SumPool2d
from spikefold.train.models.spiking_net import final_map

_KEPT = 64


class Skeletons:
    """Makes such networks for one input and number of classes."""

    def __init__(self, spec: InputSpec, classes: int) -> None:
        self.spec, self.classes = spec, classes
        self._made: dict[tuple[object, ...], Conv2d | Dense] = {}

    def network(self, config: ModelConfig, shape: tuple[int, int, int] | None = None) -> Network:
        """Make the folded network of a configuration.

        Args:
            config: the model.
            shape: the shape ``(C, H, W)`` of the input; None for the one that this object was made for.

        Raises:
            ConfigError: the strides leave no pixel of the input.
        """
        spec = InputSpec(shape or self.spec.shape, self.spec.dt_us, self.spec.steps, self.spec.max_count)
        named = [Layer(name, op) for name, op in self._ops(config, spec.shape)]
        return Network(spec, tuple(named), self.classes, history=("skeleton",))

    def _ops(self, config: ModelConfig, shape: tuple[int, int, int]) -> Iterator[tuple[str, Op]]:
        height, width = final_map(config, shape[1:])
        inputs, neuron = shape[0], _neuron(config)
        pools: dict[str, type[MaxPool2d] | type[SumPool2d]] = {"spike_max": MaxPool2d, "spike_mean": SumPool2d}
        on_spikes = pools.get(config.reduction)
        for number, (outputs, stride) in enumerate(zip(config.channels, config.strides, strict=True), 1):
            step = 1 if on_spikes else stride
            kernel = step + 2 if step > 1 else 3
            yield f"conv{number}", self._conv(outputs, inputs, kernel, step)
            yield f"sn{number}", neuron
            if on_spikes and stride > 1:
                yield f"pool{number}", on_spikes((stride, stride))
            inputs = outputs
        features = inputs * height * width
        for number, outputs in enumerate(config.hidden, len(config.channels) + 1):
            yield f"fc{number}", self._dense(outputs, features, config.dense_bias)
            yield f"sn{number}", neuron
            features = outputs
        yield "fc", self._dense(self.classes * config.voters, features, config.dense_bias)
        yield "out", neuron

    def _conv(self, outputs: int, inputs: int, kernel: int, stride: int) -> Conv2d | Dense:
        key = ("conv", outputs, inputs, kernel, stride)
        if key not in self._made:
            weight, bias = np.ones((outputs, inputs, kernel, kernel)), np.ones(outputs)
            self._keep(key, Conv2d(weight, bias, (stride, stride), (1, 1)))
        return self._made[key]

    def _dense(self, outputs: int, inputs: int, bias: bool) -> Conv2d | Dense:
        key = ("dense", outputs, inputs, bias)
        if key not in self._made:
            self._keep(key, Dense(np.ones((outputs, inputs)), np.ones(outputs) if bias else None))
        return self._made[key]

    def _keep(self, key: tuple[object, ...], op: Conv2d | Dense) -> None:
        if len(self._made) >= _KEPT:  # the oldest is dropped: a search makes large layers first and never again
            self._made.pop(next(iter(self._made)))
        self._made[key] = op


def _neuron(config: ModelConfig) -> Neuron:
    if config.neuron == "if":
        return Neuron(np.array(config.threshold))
    # scaling the input by 1 - keep equals dividing the threshold by it
    scale = 1.0 if config.neuron == "lif" else 1 - config.keep
    return Neuron(np.array(config.threshold / scale), leak=Leak(config.keep))
