# SPDX-License-Identifier: Apache-2.0
"""How busy the input of each weight layer is: the rate that papers multiply dense operations with.

Exact counts need no rate; the rules `paper` and `rate-flops` do, and give other numbers for that very reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import lcm

import numpy as np

from spikefold.errors import MismatchError
from spikefold.export.network import INPUT, Layer, Network
from spikefold.export.neuron import Neuron
from spikefold.export.ops import AvgPool2d, Concat, Conv2d, Dense, MaxPool2d, SumPool2d
from spikefold.hardware.simulators.reference import apply, check_frames, gathered
from spikefold.hardware.simulators.trace import Trace

Rates = Mapping[str, Fraction]
"""Rate at the input of a weight layer, by its name."""


@dataclass(frozen=True, eq=False)
class _Values:
    """What flows: whole numbers ``(T, N, C, H, W)`` that are ``divisor`` times the mean over pooling windows."""

    whole: np.ndarray
    divisor: int
    of_input: bool


def input_rates(network: Network, frames: np.ndarray, trace: Trace) -> dict[str, Fraction]:
    """Mean input of each weight layer over all positions, steps and clips, exactly.

    Of a layer that reads the frames it is the share of positions other than zero (Attention-SNN, supplement, Table
    S1: the ratio of nonzero pixels of event frames); of any other the mean of the spikes it reads. Pools average
    here, sum pools too, as in the networks that the papers count: one of k spikes in a window counts 1/k.

    Raises:
        NetworkError: the frames do not fit the network.
        MismatchError: the trace lacks a layer of this network.
    """
    check_frames(network, frames)
    values = {INPUT: _Values(frames.astype(np.int64), 1, True)}
    rates = {}
    for layer in network:
        if isinstance(layer.op, Neuron):
            if layer.name not in trace.layers:
                raise MismatchError(f"the trace of {trace.runner} lacks the layer {layer.name}")
            values[layer.name] = _Values(trace.layers[layer.name].raster.astype(np.int64), 1, False)
        elif all(name in values for name in layer.inputs):
            if isinstance(layer.op, Conv2d | Dense):
                rates[layer.name] = _rate(_read(layer, values))
            elif isinstance(layer.op, SumPool2d | AvgPool2d | MaxPool2d | Concat):
                values[layer.name] = _passed_on(layer.op, _read(layer, values))
    return rates


def _read(layer: Layer, values: Mapping[str, _Values]) -> _Values:
    """The layer's inputs, joined or added, over one divisor."""
    inputs = {name: values[name] for name in layer.inputs}
    divisor = lcm(*(one.divisor for one in inputs.values()))
    whole = {name: one.whole * (divisor // one.divisor) for name, one in inputs.items()}
    return _Values(gathered(layer, whole, channels=2), divisor, all(one.of_input for one in inputs.values()))


def _passed_on(op: SumPool2d | AvgPool2d | MaxPool2d | Concat, x: _Values) -> _Values:
    if isinstance(op, Concat):
        return x
    # the sum over a window is the mean times its size, which stays whole
    window = 1 if isinstance(op, MaxPool2d) else op.kernel[0] * op.kernel[1]
    flat = x.whole.reshape(-1, *x.whole.shape[2:])
    pooled = apply(op if isinstance(op, MaxPool2d) else SumPool2d(op.kernel), flat)
    return _Values(pooled.reshape(*x.whole.shape[:2], *pooled.shape[1:]), x.divisor * window, x.of_input)


def _rate(x: _Values) -> Fraction:
    if x.of_input:
        return Fraction(int(np.count_nonzero(x.whole)), x.whole.size)
    return Fraction(int(x.whole.sum()), x.divisor * x.whole.size)
