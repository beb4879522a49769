# SPDX-License-Identifier: Apache-2.0
"""Simulates a `Network` plainly and slowly, one equation a line: the specification that every engine must equal.

Integer networks run in int64 and are exact. Real networks run in float64 (the passes are proven with it).
Convolution is written as one matrix product per kernel tap; nothing here is tuned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from spikefold.errors import NetworkError
from spikefold.export.network import INPUT, Layer, Network, SpikingLayer
from spikefold.export.neuron import Fire, Leak, Neuron, Order, Overflow, Reset
from spikefold.export.neuron_support import everything, refuse
from spikefold.export.ops import AvgPool2d, BatchNorm, Concat, Conv2d, Dense, Gate, MaxPool2d, SumPool2d
from spikefold.hardware.simulators.trace import LayerTrace, Trace, as_raster

RUNNER = "reference"
NEURONS = everything("the reference simulator")


def run(network: Network, frames: np.ndarray, *, potentials: bool = False) -> Trace:
    """Simulate a batch of clips, each from zero state.

    Args:
        network: real or integer.
        frames: event counts ``(T, N, C, H, W)``.
        potentials: record the state of every neuron after every step too.

    Returns:
        Rasters, state range and overflow of every spiking layer.

    Raises:
        NetworkError: the frames do not have the network's input shape.
        UnsupportedError: a neuron has more spikes in one time step than a raster can hold, or neurons have a field
            that this specification does not have.
    """
    check_frames(network, frames)
    refuse(network, NEURONS)
    dtype = np.int64 if network.is_integer else np.float64
    logs = {layer.name: _Log.of(network, layer, frames.shape[1], dtype) for layer in network.neurons}
    for frame in frames:
        values: dict[str, np.ndarray] = {INPUT: frame.astype(dtype)}
        for layer in network:
            x = gathered(layer, values)
            log = logs.get(layer.name)
            values[layer.name] = apply(layer.op, x) if log is None else log.step(x, keep=potentials)
    return Trace(RUNNER, {name: log.trace(potentials) for name, log in logs.items()})


def check_frames(network: Network, frames: np.ndarray) -> None:
    """Refuse frames that are not ``(T, N, C, H, W)`` with the network's ``(C, H, W)`` and bound on counts."""
    if frames.ndim != 5 or frames.shape[2:] != network.input.shape:
        raise NetworkError(
            f"frames {frames.shape} do not fit the network's input (T, N, *{network.input.shape})",
            hint="bin the recordings with the network's own sensor size and downsampling",
        )
    most = network.input.max_count
    if most is not None and frames.max(initial=0) > most:
        raise NetworkError(
            f"a frame holds {frames.max()} events of one input, the network was made for at most {most}",
            hint="clip the counts as spikefold.train.data.frames does; integer sums are proven for that bound only",
        )


def gathered(layer: Layer, values: Mapping[str, np.ndarray], *, channels: int = 1) -> np.ndarray:
    """What a layer reads: the sum of its inputs, or for `Concat` its inputs one after the other."""
    inputs = [values[name] for name in layer.inputs]
    if isinstance(layer.op, Concat):
        return np.concatenate(inputs, axis=channels)
    return sum(inputs[1:], start=inputs[0])


def apply(op: object, x: np.ndarray) -> np.ndarray:
    """One operation without state on a batch ``(N, C, H, W)``."""
    match op:
        case Conv2d():
            return _conv2d(op, x)
        case Dense():
            y = x.reshape(len(x), -1) @ op.weight.T
            return (y if op.bias is None else y + op.bias)[:, :, None, None]
        case BatchNorm():
            scale = op.gamma / np.sqrt(op.var + op.eps)
            return scale[:, None, None] * (x - op.mean[:, None, None]) + op.beta[:, None, None]
        case Gate():
            return x * op.factors
        case AvgPool2d():
            return _windows(x, op.kernel).sum(axis=(3, 5)) / (op.kernel[0] * op.kernel[1])
        case SumPool2d():
            return np.asarray(_windows(x, op.kernel).sum(axis=(3, 5)))
        case MaxPool2d():
            return np.asarray(_windows(x, op.kernel).max(axis=(3, 5)))
        case Concat():
            return x  # `gathered` laid the inputs side by side
    raise NetworkError(f"the reference does not know {type(op).__name__}")


def _conv2d(op: Conv2d, x: np.ndarray) -> np.ndarray:
    c_out, height, width = op.output_shape(x.shape[1:])
    (pad_h, pad_w), (stride_h, stride_w), (dil_h, dil_w) = op.padding, op.stride, op.dilation
    padded = np.pad(x, ((0, 0), (0, 0), (pad_h, pad_h), (pad_w, pad_w)))
    y = np.zeros((len(x), c_out, height, width), np.result_type(op.weight, x))
    c_in, per_group = op.weight.shape[1], c_out // op.groups
    for group in range(op.groups):
        inputs = padded[:, group * c_in : (group + 1) * c_in]
        outputs = slice(group * per_group, (group + 1) * per_group)
        for ky in range(op.weight.shape[2]):
            rows = slice(ky * dil_h, ky * dil_h + stride_h * (height - 1) + 1, stride_h)
            for kx in range(op.weight.shape[3]):
                columns = slice(kx * dil_w, kx * dil_w + stride_w * (width - 1) + 1, stride_w)
                tap = op.weight[outputs, :, ky, kx]
                y[:, outputs] += np.einsum("oc,nchw->nohw", tap, inputs[:, :, rows, columns])
    return y if op.bias is None else y + op.bias[:, None, None]


