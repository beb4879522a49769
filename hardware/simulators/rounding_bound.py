# SPDX-License-Identifier: Apache-2.0
"""Bounds how far float64 can move a neuron's current: the sum M of absolute values, and the number n of roundings.

Both are those of `flips`, whose docstring has the derivation.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from spikefold.export.network import INPUT, Network, SpikingLayer
from spikefold.export.ops import AvgPool2d, BatchNorm, Conv2d, Dense, Gate, SumPool2d
from spikefold.hardware.simulators.reference import apply, gathered

_U = 2.0**-53


class Majorant:
    """For each spiking layer, the sum of the absolute values of all monomials in the current of one step."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.ops = {layer.name: _absolute(layer.op) for layer in network}

    def step(self, frame: np.ndarray, spikes: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The bound on each spiking layer's current for a frame ``(N, C, H, W)`` and the spikes that were fired."""
        values, currents = {INPUT: np.abs(frame).astype(np.float64)}, {}
        for layer in self.network:
            x = gathered(layer, values)
            if isinstance(layer, SpikingLayer):
                currents[layer.name], values[layer.name] = x * 2.0**layer.neuron.state_shift, spikes[layer.name]
            else:
                values[layer.name] = apply(self.ops[layer.name], x)
        return currents


def _absolute(op: object) -> object:
    """The operation that turns a bound on its input into one on its output."""
    match op:
        case Conv2d():
            bias = None if op.bias is None else np.abs(op.bias)
            return Conv2d(np.abs(op.weight), bias, op.stride, op.padding, op.dilation, op.groups)
        case Dense():
            return Dense(np.abs(op.weight), None if op.bias is None else np.abs(op.bias))
        case BatchNorm():
            return BatchNorm(np.abs(op.gamma), np.abs(op.beta), -np.abs(op.mean), op.var, op.eps)
    return op


def depths_of(network: Network) -> dict[str, int]:
    """By spiking layer, the most roundings between the spikes it reads and its current."""
    depth, found = {INPUT: 0}, {}
    for layer in network:
        reads = max(depth[name] for name in layer.inputs) + len(layer.inputs) - 1  # one sum for each further input
        if isinstance(layer, SpikingLayer):
            found[layer.name], depth[layer.name] = reads, 0
        else:
            depth[layer.name] = reads + _roundings_of(layer.op)
    return found


def _roundings_of(op: object) -> int:
    match op:
        case Conv2d() | Dense():
            return op.weight[0].size + 1  # a product, at most one sum less than there are products, the bias
        case BatchNorm():
            return 6  # var + eps, root, quotient, x - mean, product, + beta
        case Gate():
            return 1
        case AvgPool2d() | SumPool2d():
            return op.kernel[0] * op.kernel[1]
    return 0


def gamma(n: int) -> float:
    """The relative error of n roundings, ``n u / (1 - n u)`` with ``u = 2^-53``."""
    return n * _U / (1 - n * _U)
