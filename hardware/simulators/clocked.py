# SPDX-License-Identifier: Apache-2.0
"""Simulates a `Network` fast: layer by layer over all steps at once, in batches, equal to the reference.

A weight layer of an integer network and its neurons run event by event in `sparse` where that is exact and
cheaper, as dense PyTorch convolutions elsewhere; the bits are the same. Exactness of the dense ones: a float32
convolution of whole numbers is exact in any order of summation while ``sum |w| * max |x| + |b| < 2**24``, a float64
one below 2**53; the bound is computed from weights and inputs before each layer. States are whole numbers in float64,
and a leak's product stays below 2**53, so its truncation is exact.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from spikefold.errors import UnsupportedError
from spikefold.export.network import INPUT, Layer, Network, SpikingLayer, WeightLayer
from spikefold.export.neuron import Fire, Leak, Neuron, Order, Overflow, Reset
from spikefold.export.neuron_support import everything, refuse
from spikefold.export.ops import AvgPool2d, BatchNorm, Concat, Conv2d, Dense, Gate, MaxPool2d, SumPool2d
from spikefold.hardware.simulators import plain_kernel, sparse
from spikefold.hardware.simulators.reference import check_frames
from spikefold.hardware.simulators.trace import MOST_COUNT, LayerTrace, Trace, as_raster, concatenate

RUNNER = "torch"
NEURONS = everything("the clocked engine")


@torch.no_grad()
def run(network: Network, frames: np.ndarray, *, potentials: bool = False, batch: int = 25) -> Trace:
    """Simulate clips ``(T, N, C, H, W)``, each from zero state, ``batch`` at a time.

    Raises:
        NetworkError: the frames do not have the network's input shape.
        UnsupportedError: an integer network whose sums could leave what float64 holds exactly; neurons with a field
            that this engine does not have.
    """
    check_frames(network, frames)
    refuse(network, NEURONS)
    chunks = range(0, frames.shape[1], batch)
    traces = [Trace(RUNNER, _run(network, frames[:, i : i + batch], potentials)) for i in chunks]
    return traces[0] if len(traces) == 1 else concatenate(traces)


@torch.no_grad()
def values(network: Network, frames: np.ndarray) -> dict[str, np.ndarray]:
    """What the input and every layer give, ``(T * N, C, H, W)`` by name, for a few clips ``(T, N, C, H, W)``.

    Raises:
        NetworkError: the frames do not have the network's input shape.
        UnsupportedError: as `run`.
    """
    check_frames(network, frames)
    refuse(network, NEURONS)
    found = _Values(frames)
    for layer in network:
        if isinstance(layer, SpikingLayer):
            spikes, _ = _neurons(layer.name, layer.neuron, found.by_step(layer), potentials=False)
            found.dense[layer.name] = spikes.flatten(0, 1)
        else:
            found.dense[layer.name] = _stateless(
                layer.op, found.read(layer), exact=network.is_integer, where=layer.name
            )
    return {name: found.of(name).numpy() for name in (INPUT, *(layer.name for layer in network))}


def _run(network: Network, frames: np.ndarray, potentials: bool) -> dict[str, LayerTrace]:
    found, traces = _Values(frames), {}
    sources = _sources(network)
    read_once = {source.name for source in sources.values()}
    for layer in network:
        if layer.name in read_once:
            continue  # together with its neurons
        if not isinstance(layer, SpikingLayer):
            found.dense[layer.name] = _stateless(
                layer.op, found.read(layer), exact=network.is_integer, where=layer.name
            )
            continue
        source = sources.get(layer.name)
        trace = None if source is None else _sparse(network, source, layer.neuron, found, potentials)
        if trace is not None:
            found.counts[layer.name] = trace.raster
        else:
            if source is not None:
                found.dense[source.name] = _stateless(source.op, found.read(source), exact=True, where=source.name)
            spikes, trace = _neurons(layer.name, layer.neuron, found.by_step(layer), potentials)
            found.dense[layer.name] = spikes.flatten(0, 1)
        traces[layer.name] = trace
    return traces


def _sources(network: Network) -> dict[str, WeightLayer]:
    """By name of a spiking layer of an integer network the weight layer that it alone reads, and nothing else."""
    blocks = network.blocks if network.is_integer else ()
    return {block.spiking.name: block.weights for block in blocks if block.alone}


def _sparse(
    network: Network, source: WeightLayer, neuron: Neuron, found: _Values, potentials: bool
) -> LayerTrace | None:
    """The spikes of a weight layer and its neurons event by event, None where that is not exact or not cheaper."""
    counts = found.as_counts(source)
    if counts is None:
        return None
    block = network.derived(_Blocks).of(source, neuron)
    if not sparse.block_is_exact(block, int(counts.max(initial=0)), len(counts)):
        return None
    events = int(np.count_nonzero(counts))
    if not sparse.is_cheaper(block.op, block.shape, block.outputs, events, *counts.shape[:2]):
        return None
    return sparse.run_block(block, counts, potentials=potentials)


@dataclass(eq=False)
class _Blocks:
    """The tables of a network's layers for `sparse`, each made where it is first asked for."""

    network: Network
    _known: dict[str, sparse.Block] = field(init=False, default_factory=dict)

    def of(self, source: WeightLayer, neuron: Neuron) -> sparse.Block:
        if source.name not in self._known:
            shapes = self.network.input_shape(source), self.network.shapes[source.name]
            self._known[source.name] = sparse.Block(source.op, neuron, *shapes)
        return self._known[source.name]


