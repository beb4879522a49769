# SPDX-License-Identifier: Apache-2.0
"""Runs one weight layer and its neurons by their events, in 32-bit whole numbers: for layers with few spikes.

The result is that of the reference, to the bit: `is_exact` proves beforehand that no sum, state or count leaves its
type, so that nothing is rounded; a leak's product is exact in float64. What it costs grows with the spikes, where a
dense convolution costs the same for silence; `is_cheaper` weighs the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np

from spikefold.export.neuron import Leak, Neuron, Order, Overflow, Reset
from spikefold.export.neuron_support import everything, neuron_refusals
from spikefold.export.ops import Conv2d, Dense, Shape
from spikefold.hardware.simulators import sparse_kernel
from spikefold.hardware.simulators.event_rows import EventRows, equal_rows
from spikefold.hardware.simulators.sparse_kernel import Rules, Synapses
from spikefold.hardware.simulators.trace import MOST_COUNT, LayerTrace

_NARROW = 2**15
MOST = 2**31 - 1
"""Of the 32-bit numbers of currents and states."""
NEURONS = everything("the sparse engine")
_MOST_SHIFT = 20
"""A 31-bit state times such a leak's numerator is exact in float64."""

# nanoseconds on one core with AVX-512; only their ratios matter, and only for speed
_EVENT_NS, _TAP_NS, _SYNAPSE_NS, _SPARSE_NEURON_NS, _SCAN_NS = 6.0, 6.0, 0.08, 1.2, 0.4
_STEP_NS, _CONVERT_NS, _MULTIPLY_NS, _DENSE_NEURON_NS = 50e3, 5.0, 0.025, 12.0


def is_cheaper(op: Conv2d | Dense, shape: Shape, outputs: Shape, events: int, steps: int, clips: int) -> bool:
    """Whether ``events`` inputs other than 0 cost less one by one than dense convolutions of all inputs.

    Args:
        op: the weight layer.
        shape: of its input, ``(C, H, W)``.
        outputs: shape of its output.
        events: inputs other than 0, over all clips and steps.
        steps: time steps of a clip.
        clips: run together.
    """
    kernel = _kernel(op, shape)
    neurons, inputs, runs = int(np.prod(outputs)), int(np.prod(shape)), steps * clips
    features = len(kernel) // getattr(op, "groups", 1)
    taps = neurons * kernel[0].size / inputs / features  # of one event, at the edges fewer
    sparse = events * (_EVENT_NS + taps * (_TAP_NS + features * _SYNAPSE_NS))
    sparse += runs * (neurons * _SPARSE_NEURON_NS + inputs * _SCAN_NS)
    dense = neurons * (kernel[0].size * _MULTIPLY_NS + _DENSE_NEURON_NS) + inputs * _CONVERT_NS
    return sparse < steps * _STEP_NS + runs * dense


def is_exact(op: Conv2d | Dense, neuron: Neuron, most: int, steps: int) -> bool:
    """Whether the neurons are carried, and no number can leave its type.

    Args:
        op: the weight layer, integer.
        neuron: behind it.
        most: events of an input and step at most.
        steps: time steps of a clip.
    """
    return not neuron_refusals(neuron, NEURONS, "") and _fits(op, neuron, _largest_sum(op), most, steps)


def _largest_sum(op: Conv2d | Dense) -> int:
    return int(np.abs(op.weight).reshape(len(op.weight), -1).sum(axis=1).max())


def _fits(op: Conv2d | Dense, neuron: Neuron, largest_sum: int, most: int, steps: int) -> bool:
    """Whether no number leaves its type."""
    unit = 2**neuron.state_shift
    bias = 0 if op.bias is None else int(np.abs(op.bias).max())
    current = (largest_sum * most + bias) * unit
    if neuron.current is not None:
        current *= steps
    # neither leak nor reset nor lower bound makes a state larger; only a reset to a value may
    kept = current * (steps - 1)
    if neuron.state_bits is not None and neuron.overflow is not Overflow.FORBID:
        kept = min(kept, 2 ** (neuron.state_bits - 1))
    highest = max(kept, 0) + abs(int(neuron.reset_value)) + current
    theta = [int(neuron.threshold.min()) * unit, int(neuron.threshold.max()) * unit]
    spikes = highest // theta[0] if neuron.max_spikes is None else neuron.max_spikes
    shifts = [leak.shift for leak in (neuron.leak, neuron.current) if leak is not None]
    return (
        max(highest, theta[1]) < MOST
        and spikes <= MOST_COUNT
        and most <= MOST_COUNT
        and max(shifts, default=0) <= _MOST_SHIFT
    )


@dataclass(eq=False)
class Block:
    """A weight layer and its neurons, with the tables of the compiled loop, which are made once.

    Attributes:
        op: the weight layer, integer.
        neuron: the only reader of its sums.
        shape: of the input, ``(C, H, W)``.
        outputs: shape of the neurons.
    """

    op: Conv2d | Dense
    neuron: Neuron
    shape: Shape
    outputs: Shape

    @cached_property
    def largest_sum(self) -> int:
        """Of the weights of one neuron, without their signs."""
        return _largest_sum(self.op)

    @cached_property
    def refused(self) -> bool:
        """Whether its neurons are not carried."""
        return bool(neuron_refusals(self.neuron, NEURONS, ""))

    @cached_property
    def tables(self) -> tuple[Synapses, Rules]:
        """What the compiled loop reads."""
        return _synapses(self.op, self.neuron, self.shape, self.outputs), _rules(self.neuron, self.outputs)


