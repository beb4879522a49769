# SPDX-License-Identifier: Apache-2.0
"""Exact operation counts of a run: every number is a whole number counted from the spikes, never from a rate.

A walk through the network in its order. Values are known where they are spikes or pools of them; behind a weight
layer they are currents, of which it is known only where at least one event arrived.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from spikefold.energy.counts.activity import reached, windows
from spikefold.energy.counts.types import BINARY
from spikefold.energy.counts.types import Counts as Counts
from spikefold.energy.counts.types import ElementCounts as ElementCounts
from spikefold.energy.counts.types import LayerCounts as LayerCounts
from spikefold.energy.counts.types import Series as Series
from spikefold.energy.counts.types import Uncounted as Uncounted
from spikefold.errors import MismatchError, UnsupportedError
from spikefold.export.fanout import dense_padded, fanout
from spikefold.export.network import INPUT, Layer, Network
from spikefold.export.neuron import Neuron
from spikefold.export.nonzero_fanout import nonzero_fanout
from spikefold.export.ops import AvgPool2d, BatchNorm, Concat, Conv2d, Dense, Gate, MaxPool2d, Shape, SumPool2d
from spikefold.hardware.simulators.reference import check_frames
from spikefold.hardware.simulators.trace import Trace

_POOLS = {AvgPool2d: "avg_pool", SumPool2d: "sum_pool", MaxPool2d: "max_pool"}


def count(network: Network, frames: np.ndarray, trace: Trace) -> Counts:
    """Count a run from its input frames ``(T, N, C, H, W)`` and its spikes.

    The network gives the connections; batch norm, gates and average pools between a convolution and its neurons have
    no synapses, and are listed with their element-wise work; a max pool of spikes passes on one of each window. A
    layer of another kind is listed as uncounted, and the neurons behind it count as active.

    Raises:
        NetworkError: the frames do not fit the network.
        MismatchError: the trace does not belong to this network.
        UnsupportedError: a weight layer whose input is neither spikes nor a pool of them.
    """
    _check(network, frames, trace)
    walk = _Walk(network, frames, trace)
    for layer in network:
        walk.visit(layer)
    return Counts(
        frames.shape[1],
        frames.shape[0],
        tuple(walk.rows()),
        network.input.dt_us,
        tuple(walk.elements),
        tuple(walk.uncounted),
    )


def _check(network: Network, frames: np.ndarray, trace: Trace) -> None:
    check_frames(network, frames)
    missing = [layer.name for layer in network.neurons if layer.name not in trace.layers]
    if missing:
        raise MismatchError(f"the trace of {trace.runner} lacks the layers {missing}")
    for name in (layer.name for layer in network.neurons):
        found, expected = trace.layers[name].raster.shape, (*frames.shape[:2], *network.shapes[name])
        if found != expected:
            raise MismatchError(f"the trace of {trace.runner} has spikes {found} in {name}, not {expected}")


class _Walk:
    """One pass through the layers.

    Attributes:
        spikes: values of the input, of neurons and of what only passes spikes on, by layer.
        events_at: where at least one event arrived, bool, of currents, by layer.
        synapses: rows of weight layers; their neurons are put in by `rows`.
        active: active updates ``(T, N)`` of each layer of neurons.
        elements: element-wise work found.
        uncounted: layers without a rule.
    """

    def __init__(self, network: Network, frames: np.ndarray, trace: Trace) -> None:
        self.network, self.trace = network, trace
        self.size = frames.shape[0] * frames.shape[1]
        self.spikes: dict[str, np.ndarray] = {INPUT: frames}
        self.events_at: dict[str, np.ndarray] = {}
        self.synapses: dict[str, LayerCounts] = {}
        self.active: dict[str, np.ndarray] = {}
        self.elements: list[ElementCounts] = []
        self.uncounted: list[Uncounted] = []

    def visit(self, layer: Layer) -> None:
        """Count one layer, and remember what it passes on."""
        op, known = layer.op, all(name in self.spikes for name in layer.inputs)
        if not known and len(layer.inputs) > 1 and not isinstance(op, Concat):
            inputs = self.network.shapes[layer.inputs[0]]
            self._element(layer, "sum", adds=(len(layer.inputs) - 1) * math.prod(inputs))
        if isinstance(op, Neuron):
            self.active[layer.name] = self._arrived(layer).sum(axis=(2, 3, 4), dtype=np.int64)
            self.spikes[layer.name] = self.trace.layers[layer.name].raster
        elif isinstance(op, Conv2d | Dense):
            if not known:
                raise UnsupportedError(
                    "analog input has no spikes to count",
                    where=layer.name,
                    hint="fold what lies between it and the neurons before",
                )
            self._weights(layer, op)
        elif isinstance(op, AvgPool2d | SumPool2d | MaxPool2d | Concat):
            self._pass_on(layer, op, known=known)
        else:
            self._between(layer)

    def rows(self) -> Iterator[LayerCounts]:
        """The layers in order. Neurons that several weight layers feed are those of the first."""
        counted: set[str] = set()
        owners = {name: _neurons_after(self.network, name) for name in self.synapses}
        owned = {name for name in owners.values() if name is not None}
        for layer in self.network:
            if layer.name in self.synapses:
                neurons = owners[layer.name]
                row = self.synapses[layer.name]
                yield row if neurons is None or neurons in counted else self._with_neurons(row, neurons)
                counted.add(neurons or "")
            elif isinstance(layer.op, Neuron) and layer.name not in owned:
                zeros = np.zeros(self.spikes[INPUT].shape[:2], np.int64)
                empty = LayerCounts(layer.name, "none", 0, 0, 0, 0, 0, 0, 0, weighted=0, series=Series(*[zeros] * 6))
                yield self._with_neurons(empty, layer.name)

    def _weights(self, layer: Layer, op: Conv2d | Dense) -> None:
        shape, x = self.network.input_shape(layer), self._gathered(layer)
        synapses = fanout(op, shape)
        flat = synapses.reshape(-1)
        positions = x.sum(axis=2, dtype=np.int64).reshape(*x.shape[:2], -1)
        nonzero = np.count_nonzero(x, axis=2).astype(np.int64).reshape(*x.shape[:2], -1)
        nothing = np.zeros(x.shape[:2], np.int64)
        pairs = nonzero @ flat
        weighted = _weighted(x, op, shape, pairs)
        series = Series(pairs, positions @ flat, positions.sum(axis=2), nothing, nothing, weighted)
        outputs = math.prod(op.output_shape(shape)) if op.bias is not None else 0
        kind, multiplicity = _input_kind(self.network, layer, x)
        self.synapses[layer.name] = LayerCounts(
            layer.name, kind, dense_padded(op, shape) * self.size, int(synapses.sum()) * shape[0] * self.size,
            int(series.pairs.sum()), int(series.events.sum()), int(series.input_events.sum()), 0, 0,
            outputs * self.size, multiplicity=multiplicity, weighted=int(weighted.sum()), series=series,
        )  # fmt: skip
        self.events_at[layer.name] = reached(op, x != 0)

    def _with_neurons(self, row: LayerCounts, neurons: str) -> LayerCounts:
        raster = self.trace.layers[neurons].raster
        spikes, active = raster.sum(axis=(2, 3, 4), dtype=np.int64), self.active[neurons]
        number = math.prod(raster.shape[2:])
        if row.series is None:
            raise MismatchError("counted without its series", where=row.name)
        return replace(
            row,
            spikes=int(spikes.sum()),
            neurons=number,
            neuron_updates=number * self.size,
            active_updates=int(active.sum()),
            series=replace(row.series, spikes=spikes, active_updates=active),
        )

    def _pass_on(self, layer: Layer, op: AvgPool2d | SumPool2d | MaxPool2d | Concat, *, known: bool) -> None:
        """A pool or a `Concat`: of spikes every one is routed on, of currents it is work on elements."""
        if known:
            x = self._gathered(layer)
            if isinstance(op, MaxPool2d):
                self._element(layer, "max_pool", compares=self._elements(layer) * (math.prod(op.kernel) - 1))
                x = windows(x, op).max(axis=(4, 6))
            elif not isinstance(op, Concat):
                # a mean of spikes is their sum, its factor moved into the weights
                x = windows(x, op).sum(axis=(4, 6), dtype=np.int64)
            self.spikes[layer.name] = x
            return
        arrived = self._arrived(layer)
        if isinstance(op, Concat):
            self.events_at[layer.name] = arrived
            return
        self.events_at[layer.name] = np.asarray(windows(arrived, op).any(axis=(4, 6)))
        outputs, others = self._elements(layer), math.prod(op.kernel) - 1
        largest = isinstance(op, MaxPool2d)
        self._element(
            layer,
            _POOLS[type(op)],
            multiplies=outputs if isinstance(op, AvgPool2d) else 0,
            adds=0 if largest else outputs * others,
            compares=outputs * others if largest else 0,
        )

    def _between(self, layer: Layer) -> None:
        """What lies between synapses and neurons."""
        if isinstance(layer.op, BatchNorm):
            self._element(layer, "batch_norm", multiplies=self._elements(layer), adds=self._elements(layer))
        elif isinstance(layer.op, Gate):
            self._element(layer, "gate", multiplies=self._elements(layer))
        else:
            self.uncounted.append(Uncounted(layer.name, type(layer.op).__name__, self._elements(layer) * self.size))
            everywhere = (*self.spikes[INPUT].shape[:2], *self.network.shapes[layer.name])
            self.events_at[layer.name] = np.broadcast_to(np.True_, everywhere)
            return
        self.events_at[layer.name] = self._arrived(layer)

    def _element(self, layer: Layer, op: str, multiplies: int = 0, adds: int = 0, compares: int = 0) -> None:
        work = (multiplies * self.size, adds * self.size, compares * self.size)
        self.elements.append(ElementCounts(layer.name, op, *work))

    def _elements(self, layer: Layer) -> int:
        return math.prod(self.network.shapes[layer.name])

    def _gathered(self, layer: Layer) -> np.ndarray:
        """Spikes that a layer reads: added up without overflow, or for `Concat` side by side."""
        inputs = [self.spikes[name] for name in layer.inputs]
        if isinstance(layer.op, Concat):
            return np.concatenate(inputs, axis=2)
        return inputs[0] if len(inputs) == 1 else np.asarray(sum(x.astype(np.int64) for x in inputs))

    def _arrived(self, layer: Layer) -> np.ndarray:
        """Where at least one event arrives at a layer, whether as a spike or as a current."""
        inputs = [self.spikes[name] != 0 if name in self.spikes else self.events_at[name] for name in layer.inputs]
        if isinstance(layer.op, Concat):
            return np.concatenate(inputs, axis=2)
        return np.asarray(np.logical_or.reduce(inputs)) if len(inputs) > 1 else inputs[0]


def _weighted(x: np.ndarray, op: Conv2d | Dense, shape: Shape, pairs: np.ndarray) -> np.ndarray:
    """Synapses with a weight and an input other than 0, by step and clip, ``(T, N)`` int64.

    In float64 the products are exact: sums of whole numbers below 2^53.
    """
    if op.weight.all():
        return pairs
    synapses = nonzero_fanout(op, shape).reshape(-1).astype(np.float64)
    flat = x.reshape(*x.shape[:2], -1)
    by_clip = [(flat[:, clip] != 0).astype(np.float64) @ synapses for clip in range(x.shape[1])]
    return np.stack(by_clip, axis=1).astype(np.int64)


def _input_kind(network: Network, layer: Layer, x: np.ndarray) -> tuple[str, int]:
    """What a layer reads, and the positions of the largest pool of spikes before it."""
    origins, multiplicity = set(), 1
    ways = [(name, 1) for name in layer.inputs]
    while ways:
        name, pooled = ways.pop()
        op = None if name == INPUT else network[name].op
        if isinstance(op, AvgPool2d | SumPool2d):
            pooled *= math.prod(op.kernel)
        if isinstance(op, SumPool2d | AvgPool2d | MaxPool2d | Concat):
            ways += [(before, pooled) for before in network[name].inputs]
        else:
            origins.add(name)
            multiplicity = max(multiplicity, pooled)
    if x.max(initial=0) <= 1:
        return BINARY, multiplicity
    if INPUT in origins:
        return "counts", multiplicity
    return ("sum-pooled" if multiplicity > 1 else "spikes"), multiplicity


def _neurons_after(network: Network, name: str) -> str | None:
    """The neurons that a weight layer feeds, through batch norm, gates and pools; None where it ends before any."""
    while not isinstance(network[name].op, Neuron):
        readers = network.consumers(name)
        if not readers:
            return None
        name = readers[0].name
    return name
