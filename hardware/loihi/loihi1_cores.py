# SPDX-License-Identifier: Apache-2.0
"""Estimates how many cores of Loihi 1 a network takes, with the limits and the memory layout of nengo-loihi 1.1.

A core holds one part of one layer (nengo-loihi's allocators do not share cores) within four limits
(``nengo_loihi/block.py``): 1024 neurons, 4096 axons in, 4096 axons out, 2^20 bits of synapses. A list of synapses
takes blocks of n <= 64, each ``64 * ceil((n * (bits + index bits) + 10) / 64)`` bits (``bits_per_axon`` there).

- Dense: an axon and a list for each input, without index bits.
- Convolution, as nengo-loihi's population axons: one axon for each input pixel and 512 channels; pixels that reach
  the same taps of the kernel share a list, with an index that can name every neuron of the core.
- Axons out: each neuron has one for every core of the next layer that its pixel reaches. The last layer has none.

nengo-loihi leaves the cut to its user. Here each layer, the last one first, gets the one with the fewest cores, and
among these the fewest cuts between channels: sides are halved until they are 1, dense layers cut into equal parts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import product
from math import prod

from spikefold.export.network import Layer, Network
from spikefold.export.ops import Conv2d, Dense, Shape
from spikefold.hardware.chip import Resources, Use
from spikefold.hardware.loihi.cores import weight_bits

CORES = 128
LIMITS: Mapping[str, int] = {"neurons": 1024, "axons in": 4096, "axons out": 4096, "synaptic bits": 2**20}
_BLOCK, _HEADER_BITS, _MEMORY_UNIT = 64, 10, 64
_INDEX_BITS = (0, 6, 7, 8, 9, 10, 11, 12)
_CHANNELS_OF_AN_AXON = 512


@dataclass(frozen=True, eq=False)
class Cut:
    """A layer cut into ``cores`` parts: ``(C, H, W)`` of one part, and what the fullest one uses of `LIMITS`."""

    part: Shape
    cores: int
    used: Mapping[str, int]

    @property
    def over(self) -> tuple[str, ...]:
        """The limits that it exceeds."""
        return tuple(name for name, limit in LIMITS.items() if self.used[name] > limit)


def resources(network: Network) -> Resources:
    """Cores and chips of an integer network that keeps every rule; an estimate."""
    uses = tuple(_use(name, whole, cut) for name, whole, cut in cuts(network))
    chips = -(-sum(use.cores for use in uses) // CORES)
    return Resources(uses, chips, "cores", estimate=True, placement={})


def cuts(network: Network) -> list[tuple[str, Cut, Cut]]:
    """Every weight layer in network order: its name, itself uncut, its best cut (the finest where none fits)."""
    best: dict[str, Cut] = {}
    found = []
    # from the end, because axons out depend on the cut of the layer that reads them
    for layer in reversed(network.layers):
        if isinstance(layer.op, Conv2d | Dense):
            ordered = sorted(_cuts(network, layer, best), key=lambda cut: (cut.cores, -cut.part[0]))
            best[layer.name] = next((cut for cut in ordered if not cut.over), ordered[-1])
            found.append((layer.name, ordered[0], best[layer.name]))
    return found[::-1]


def _use(name: str, whole: Cut, cut: Cut) -> Use:
    share = {limit: whole.used[limit] / most for limit, most in LIMITS.items()}
    memory = {limit: (cut.used[limit], most) for limit, most in LIMITS.items()}
    return Use(name, cut.cores, memory, max(share, key=share.__getitem__))


def _cuts(network: Network, layer: Layer, after: Mapping[str, Cut]) -> Iterator[Cut]:
    """Every cut of one layer; ``after`` holds the cuts of later layers."""
    shape, op = network.shapes[layer.name], layer.op
    reached = _reached(network, layer, after)
    if isinstance(op, Dense):
        inputs, bits = op.weight.shape[1], weight_bits(op.weight)
        for neurons in dict.fromkeys(-(-shape[0] // parts) for parts in range(1, shape[0] + 1)):
            used = (neurons, inputs, neurons * reached, inputs * _list_bits(neurons, bits))
            yield Cut((neurons, 1, 1), -(-shape[0] // neurons), dict(zip(LIMITS, used, strict=True)))
    elif isinstance(op, Conv2d):
        for part in product(_halves(shape[0]), _halves(shape[1]), _halves(shape[2])):
            cores = prod(-(-side // one) for side, one in zip(shape, part, strict=True))
            yield Cut(part, cores, _conv_use(op, network.input_shape(layer), shape, part, reached))


def _halves(side: int) -> list[int]:
    sizes = [side]
    while sizes[-1] > 1:
        sizes.append(-(-sizes[-1] // 2))
    return sizes


def _conv_use(op: Conv2d, source: Shape, shape: Shape, part: Shape, reached: int) -> dict[str, int]:
    rows, columns = (_taps(op, axis, source[1 + axis], shape[1 + axis], part[1 + axis]) for axis in (0, 1))
    bits = weight_bits(op.weight) + next(width for width in (*_INDEX_BITS, 64) if prod(part) <= 2**width)
    synapses = (op.weight.shape[1] * part[0] * y * x for y in rows.lists for x in columns.lists)
    axons_in = rows.pixels * columns.pixels * -(-source[0] // _CHANNELS_OF_AN_AXON)
    used = (prod(part), axons_in, prod(part) * reached, sum(_list_bits(count, bits) for count in synapses))
    return dict(zip(LIMITS, used, strict=True))


def _list_bits(synapses: int, bits: int) -> int:
    """Memory of one list of synapses."""

    def block(count: int) -> int:
        return _MEMORY_UNIT * -(-(count * bits + _HEADER_BITS) // _MEMORY_UNIT)

    full, rest = divmod(synapses, _BLOCK)
    return full * block(_BLOCK) + (block(rest) if rest else 0)


@dataclass(frozen=True)
class _Taps:
    """One axis of a part: pixels that it reads, taps in each different list, parts that a pixel reaches at most."""

    pixels: int
    lists: tuple[int, ...]
    parts: int


def _taps(op: Conv2d, axis: int, inputs: int, outputs: int, part: int) -> _Taps:
    kernel, stride = op.weight.shape[2 + axis], op.stride[axis]
    return _axis(inputs, outputs, part, kernel, stride, op.padding[axis], op.dilation[axis])


@cache
def _axis(inputs: int, outputs: int, part: int, kernel: int, stride: int, padding: int, dilation: int) -> _Taps:
    reached: list[set[int]] = [set() for _ in range(inputs)]
    pixels = 0
    lists: tuple[int, ...] = ()
    for number, start in enumerate(range(0, outputs, part)):
        taps: dict[int, list[int]] = {}
        for output, tap in product(range(start, min(start + part, outputs)), range(kernel)):
            pixel = output * stride - padding + tap * dilation
            if 0 <= pixel < inputs:
                taps.setdefault(pixel, []).append(tap)
                reached[pixel].add(number)
        pixels = max(pixels, len(taps))
        lists = max(lists, tuple(len(one) for one in {tuple(sorted(found)) for found in taps.values()}), key=sum)
    return _Taps(pixels, lists, max(map(len, reached)))


def _reached(network: Network, layer: Layer, after: Mapping[str, Cut]) -> int:
    """Cores of later layers that one neuron of this layer sends to, at most."""
    spiking = network.consumers(layer.name)
    readers = [reader for neurons in spiking for reader in network.consumers(neurons.name) if reader.name in after]
    return sum(_cores_reached(network, reader, after[reader.name]) for reader in readers)


def _cores_reached(network: Network, reader: Layer, cut: Cut) -> int:
    op, shape = reader.op, network.shapes[reader.name]
    if not isinstance(op, Conv2d):
        return cut.cores
    source = network.input_shape(reader)
    reach = [_taps(op, axis, source[1 + axis], shape[1 + axis], cut.part[1 + axis]).parts for axis in (0, 1)]
    return -(-shape[0] // cut.part[0]) * prod(reach)
