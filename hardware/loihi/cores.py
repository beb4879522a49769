# SPDX-License-Identifier: Apache-2.0
"""How many neurocores of Loihi 2 a network takes: an estimate, for Intel's own partitioner is not public.

Fitted to the compile logs that Intel left in lava-dl's notebooks (``tutorials/lava/lib/dl/netx``): it gives the 74
cores of PilotNet LIF layer by layer, and every ``SynMem`` violation that the logs print on the way.

Convolution: channels are halved until the kernels of a block fit 192 KB; a block is then the largest power of two of
columns with fewer than 4096 neurons. Where one column has more, its rows are halved until they fit. This gives the
574 cores of YOLO-KP's log layer by layer too, though that log cuts the same maps into blocks of other sides (fewer
rows and more columns), for a reason that is not public.

Dense layer: every core reads all inputs, and each input takes ``ceil((n * (bits + 12) + 2) / 64)`` words of 64 bits
for the core's n neurons. As long as that is more than 12000 words, the neurons are cut again into
``ceil(words / 12000)`` times as many parts.

An input without neurons takes no core. Where the recording goes through neurons of its own first, as in slayer's
PilotNet, those neurons are a layer of the network (see `from_netx`), and are counted as a convolution.
Memory of axons decided no layer in the logs and is not counted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spikefold.export.network import Layer, Network
from spikefold.export.ops import Conv2d, Dense, Shape
from spikefold.hardware.chip import Resources, Use
from spikefold.hardware.loihi.tiles import TileSize

CORES = 120
"""Of 128; published counts of usable ones are 120 to 128."""
NEURONS = 4095
SYNAPTIC_WORDS = 12_000
"""lava's ``cost_db.registers['SynMem']``."""
KERNEL_BYTES = 192 * 1024
"""Of kernels on one core, 8 bits a weight: Intel's brief of Loihi 2, and what the channels in YOLO-KP's log allow."""
_WIDTHS = (1, 2, 3, 4, 6, 8)
_WORD_BITS, _ADDRESS_BITS, _HEADER_BITS = 64, 12, 2


@dataclass(frozen=True)
class DenseSplit:
    """One try at a dense layer: its neurons in ``cores`` parts, each of at most ``neurons`` and ``words``."""

    cores: int
    neurons: int
    words: int

    @property
    def fits(self) -> bool:
        """Whether a core holds one part."""
        return self.neurons <= NEURONS and self.words <= SYNAPTIC_WORDS


def resources(network: Network) -> Resources:
    """Cores and chips of a network, within a core a dense layer: an estimate.

    A real network is counted at the widest weights; one that breaks rules, as if its layers could be placed.
    """
    layers = tuple(_use(network, layer) for layer in network if isinstance(layer.op, Conv2d | Dense))
    chips = -(-sum(use.cores for use in layers) // CORES)
    return Resources(layers, chips, "neurocores", estimate=True, placement={})


def _use(network: Network, layer: Layer) -> Use:
    if not isinstance(layer.op, Dense):
        shape = network.shapes[layer.name]
        kernel = layer.op.weight[0].size if isinstance(layer.op, Conv2d) else 0
        size = tile_size(shape, kernel)
        limited_by = "kernel memory" if kernel * shape[0] > KERNEL_BYTES else "neurons"
        return Use(layer.name, size.cores(shape), {"neurons": (size.neurons, NEURONS)}, limited_by)
    weight = layer.op.weight
    tries = dense_splits(weight.shape[1], weight.shape[0], _bits(layer.op))
    first, last = tries[0], tries[-1]
    memory = {"neurons": (last.neurons, NEURONS), "synaptic words": (last.words, SYNAPTIC_WORDS)}
    by_neurons = first.neurons / NEURONS > first.words / SYNAPTIC_WORDS
    return Use(layer.name, last.cores, memory, "neurons" if by_neurons else "synaptic words")


def conv_tile(shape: Shape) -> tuple[int, int]:
    """Columns and rows of a map ``(C, H, W)`` that one core holds."""
    channels, height, width = shape
    columns, rows = 1, height
    while columns < width and 2 * columns * height * channels <= NEURONS:
        columns *= 2
    while rows > 1 and columns * rows * channels > NEURONS:
        rows = -(-rows // 2)
    return min(columns, width), rows


def tile_size(shape: Shape, kernel: int = 0) -> TileSize:
    """The block of a map ``(C, H, W)`` that one core holds.

    Channels are halved until their kernels fit the memory of a core, and until one pixel of them does.

    Args:
        shape: of the map.
        kernel: weights of one output channel.
    """
    channels = shape[0]
    while channels > 1 and channels * kernel > KERNEL_BYTES:
        channels = -(-channels // 2)
    columns, rows = conv_tile((channels, *shape[1:]))
    while channels > 1 and channels * rows * columns > NEURONS:
        channels = -(-channels // 2)
    return TileSize(channels, rows, columns)


def dense_parts(op: Dense) -> list[tuple[int, int]]:
    """The neurons of a dense layer on each core, from and to."""
    outputs = op.weight.shape[0]
    each = dense_splits(op.weight.shape[1], outputs, _bits(op))[-1].neurons
    return [(start, min(start + each, outputs)) for start in range(0, outputs, each)]


def dense_splits(inputs: int, outputs: int, bits: int) -> list[DenseSplit]:
    """The parts that are tried for a dense layer, the last of which fits, or is of one neuron."""
    tries: list[DenseSplit] = []
    parts = -(-outputs // NEURONS)
    while True:
        neurons = -(-outputs // parts)
        words = inputs * -(-(neurons * (bits + _ADDRESS_BITS) + _HEADER_BITS) // _WORD_BITS)
        tries.append(DenseSplit(-(-outputs // neurons), neurons, words))
        if tries[-1].fits or neurons == 1:
            return tries
        parts *= -(-words // SYNAPTIC_WORDS)


def _bits(op: Dense) -> int:
    """Width of the synapses; the widest for a real network."""
    return weight_bits(op.weight) if np.issubdtype(op.weight.dtype, np.integer) else _WIDTHS[-1]


def weight_bits(weight: np.ndarray) -> int:
    """Width of the layer's synapses: without the zeros that all weights end in, with a sign where both occur.

    As netx ``optimize_weight_bits``, rounded up to a width that the synapses know.
    """
    magnitudes = np.abs(weight)
    zeros = int(np.bitwise_or.reduce(magnitudes, axis=None))
    shift = (zeros & -zeros).bit_length() - 1 if zeros else 0
    low, high = int(weight.min()) >> shift, int(weight.max()) >> shift
    signed, unsigned = max(high.bit_length(), (-low - 1).bit_length()) + 1, max(high, -low).bit_length()
    bits = signed if low < 0 < high else unsigned
    return next((width for width in _WIDTHS if bits <= width), _WIDTHS[-1])