@dataclass(eq=False)
class _Values:
    """What the input and the layers gave so far, in one of two forms.

    Attributes:
        frames: the input ``(T, N, C, H, W)``.
        counts: whole numbers ``(T, N, C, H, W)`` by name.
        dense: float64 ``(T * N, C, H, W)`` by name.
    """

    frames: np.ndarray
    counts: dict[str, np.ndarray] = field(init=False)
    dense: dict[str, torch.Tensor] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.counts = {INPUT: self.frames}

    def of(self, name: str) -> torch.Tensor:
        """Dense values of one layer."""
        if name not in self.dense:
            self.dense[name] = torch.from_numpy(self.counts[name].astype(np.float64)).flatten(0, 1)
        return self.dense[name]

    def read(self, layer: Layer) -> torch.Tensor:
        """What a layer reads, dense."""
        inputs = [self.of(name) for name in layer.inputs]
        return torch.cat(inputs, 1) if isinstance(layer.op, Concat) else sum(inputs[1:], start=inputs[0])

    def by_step(self, layer: Layer) -> torch.Tensor:
        """What a layer reads, ``(T, N, C, H, W)``."""
        return self.read(layer).unflatten(0, self.frames.shape[:2])

    def as_counts(self, layer: Layer) -> np.ndarray | None:
        """What a layer of an integer network reads as uint16 ``(T, N, C, H, W)``; None where it does not fit."""
        known = self.counts.get(layer.inputs[0]) if len(layer.inputs) == 1 else None
        x = self.by_step(layer).numpy() if known is None else known
        small = x.dtype in (bool, np.uint8, np.uint16)
        if not small and (x.min(initial=0) < 0 or x.max(initial=0) > MOST_COUNT):
            return None
        return x.astype(np.uint16, copy=False)


def _stateless(op: object, x: torch.Tensor, *, exact: bool, where: str) -> torch.Tensor:
    match op:
        case Conv2d() | Dense():
            dtype = _exact_dtype(op, x, where) if exact else torch.float64
            weight = torch.tensor(op.weight, dtype=dtype)
            bias = None if op.bias is None else torch.tensor(op.bias, dtype=dtype)
            x = x.to(dtype)
            if isinstance(op, Dense):
                return torch.nn.functional.linear(x.flatten(1), weight, bias)[:, :, None, None].double()
            y = torch.nn.functional.conv2d(x, weight, bias, op.stride, op.padding, op.dilation, op.groups)
            return y.double()
        case SumPool2d():
            return torch.nn.functional.avg_pool2d(x, op.kernel, divisor_override=1)
        case AvgPool2d():
            return torch.nn.functional.avg_pool2d(x, op.kernel)
        case MaxPool2d():
            return torch.nn.functional.max_pool2d(x, op.kernel)
        case Concat():
            return x  # the inputs lie side by side already
        case BatchNorm():
            mean, var, gamma, beta = (torch.tensor(v) for v in (op.mean, op.var, op.gamma, op.beta))
            return torch.nn.functional.batch_norm(x, mean, var, gamma, beta, training=False, eps=op.eps)
        case Gate():
            return x * torch.tensor(op.factors)
    raise UnsupportedError(f"the clocked engine does not know {type(op).__name__}", where=where)