def block_is_exact(block: Block, most: int, steps: int) -> bool:
    """As `is_exact`, of a block whose sums may be known already."""
    return not block.refused and _fits(block.op, block.neuron, block.largest_sum, most, steps)


def run_block(block: Block, counts: np.ndarray, *, potentials: bool) -> LayerTrace:
    """The spikes of a block of which `block_is_exact` holds.

    Args:
        block: the weight layer and its neurons.
        counts: spikes or events ``(T, N, C, H, W)`` uint16.
        potentials: record the states too.
    """
    steps, clips, outputs = *counts.shape[:2], block.outputs
    neurons = prod(outputs)
    raster = np.empty((steps, clips, neurons), np.uint16)
    states = np.zeros((steps, clips if potentials else 0, neurons), np.int64)
    x = np.ascontiguousarray(counts).reshape(steps, clips, -1)
    low, high, lost = sparse_kernel.run_loop(x, int(x.max(initial=0)), *block.tables, raster, states)
    kept = states.reshape(steps, clips, *outputs) if potentials else None
    return LayerTrace(raster.reshape(steps, clips, *outputs), (float(low), float(high)), int(lost), kept)


def _kernel(op: Conv2d | Dense, shape: Shape) -> np.ndarray:
    """Weights ``(Cout, Cin / groups, kH, kW)``; a dense layer is a convolution as large as its input."""
    return op.weight if isinstance(op, Conv2d) else op.weight.reshape(-1, *shape)


def _synapses(op: Conv2d | Dense, neuron: Neuron, shape: Shape, outputs: Shape) -> Synapses:
    kernel, unit = _kernel(op, shape), 2**neuron.state_shift
    conv = op if isinstance(op, Conv2d) else Conv2d(kernel)
    bias = np.zeros(outputs[0], np.int64) if op.bias is None else op.bias
    largest_weight, largest_bias = int(np.abs(kernel).max()), int(np.abs(bias).max())
    narrow = conv.groups == 1 and conv.dilation == (1, 1) and max(largest_weight, largest_bias) < _NARROW
    # a current is kept in the unit of the state
    by_rows = (
        equal_rows(kernel, shape, outputs, conv.stride, conv.padding, np.int16)
        if narrow and neuron.current is None
        else None
    )
    lines, columns = (np.full((shape[axis], kernel.shape[axis + 1], 2), -1, np.int32) for axis in (1, 2))
    sparse_kernel.reach(lines, outputs[1], conv.stride[0], conv.padding[0], conv.dilation[0])
    sparse_kernel.reach(columns, outputs[2], conv.stride[1], conv.padding[1], conv.dilation[1])
    c, y, x = np.indices(shape, np.int32).reshape(3, -1)
    inside = kernel.shape[1]  # channels of a group
    first = c // inside * (outputs[0] // conv.groups)
    # a group's kernel lies at the outputs of that group
    grouped = kernel.reshape(conv.groups, -1, *kernel.shape[1:]).transpose(0, 2, 3, 4, 1)
    weight = grouped.reshape(shape[0], *kernel.shape[2:], -1) * unit
    every = np.tile(bias, outputs[1] * outputs[2])
    return Synapses(
        by_rows is not None,
        by_rows or EventRows(np.zeros(0, np.int16), np.zeros((0, 4), np.int32), 0, 0),
        (y * shape[2] + x) * shape[0] + c,
        every.astype(np.int16),  # read where it is by rows alone
        largest_bias,
        largest_weight,
        _largest_sum(op),
        unit,
        np.ascontiguousarray(np.stack([c, y, x, first], axis=1), np.int32),
        lines,
        columns,
        np.ascontiguousarray(weight, np.int32),
        (every * unit).astype(np.int32),
        outputs[2],
        outputs[0],
    )


def _rules(neuron: Neuron, outputs: Shape) -> Rules:
    theta = np.broadcast_to(neuron.threshold * 2**neuron.state_shift, outputs).transpose(1, 2, 0)
    targets = np.arange(int(np.prod(outputs)), dtype=np.int32).reshape(outputs).transpose(1, 2, 0)
    bits = neuron.state_bits
    # a width above 32 bits is never left: `is_exact` holds
    bounded = bits is not None and bits <= 32
    overflow = {
        Overflow.FORBID: sparse_kernel.FORBID,
        Overflow.SATURATE: sparse_kernel.SATURATE,
        Overflow.WRAP: sparse_kernel.WRAP,
    }[neuron.overflow]
    return Rules(
        targets=targets.ravel(),
        theta=np.ascontiguousarray(theta, np.int32).ravel(),
        current=0.0 if neuron.current is None else _share(neuron.current),
        leak=1.0 if neuron.leak is None else _share(neuron.leak),
        input_first=neuron.order is Order.INPUT_FIRST,
        largest=2 ** (bits - 1) - 1 if bits is not None and bounded else MOST,
        overflow=overflow if bounded else sparse_kernel.NONE,
        checked=bounded and neuron.current is not None,
        above=neuron.fire.value == ">",
        most=MOST_COUNT if neuron.max_spikes is None else neuron.max_spikes,
        subtract=neuron.reset is Reset.SUBTRACT,
        value=int(neuron.reset_value),
        v_min=sparse_kernel.UNBOUNDED if neuron.v_min is None else max(sparse_kernel.UNBOUNDED, int(neuron.v_min)),
    )


def _share(leak: Leak) -> float:
    return leak.keep / 2**leak.shift
