# SPDX-License-Identifier: Apache-2.0
"""Exact operation counts of a run: every number is a whole number counted from the spikes, never from a rate."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from spikefold.energy.fanout import dense_padded, fanout
from spikefold.errors import MismatchError
from spikefold.export.network import INPUT, Layer, Network
from spikefold.export.neuron import Neuron
from spikefold.export.ops import Conv2d, Dense, SumPool2d
from spikefold.hardware.trace import Trace


@dataclass(frozen=True)
class LayerCounts:
    """One weight layer over all clips and steps of a run.

    Attributes:
        name: the layer.
        input_kind: ``binary`` (spikes, 0 or 1), ``counts`` (several events a bin) or ``sum-pooled``.
        dense_padded: taps of a dense pass over all frames, those on the padding included.
        dense: the same without the padding: every synapse once a frame.
        pairs: synapses with an input other than zero.
        events: events times their synapses; equals ``pairs`` for binary input.
        input_events: events that arrived.
        spikes: spikes of the neurons behind this layer.
        neurons: how many they are.
    """

    name: str
    input_kind: str
    dense_padded: int
    dense: int
    pairs: int
    events: int
    input_events: int
    spikes: int
    neurons: int


@dataclass(frozen=True)
class Counts:
    """A whole run: clips, steps and its weight layers in order."""

    clips: int
    steps: int
    layers: tuple[LayerCounts, ...]

    def total(self, field: str) -> int:
        """Sum of one field over the layers."""
        return sum(int(getattr(layer, field)) for layer in self.layers)

    @property
    def nasfr(self) -> float:
        """Network average spike firing rate: all spikes over all neuron-steps (Definition 3 of the paper)."""
        return self.total("spikes") / (self.total("neurons") * self.clips * self.steps)

    def to_json(self) -> dict[str, object]:
        """Plain values for a report."""
        return asdict(self) | {"nasfr": self.nasfr}


def count(network: Network, frames: np.ndarray, trace: Trace) -> Counts:
    """Count a run from its input frames ``(T, N, C, H, W)`` and its spikes.

    The network gives the connections; batch norm, gates and average pools between a convolution and its neurons have
    no synapses and are passed over.

    Raises:
        MismatchError: the trace does not belong to this network.
    """
    missing = [layer.name for layer in network.neurons if layer.name not in trace.layers]
    if missing:
        raise MismatchError(f"the trace of {trace.runner} lacks the layers {missing}")
    for name in (layer.name for layer in network.neurons):
        found, expected = trace.layers[name].raster.shape, (*frames.shape[:2], *network.shapes[name])
        if found != expected:
            raise MismatchError(f"the trace of {trace.runner} has spikes {found} in {name}, not {expected}")
    values = {INPUT: frames}
    counts = []
    for layer in network:
        if isinstance(layer.op, Neuron):
            values[layer.name] = trace.layers[layer.name].raster
        elif isinstance(layer.op, SumPool2d):
            values[layer.name] = _sum_pooled(layer.op, values[layer.inputs[0]])
        elif isinstance(layer.op, Conv2d | Dense):
            x = sum((values[name] for name in layer.inputs[1:]), start=values[layer.inputs[0]])
            counts.append(_layer(network, layer, x, trace))
    return Counts(frames.shape[1], frames.shape[0], tuple(counts))


def _layer(network: Network, layer: Layer, x: np.ndarray, trace: Trace) -> LayerCounts:
    op, shape = layer.op, network.input_shape(layer)
    if not isinstance(op, Conv2d | Dense):
        raise MismatchError(f"{layer.name} has no synapses")
    synapses = fanout(op, shape)
    frames = x.shape[0] * x.shape[1]
    per_position = x.sum(axis=(0, 1, 2), dtype=np.int64)
    active = np.count_nonzero(x, axis=(0, 1, 2)).astype(np.int64)
    spikes = trace.layers[_spiking_after(network, layer)].raster
    return LayerCounts(
        layer.name,
        _input_kind(network, layer, x),
        dense_padded(op, shape) * frames,
        int(synapses.sum()) * shape[0] * frames,
        int((active * synapses).sum()),
        int((per_position * synapses).sum()),
        int(per_position.sum()),
        int(spikes.sum(dtype=np.int64)),
        int(np.prod(spikes.shape[2:])),
    )


def _input_kind(network: Network, layer: Layer, x: np.ndarray) -> str:
    if any(name != INPUT and isinstance(network[name].op, SumPool2d) for name in layer.inputs):
        return "sum-pooled"
    return "binary" if x.max(initial=0) <= 1 else "counts"


def _spiking_after(network: Network, layer: Layer) -> str:
    """The neurons that a weight layer feeds, through batch norm, gates and pools."""
    name = layer.name
    while not isinstance(network[name].op, Neuron):
        name = network.consumers(name)[0].name
    return name


def _sum_pooled(op: SumPool2d, x: np.ndarray) -> np.ndarray:
    t, n, c, h, w = x.shape
    rows, columns = h // op.kernel[0], w // op.kernel[1]
    kept = x[..., : rows * op.kernel[0], : columns * op.kernel[1]]
    windows = kept.reshape(t, n, c, rows, op.kernel[0], columns, op.kernel[1])
    return np.asarray(windows.sum(axis=(4, 6), dtype=np.int64))