def _exact_dtype(op: Conv2d | Dense, x: torch.Tensor, where: str) -> torch.dtype:
    """The narrowest float that holds every partial sum of this layer exactly."""
    weights = int(np.abs(op.weight).reshape(len(op.weight), -1).sum(axis=1).max())
    bound = weights * int(x.abs().max()) + (0 if op.bias is None else int(np.abs(op.bias).max()))
    if bound < 2**24:
        return torch.float32
    if bound < 2**53:
        return torch.float64
    raise UnsupportedError(f"sums up to {bound} are not exact in float64", where=where, hint="use the reference")


def _neurons(name: str, neuron: Neuron, x: torch.Tensor, potentials: bool) -> tuple[torch.Tensor, LayerTrace]:
    """A spiking layer over input ``(T, N, C, H, W)``: its spikes in float64 and its trace."""
    shift = 2**neuron.state_shift
    theta = torch.tensor(neuron.threshold, dtype=torch.float64) * shift
    if plain_kernel.covers(neuron):
        return _plain(name, neuron, x * shift, theta, potentials)
    v, u = torch.zeros_like(x[0]), torch.zeros_like(x[0])
    spikes, states = torch.empty_like(x), []
    low, high, overflow = 0.0, 0.0, 0
    for step, driven in enumerate(x * shift):
        current = driven
        if neuron.current is not None:
            current = u = _kept(neuron, neuron.current, u) + driven
            overflow += _outside(neuron, u)
        v = _leaked(neuron, v + current) if neuron.order is Order.INPUT_FIRST else _leaked(neuron, v) + current
        v, lost = _bounded(neuron, v)
        low, high = min(low, float(v.min())), max(high, float(v.max()))
        overflow += lost
        spikes[step] = fired = _fired(neuron, v, theta)
        v = _reset(neuron, v, fired, theta)
        if potentials:
            states.append(v)
    raster = as_raster(spikes.numpy(), name)
    kept = torch.stack(states).numpy() if potentials else None
    if kept is not None and neuron.is_integer:
        kept = kept.astype(np.int64)
    return spikes, LayerTrace(raster, (low, high), overflow, kept)


def _plain(
    name: str, neuron: Neuron, x: torch.Tensor, theta: torch.Tensor, potentials: bool
) -> tuple[torch.Tensor, LayerTrace]:
    limit = theta.expand(x.shape[1:]).contiguous().flatten().numpy()
    spikes, span, states = plain_kernel.run(neuron, x.flatten(1).numpy(), limit, potentials=potentials)
    raster = as_raster(spikes.reshape(x.shape), name)
    kept = states.reshape(x.shape) if potentials else None
    if kept is not None and neuron.is_integer:
        kept = kept.astype(np.int64)
    return torch.from_numpy(spikes).view(x.shape), LayerTrace(raster, (float(span[0]), float(span[1])), 0, kept)


def _leaked(neuron: Neuron, v: torch.Tensor) -> torch.Tensor:
    return v if neuron.leak is None else _kept(neuron, neuron.leak, v)


def _kept(neuron: Neuron, leak: Leak, v: torch.Tensor) -> torch.Tensor:
    kept = v * leak.keep / 2**leak.shift
    return kept.trunc() if neuron.is_integer else kept


def _outside(neuron: Neuron, v: torch.Tensor) -> int:
    if neuron.state_bits is None:
        return 0
    largest = 2 ** (neuron.state_bits - 1) - 1
    return int(((v > largest) | (v < -largest - 1)).sum())


def _bounded(neuron: Neuron, v: torch.Tensor) -> tuple[torch.Tensor, int]:
    if neuron.state_bits is None:
        return v, 0
    largest = 2 ** (neuron.state_bits - 1) - 1
    if neuron.overflow is Overflow.FORBID:
        return v, _outside(neuron, v)
    if neuron.overflow is Overflow.SATURATE:
        held = v.clamp(-largest, largest)
    else:
        held = torch.remainder(v + largest + 1, 2 * largest + 2) - largest - 1
    return held, int((held != v).sum())


def _fired(neuron: Neuron, v: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
    if neuron.max_spikes == 1:
        return ((v >= theta) if neuron.fire is Fire.GE else (v > theta)).double()
    fitting = torch.floor(v / theta) if neuron.fire is Fire.GE else torch.ceil(v / theta) - 1
    return fitting.clamp(min=0, max=neuron.max_spikes)


def _reset(neuron: Neuron, v: torch.Tensor, fired: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
    if neuron.reset is Reset.SUBTRACT:
        v = v - fired * theta
    else:
        v = torch.where(fired > 0, torch.tensor(neuron.reset_value, dtype=v.dtype), v)
    return v if neuron.v_min is None else v.clamp_min(neuron.v_min)
