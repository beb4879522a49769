# SPDX-License-Identifier: Apache-2.0
"""What each neurocore of Loihi 2 does in each step, counted the way the chip's own counters count.

Checked against the per-core counters that Intel published for PilotNet (lava-dl tutorials,
``pilotnet_snn/benchmark.ipynb``; see ``energy/README.md``):

- A synaptic operation is one of a weight that is not 0; weights of 0 are not stored.
- The last core of a map that is cut along W also does the taps beyond the right border (see `tiles`).
- A neuron counts two updates a step, and one more for each of its spikes.

Cores are those of the estimate `cores`; the vendor's own partitioner is not public.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from spikefold.errors import MismatchError, UnsupportedError
from spikefold.export.network import INPUT, Layer, Network
from spikefold.export.neuron import Neuron
from spikefold.export.nonzero_fanout import Block, nonzero_fanout
from spikefold.export.ops import Conv2d, Dense
from spikefold.hardware.core_work import CoreWork
from spikefold.hardware.loihi.cores import dense_parts, tile_size
from spikefold.hardware.loihi.tiles import Tile, TileSize, tiles_of
from spikefold.hardware.simulators.reference import check_frames
from spikefold.hardware.simulators.trace import Trace

UPDATES_A_STEP = 2
"""Of each neuron; ``ucode_passes`` in Intel's public profiling script, and what the counters show."""


def core_work(
    network: Network, frames: np.ndarray, trace: Trace, sizes: Mapping[str, TileSize] | None = None
) -> dict[str, CoreWork]:
    """The work of every core, by weight layer.

    Args:
        network: with neurons behind every weight layer, as Loihi's rules ask.
        frames: its input ``(T, N, C, H, W)``.
        trace: the spikes of the run.
        sizes: how a convolution is cut, where not as estimated.

    Raises:
        NetworkError: the frames do not fit the network.
        MismatchError: the trace lacks a layer, or a size is given for no convolution.
        UnsupportedError: a weight layer that reads no spikes, or whose neurons do not follow directly.
    """
    check_frames(network, frames)
    chosen = dict(sizes or {})
    spikes = {INPUT: frames} | {name: one.raster for name, one in trace.layers.items()}
    found = {}
    for layer in network:
        if isinstance(layer.op, Conv2d | Dense):
            parts = _parts(network, layer, chosen.pop(layer.name, None))
            found[layer.name] = _work(network, layer, layer.op, parts, spikes)
    if chosen:
        raise MismatchError(f"sizes of blocks for no convolution: {sorted(chosen)}")
    return found


def _parts(network: Network, layer: Layer, size: TileSize | None) -> tuple[Tile, ...]:
    if isinstance(layer.op, Dense):
        blocks = [Block((start, stop), (0, 1), (0, 1)) for start, stop in dense_parts(layer.op)]
        return tuple(Tile(block, block) for block in blocks)
    shape = network.shapes[layer.name]
    return tiles_of(shape, size or tile_size(shape, layer.op.weight[0].size if isinstance(layer.op, Conv2d) else 0))


def _work(
    network: Network, layer: Layer, op: Conv2d | Dense, parts: tuple[Tile, ...], spikes: Mapping[str, np.ndarray]
) -> CoreWork:
    behind = [one for one in network.consumers(layer.name) if isinstance(one.op, Neuron)]
    if len(layer.inputs) != 1 or len(behind) != 1 or layer.inputs[0] not in spikes:
        hint = "fold what lies between weights and neurons; Loihi 2 has no sum of several layers"
        raise UnsupportedError("spikes in and neurons behind are needed", where=layer.name, hint=hint)
    if behind[0].name not in spikes:
        raise MismatchError(f"the trace lacks the layer {behind[0].name}")
    came, fired = spikes[layer.inputs[0]] != 0, spikes[behind[0].name]
    shape = network.input_shape(layer)
    maps = np.stack([nonzero_fanout(op, shape, part.worked).reshape(-1) for part in parts], axis=1)
    flat = came.reshape(*came.shape[:2], -1)
    neurons = np.array([part.neurons for part in parts], np.int64)
    spiked = np.stack([_fired(fired, part.held) for part in parts], axis=2)
    return CoreWork(
        layer.name,
        neurons,
        _products(flat, maps),
        _products(flat, maps > 0),
        spiked,
        UPDATES_A_STEP * neurons + spiked,
    )


def _products(came: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """``(T, N, inputs)`` bool times ``(inputs, cores)``: exact in float64, since sums stay below 2^53."""
    weights = maps.astype(np.float64)
    by_clip = [came[:, clip].astype(np.float64) @ weights for clip in range(came.shape[1])]
    return np.stack(by_clip, axis=1).astype(np.int64)


def _fired(raster: np.ndarray, block: Block) -> np.ndarray:
    part = raster[:, :, slice(*block.channels), slice(*block.rows), slice(*block.columns)]
    return np.asarray(part.sum(axis=(2, 3, 4), dtype=np.int64))
