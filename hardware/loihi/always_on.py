# SPDX-License-Identifier: Apache-2.0
"""Gives a bias beside a current that lasts to Loihi: by inputs and neurons that are always on.

Loihi adds a bias to the state, ``v <- leak(v) + u + b``. A layer that was trained with its bias in the current,
``u <- keep u + w s + b``, is another function: the current takes steps to fill. A source that sends a spike in every
step over a synapse of weight b is the same function, in every step from the first, for a synapse feeds the current::

    input           n channels more, whose count is 1 in every step: whoever runs the file adds them
    layer           a column more, its biases; of a convolution a channel more, with the bias in one tap that never
                    lies in the padding
    layers between  neurons more that fire in every step: bias and weights from those before add up above their
                    threshold, and each spike resets them to 0

The last layer has none, so its outputs stay what they are. Spikes of the neurons that were there before are equal to
those of the network as it was; `LastingBias.cut` drops the others from a raster.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np

from spikefold.export.network import INPUT, Layer, Network, SpikingLayer, WeightLayer
from spikefold.export.ops import Conv2d, Dense, Shape

STEP = "always_on"
_BIAS, _WEIGHT = 2**11 - 1, 2**7 - 1
"""The largest bias and weight of a layer that counts in int8 weights."""
Tap = tuple[int, int]


@dataclass(frozen=True, eq=False)
class LastingBias:
    """A network as its file holds it.

    Attributes:
        network: with whatever is always on; the very network where no bias lies beside a current that lasts.
        inputs: how many input channels are always on, the last ones.
        neurons: the same of each spiking layer, by name.
        flat: whether its input is a vector, which the network's own may not be.
    """

    network: Network
    inputs: int = 0
    neurons: Mapping[str, int] = field(default_factory=dict)
    flat: bool = False

    def frames(self, frames: np.ndarray) -> np.ndarray:
        """Frames ``(T, N, C, H, W)`` of the network as it was, with the inputs that are always on."""
        if not self.inputs:
            return frames
        if self.flat:
            frames = frames.reshape(*frames.shape[:2], -1, 1, 1)
        ones = np.ones((*frames.shape[:2], self.inputs, *frames.shape[3:]), frames.dtype)
        return np.concatenate([frames, ones], axis=2)

    def cut(self, name: str, values: np.ndarray) -> np.ndarray:
        """Values ``(T, N, C, H, W)`` of a spiking layer without the neurons that are always on."""
        return values[:, :, : values.shape[2] - self.neurons.get(name, 0)]


def always_on(network: Network) -> LastingBias:
    """The form of a chain of weight and spiking layers in which no bias lies beside a current that lasts.

    Args:
        network: real or integer. One that is no such chain, or where `free_tap` finds none, stays as it is: the
            rules name that.
    """
    return network.derived(_made)


def biased(network: Network, layer: WeightLayer) -> bool:
    """Whether a layer has a bias, and a current that lasts takes it."""
    after = network.consumers(layer.name)
    current = after[0].neuron.current if len(after) == 1 and isinstance(after[0], SpikingLayer) else None
    return layer.op.bias is not None and bool(layer.op.bias.any()) and current is not None and current.keep > 0


def carries(network: Network, layer: WeightLayer) -> bool:
    """Whether a layer reads something that is always on: for itself, or for one behind it."""
    behind = network.weights[network.weights.index(layer) :]
    return any(biased(network, other) for other in behind)


def carried_on(network: Network, layer: WeightLayer) -> bool:
    """Whether the neurons behind a layer must be on for a layer behind them."""
    behind = network.weights[network.weights.index(layer) + 1 :]
    return any(biased(network, other) for other in behind)


def free_tap(op: Conv2d, shape: Shape) -> Tap | None:
    """The first tap of a kernel that never lies in the padding of an input ``(C, H, W)``."""
    _, height, width = op.output_shape(shape)
    found = []
    for axis, outputs in ((0, height), (1, width)):
        stride, padding, dilation = op.stride[axis], op.padding[axis], op.dilation[axis]
        last = (outputs - 1) * stride - padding
        taps = [
            tap
            for tap in range(op.weight.shape[2 + axis])
            if tap * dilation >= padding and last + tap * dilation < shape[1 + axis]
        ]
        if not taps:
            return None
        found.append(taps[0])
    return found[0], found[1]


def needed(threshold: int) -> int:
    """How many synapses of the largest weight lift a neuron above a threshold, with the largest bias, in one step."""
    return max(0, -(-(threshold + 1 - _BIAS) // _WEIGHT))


def _made(network: Network) -> LastingBias:
    if not any(biased(network, layer) for layer in network.weights) or not _is_chain(network):
        return LastingBias(network)
    pairs = list(zip(network.weights, network.neurons, strict=True))
    read = _read(network, pairs)
    made: list[Layer] = []
    for index, (layer, spiking) in enumerate(pairs):
        shape, here = network.input_shape(layer), 0 if index + 1 == len(pairs) else read[index + 1]
        if index == 0 and isinstance(layer.op, Dense):
            shape = (prod(shape), 1, 1)
        tap = free_tap(layer.op, shape) if isinstance(layer.op, Conv2d) else (0, 0)
        if read[index] and tap is None:
            return LastingBias(network)
        bias = layer.op.bias if biased(network, layer) else None
        made += [replace(layer, op=_widened(layer.op, shape, tap or (0, 0), read[index], here, bias)), spiking]
    flat, shape = isinstance(network.weights[0].op, Dense), network.input.shape
    wide = (prod(shape) + read[0], 1, 1) if flat else (shape[0] + read[0], *shape[1:])
    spec = replace(network.input, shape=wide)
    neurons = {spiking.name: count for (_, spiking), count in zip(pairs, read[1:], strict=False)}
    return LastingBias(Network(spec, tuple(made), network.classes, (*network.history, STEP)), read[0], neurons, flat)


def _is_chain(network: Network) -> bool:
    kinds = [isinstance(layer, WeightLayer) for layer in network]
    names = [INPUT, *(layer.name for layer in network)]
    alternate = kinds == [True, False] * (len(kinds) // 2) and len(network.neurons) == len(network.weights)
    return alternate and all(layer.inputs == (name,) for layer, name in zip(network, names, strict=False))


def _read(network: Network, pairs: list[tuple[WeightLayer, SpikingLayer]]) -> list[int]:
    """How many channels that are always on each weight layer reads."""
    found: list[int] = []
    for layer, spiking in reversed(pairs):
        behind = found[-1] if found else 0
        threshold = int(spiking.neuron.threshold.max()) if network.is_integer else 0
        found.append(max(int(biased(network, layer)), needed(threshold) if behind else 0, int(behind > 0)))
    return found[::-1]


def _widened(
    op: Conv2d | Dense, shape: Shape, tap: Tap, read: int, here: int, lasting: np.ndarray | None
) -> Conv2d | Dense:
    """The operation with ``read`` channels more to read and ``here`` more to drive; ``lasting`` is its old bias."""
    dense = isinstance(op, Dense)
    old = op.weight.reshape(len(op.weight), *shape) if isinstance(op, Dense) else _without_groups(op)
    outputs, channels = old.shape[:2]
    weight = np.zeros((outputs + here, channels + read, *old.shape[2:]), old.dtype)
    weight[:outputs, :channels] = old
    spot = (0, 0) if dense else tap
    if lasting is not None:
        weight[:outputs, channels, spot[0], spot[1]] = lasting
    weight[outputs:, channels:, spot[0], spot[1]] = _WEIGHT
    bias = None if op.bias is None and not here else np.zeros(len(weight), old.dtype)
    if bias is not None:
        bias[:outputs] = 0 if op.bias is None or lasting is not None else op.bias
        bias[outputs:] = _BIAS
        bias = bias if bias.any() else None
    if isinstance(op, Dense):
        return replace(op, weight=weight.reshape(len(weight), -1), bias=bias)
    return replace(op, weight=weight, bias=bias, groups=1)


def _without_groups(op: Conv2d) -> np.ndarray:
    """The kernel with zeros between its groups."""
    outputs, each = len(op.weight) // op.groups, op.weight.shape[1]
    if op.groups == 1:
        return op.weight
    weight = np.zeros((len(op.weight), each * op.groups, *op.weight.shape[2:]), op.weight.dtype)
    for group in range(op.groups):
        rows = slice(group * outputs, (group + 1) * outputs)
        weight[rows, group * each : (group + 1) * each] = op.weight[rows]
    return weight