def _windows(x: np.ndarray, kernel: tuple[int, int]) -> np.ndarray:
    n, c, h, w = x.shape
    rows, columns = h // kernel[0], w // kernel[1]
    kept = x[:, :, : rows * kernel[0], : columns * kernel[1]]
    return kept.reshape(n, c, rows, kernel[0], columns, kernel[1])


@dataclass
class _Log:
    """State of one spiking layer during a run, and what is kept of it."""

    name: str
    neuron: Neuron
    v: np.ndarray
    u: np.ndarray
    raster: list[np.ndarray] = field(default_factory=list)
    states: list[np.ndarray] = field(default_factory=list)
    low: float = 0
    high: float = 0
    overflow: int = 0

    @classmethod
    def of(cls, network: Network, layer: SpikingLayer, batch: int, dtype: type) -> _Log:
        shape = batch, *network.shapes[layer.name]
        return cls(layer.name, layer.neuron, np.zeros(shape, dtype), np.zeros(shape, dtype))

    def step(self, x: np.ndarray, *, keep: bool) -> np.ndarray:
        self.u, wide = drive(self.neuron, self.u, x)
        charged, lost = add(self.neuron, self.v, self.u)
        self.low, self.high = min(self.low, charged.min().item()), max(self.high, charged.max().item())
        self.overflow += wide + lost
        spikes, self.v = fire(self.neuron, charged)
        self.raster.append(as_raster(spikes, self.name))
        if keep:
            self.states.append(self.v.copy())
        return spikes

    def trace(self, potentials: bool) -> LayerTrace:
        states = np.stack(self.states) if potentials else None
        return LayerTrace(np.stack(self.raster), (self.low, self.high), self.overflow, states)


def charge(neuron: Neuron, v: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, int]:
    """Leak and input of one step: the state before firing, and how many neurons overflowed.

    Raises:
        NetworkError: the neuron has a current, which is a second state; see `drive`.
    """
    if neuron.current is not None:
        raise NetworkError("neurons with a synaptic current have two states", hint="use drive and add, one by one")
    return add(neuron, v, drive(neuron, v, x)[0])


def drive(neuron: Neuron, u: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, int]:
    """The current ``u`` after one step's input, in the unit of the state, and how many of them are too wide."""
    x = x * 2**neuron.state_shift
    if neuron.current is None:
        return x, 0
    u = leak(neuron.current, u) + x
    return u, 0 if neuron.state_bits is None else _outside(u, 2 ** (neuron.state_bits - 1) - 1)


def add(neuron: Neuron, v: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, int]:
    """Leak and driven input of one step: the state before firing, and how many neurons overflowed."""
    v = leak(neuron.leak, v + x) if neuron.order is Order.INPUT_FIRST else leak(neuron.leak, v) + x
    if neuron.state_bits is None:
        return v, 0
    largest = 2 ** (neuron.state_bits - 1) - 1
    match neuron.overflow:
        case Overflow.SATURATE:
            held = np.clip(v, -largest, largest)
            return held, int((held != v).sum())
        case Overflow.WRAP:
            held = (v + largest + 1) % (2 * largest + 2) - largest - 1
            return held, int((held != v).sum())
        case Overflow.FORBID:
            return v, _outside(v, largest)


def _outside(v: np.ndarray, largest: int) -> int:
    return int(((v > largest) | (v < -largest - 1)).sum())


def leak(rule: Leak | None, v: np.ndarray) -> np.ndarray:
    """What is left of a state after one step; integer states round toward zero."""
    if rule is None:
        return v
    if np.issubdtype(v.dtype, np.integer):
        return np.sign(v) * ((np.abs(v) * int(rule.keep)) >> rule.shift)
    return v * (rule.keep / 2**rule.shift)


def fire(neuron: Neuron, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Spikes of one step and the state after reset and lower bound."""
    theta = neuron.threshold * 2**neuron.state_shift
    if neuron.max_spikes == 1:
        spikes = (v >= theta) if neuron.fire is Fire.GE else (v > theta)
        spikes = spikes.astype(v.dtype)
    else:
        # GT: k*theta < v, so v exactly on a multiple does not count that multiple
        fitting = np.floor_divide(v, theta) if neuron.fire is Fire.GE else -np.floor_divide(-v, theta) - 1
        spikes = np.clip(fitting, 0, neuron.max_spikes)
    match neuron.reset:
        case Reset.ZERO:
            v = np.where(spikes > 0, 0, v)
        case Reset.SUBTRACT:
            v = v - spikes * theta
        case Reset.VALUE:
            v = np.where(spikes > 0, neuron.reset_value, v).astype(v.dtype)
    return spikes, v if neuron.v_min is None else np.maximum(v, np.asarray(neuron.v_min, v.dtype))
