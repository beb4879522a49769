# SPDX-License-Identifier: Apache-2.0
"""Cuts a network into cores of Speck: each holds one conv (or dense) layer, its neurons, and its destinations.

A destination has a sum pool and a feature shift of its own. `SpeckLayout` is computed once for a network.

Memory, in words, after the datasheet 3.2.4.1 (the same table as sinabs 3.1.3 ``chips/dynapcnn.py``)::

    kernel = c * 2^(ceil log2(kx * ky) + ceil log2(f))      8-bit words
    neuron = f * 2^(ceil log2(fy) + ceil log2(fx))          16-bit words
    bias   = f, or 0 without a bias                         16-bit words

Two cores can lie side by side for their readers, as `Concat` has it: each destination adds a shift of its own to the
feature numbers ("channel-shift" in sinabs' ``available_network_arch.md``, ``feature_shift`` in samna).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from spikefold.export.network import INPUT, Block, Network
from spikefold.export.neuron import Neuron
from spikefold.export.ops import Concat, Conv2d, Pair, Shape, SumPool2d

_KI = 1024


@dataclass(frozen=True)
class Memory:
    """Words of kernel, neuron and bias memory: what a core has, or what a layer needs."""

    kernel: int
    neuron: int
    bias: int

    def __str__(self) -> str:
        return f"kernel {self.kernel}, neuron {self.neuron}, bias {self.bias} words"

    def holds(self, need: Memory) -> bool:
        """Whether a core with this memory can take a layer with that need."""
        return need.kernel <= self.kernel and need.neuron <= self.neuron and need.bias <= self.bias


CORES = tuple(
    Memory(kernel * _KI, neuron * _KI, _KI)
    for kernel, neuron in ((16, 64), (16, 64), (16, 64), (32, 32), (32, 32), (64, 16), (64, 16), (16, 16), (16, 16))
)
"""The nine cores by number."""


@dataclass(frozen=True)
class Destination:
    """Where spikes go: the weight layer that reads them, the pool ``(pH, pW)`` and the feature shift on the way."""

    layer: str
    pool: Pair = (1, 1)
    shift: int = 0


@dataclass(frozen=True, eq=False)
class CoreLayer:
    """What one core is asked to do.

    Attributes:
        name: the weight layer.
        neuron_name: the spiking layer after it.
        weight: ``(f, c, kH, kW)``; a dense layer is a convolution over its whole input map.
        bias: ``(f,)`` or None.
        input_shape: ``(c, H, W)`` that the core reads.
        neuron_shape: ``(f, fH, fW)``.
        destinations: who reads the spikes; a reader that adds them up twice is there twice.
    """

    name: str
    neuron_name: str
    weight: np.ndarray
    bias: np.ndarray | None
    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int
    neuron: Neuron
    input_shape: Shape
    neuron_shape: Shape
    destinations: tuple[Destination, ...]

    @property
    def memory(self) -> Memory:
        """Words that this layer needs."""
        return memory_needed(self.weight.shape, self.neuron_shape[1:], self.bias is not None)


def memory_needed(weight: tuple[int, ...], neuron_map: tuple[int, ...], bias: bool) -> Memory:
    """Words for a kernel ``(f, c, kH, kW)`` whose neurons form a map ``(fH, fW)``."""
    features, channels, *kernel = weight
    return Memory(
        channels << (_address_bits(prod(kernel)) + _address_bits(features)),
        features << sum(_address_bits(side) for side in neuron_map),
        features if bias else 0,
    )


def most_features(channels: int, kernel: int, neuron_map: tuple[int, ...], bias: bool, core: Memory) -> int:
    """How many output features a core holds of a layer with ``channels`` inputs and ``kernel`` positions; maybe 0."""
    rows = core.kernel // (channels << _address_bits(kernel))
    by_kernel = 1 << (rows.bit_length() - 1) if rows else 0
    by_neuron = core.neuron >> sum(_address_bits(side) for side in neuron_map)
    return min(by_kernel, by_neuron, core.bias if bias else by_neuron)


def _address_bits(count: int) -> int:
    return (count - 1).bit_length()


@dataclass(frozen=True, eq=False)
class SpeckLayout:
    """A network cut into cores.

    Attributes:
        cores: in the order of the network; layers that make no core are left out (`limits.violations` names them).
        from_input: who reads the input.
    """

    cores: tuple[CoreLayer, ...]
    from_input: tuple[Destination, ...]


def layout(network: Network) -> SpeckLayout:
    """The layout of a network, computed once for it."""
    return network.derived(_layout)


def core_layers(network: Network) -> tuple[CoreLayer, ...]:
    """The cores of the network's `layout`."""
    return layout(network).cores


def _layout(network: Network) -> SpeckLayout:
    cores = tuple(_core_layer(network, block) for block in network.blocks)
    return SpeckLayout(cores, tuple(destinations_of(network, INPUT)))


def _core_layer(network: Network, block: Block) -> CoreLayer:
    layer, spiking, op = block.weights, block.spiking, block.op
    shape = network.input_shape(layer)
    if isinstance(op, Conv2d):
        weight, bias, geometry = op.weight, op.bias, (op.stride, op.padding, op.dilation, op.groups)
    else:
        weight, bias, geometry = op.weight.reshape(-1, *shape), op.bias, ((1, 1), (0, 0), (1, 1), 1)
    destinations = tuple(destinations_of(network, spiking.name))
    neuron_shape = network.shapes[spiking.name]
    return CoreLayer(
        layer.name, spiking.name, weight, bias, *geometry, block.neuron, shape, neuron_shape, destinations
    )


def destinations_of(network: Network, name: str, pool: Pair = (1, 1), shift: int = 0) -> list[Destination]:
    """Who reads a layer or the input, behind any sum pools and concats; pools multiply, shifts add up."""
    found: list[Destination] = []
    for layer in network.consumers(name):
        if isinstance(layer.op, Concat):
            before = np.cumsum([0] + [network.shapes[part][0] for part in layer.inputs]).tolist()
            ways = [
                (pool, shift + first) for part, first in zip(layer.inputs, before[:-1], strict=True) if part == name
            ]
        elif isinstance(layer.op, SumPool2d):
            ways = [((pool[0] * layer.op.kernel[0], pool[1] * layer.op.kernel[1]), shift)] * layer.inputs.count(name)
        else:
            found += [Destination(layer.name, pool, shift)] * layer.inputs.count(name)
            continue
        for way in ways:
            found += destinations_of(network, layer.name, *way)
    return found
