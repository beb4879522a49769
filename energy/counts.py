# SPDX-License-Identifier: Apache-2.0
"""Exact operation counts of a run: every number is a whole number counted from the spikes, never from a rate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

import numpy as np

from spikefold.energy.fanout import dense_padded, fanout
from spikefold.errors import MismatchError, UnsupportedError
from spikefold.export.network import INPUT, Layer, Network
from spikefold.export.neuron import Neuron
from spikefold.export.ops import AvgPool2d, Concat, Conv2d, Dense, MaxPool2d, SumPool2d
from spikefold.hardware.reference import check_frames, gathered
from spikefold.hardware.trace import Trace


@dataclass(frozen=True)
class LayerCounts:
    """One weight layer over all clips and steps of a run.

    Attributes:
        name: the layer.
        input_kind: ``binary`` (0 or 1), ``counts`` (of the input, several events a bin), ``spikes`` (several a step)
            or ``sum-pooled`` (spikes of a window).
        dense_padded: taps of a dense pass over all frames, those on the padding included.
        dense: the same without the padding: every synapse once a frame.
        pairs: synapses with an input other than zero.
        events: events times their synapses; equals ``pairs`` for binary input.
        input_events: events that arrived.
        spikes: spikes of the neurons behind this layer; 0 where an earlier layer feeds the same neurons.
        neurons: how many they are; 0 likewise.
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
    no synapses and are passed over; a max pool of spikes passes on one of each window.

    Raises:
        NetworkError: the frames do not fit the network.
        MismatchError: the trace does not belong to this network.
        UnsupportedError: a weight layer whose input is neither spikes nor a pool of them.
    """
    check_frames(network, frames)
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
            continue
        known = all(name in values for name in layer.inputs)
        if isinstance(layer.op, SumPool2d | AvgPool2d | MaxPool2d | Concat) and known:
            values[layer.name] = _passed_on(layer.op, gathered(layer, values, channels=2))
        elif isinstance(layer.op, Conv2d | Dense):
            if not known:
                raise UnsupportedError("analog input has no spikes to count", where=layer.name,
                                       hint="fold what lies between it and the neurons before")  # fmt: skip
            counts.append(_layer(network, layer, gathered(layer, values), trace))
    return Counts(frames.shape[1], frames.shape[0], tuple(_neurons_once(network, counts)))


def _neurons_once(network: Network, counts: list[LayerCounts]) -> Iterator[LayerCounts]:
    """Neurons that several weight layers feed are those of the first."""
    seen: set[str] = set()
    for one in counts:
        neurons = _spiking_after(network, network[one.name])
        yield replace(one, spikes=0, neurons=0) if neurons in seen else one
        seen.add(neurons)


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
    origins, pooled, names = set(), False, list(layer.inputs)
    while names:
        name = names.pop()
        if name == INPUT or not isinstance(network[name].op, SumPool2d | AvgPool2d | MaxPool2d | Concat):
            origins.add(name)
        else:
            pooled |= isinstance(network[name].op, SumPool2d | AvgPool2d)
            names += network[name].inputs
    if x.max(initial=0) <= 1:
        return "binary"
    if INPUT in origins:
        return "counts"
    return "sum-pooled" if pooled else "spikes"


def _spiking_after(network: Network, layer: Layer) -> str:
    """The neurons that a weight layer feeds, through batch norm, gates and pools."""
    name = layer.name
    while not isinstance(network[name].op, Neuron):
        name = network.consumers(name)[0].name
    return name


def _passed_on(op: SumPool2d | AvgPool2d | MaxPool2d | Concat, x: np.ndarray) -> np.ndarray:
    """The spikes behind a pool or a `Concat`."""
    if isinstance(op, Concat):
        return x
    t, n, c, h, w = x.shape
    rows, columns = h // op.kernel[0], w // op.kernel[1]
    kept = x[..., : rows * op.kernel[0], : columns * op.kernel[1]]
    windows = kept.reshape(t, n, c, rows, op.kernel[0], columns, op.kernel[1])
    if isinstance(op, MaxPool2d):
        return np.asarray(windows.max(axis=(4, 6)))
    # a mean of spikes is their sum, its factor moved into the weights
    return np.asarray(windows.sum(axis=(4, 6), dtype=np.int64))
