# SPDX-License-Identifier: Apache-2.0
"""What a Speck core holds: one conv (or dense) layer, its neurons, and a sum pool per destination.

Memory, in words, after the datasheet 3.2.4.1 (the same table as sinabs 3.1.3 ``chips/dynapcnn.py``)::

    kernel = c * 2^(ceil log2(kx * ky) + ceil log2(f))      8-bit words
    neuron = f * 2^(ceil log2(fy) + ceil log2(fx))          16-bit words
    bias   = f, or 0 without a bias                         16-bit words
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from spikefold.export.network import Layer, Network
from spikefold.export.neuron import Neuron
from spikefold.export.ops import Conv2d, Dense, Pair, Shape, SumPool2d

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
        destinations: the weight layers that read the spikes, each with its pooling ``(pH, pW)``.
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
    destinations: tuple[tuple[str, Pair], ...]

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


def cores_for(need: Memory) -> list[int]:
    """The numbers of the cores that could hold it."""
    return [number for number, core in enumerate(CORES) if core.holds(need)]


def _address_bits(count: int) -> int:
    return (count - 1).bit_length()


def core_layers(network: Network) -> tuple[CoreLayer, ...]:
    """The network cut into cores; layers that make no core are left out (`speck.violations` names them)."""
    found = []
    for layer in network:
        after = network.consumers(layer.name)
        if isinstance(layer.op, Conv2d | Dense) and len(after) == 1 and isinstance(after[0].op, Neuron):
            found.append(_core_layer(network, layer, after[0], after[0].op))
    return tuple(found)


def _core_layer(network: Network, layer: Layer, spiking: Layer, neuron: Neuron) -> CoreLayer:
    op, shape = layer.op, network.input_shape(layer)
    if isinstance(op, Conv2d):
        weight, bias, geometry = op.weight, op.bias, (op.stride, op.padding, op.dilation, op.groups)
    elif isinstance(op, Dense):
        weight, bias, geometry = op.weight.reshape(-1, *shape), op.bias, ((1, 1), (0, 0), (1, 1), 1)
    else:
        raise TypeError(f"{layer.name} has no weights")
    destinations = tuple(_destinations(network, spiking.name, (1, 1)))
    neuron_shape = network.shapes[spiking.name]
    return CoreLayer(layer.name, spiking.name, weight, bias, *geometry, neuron, shape, neuron_shape, destinations)


def _destinations(network: Network, name: str, pool: Pair) -> list[tuple[str, Pair]]:
    found: list[tuple[str, Pair]] = []
    for layer in network.consumers(name):
        if isinstance(layer.op, SumPool2d):
            both = (pool[0] * layer.op.kernel[0], pool[1] * layer.op.kernel[1])
            found += _destinations(network, layer.name, both)
        else:
            found.append((layer.name, pool))
    return found
