# SPDX-License-Identifier: Apache-2.0
"""Folds sum pools into the weights that read them, for chips without pools, or without those in some places.

Equation: with kernel ``k``, stride ``s``, padding ``p``, dilation ``d`` and a sum over ``q x q``, in each dimension::

    K[j d q + i] = k[j]   for i = 0..q-1,   stride s q,  padding p q,  dilation 1

A dense layer repeats each of its columns over the window. A chain of pools is folded one after the other, and a layer
that reads several pools of one size reads what they read.

Precondition: no window of the convolution reaches a row that the pool drops at the border; a pool for which that is
not so stays, and so does one that something else than a weight layer reads. Exact: each weight is copied, none is
rounded. One synapse becomes ``q^2``, and operations do not change: a spike of a window used to be one of a sum.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from spikefold.export.network import INPUT, Layer, Network, WeightLayer
from spikefold.export.ops import Conv2d, Dense, Pair, Shape, SumPool2d
from spikefold.export.passes.network_pass import network_pass

STEP = "pool_into_weights"


@network_pass(STEP)
def pool_into_weights(network: Network, *, only: Collection[str] | None = None) -> Sequence[Layer]:
    """The same function without those `SumPool2d` that weight layers read.

    Args:
        network: real or integer.
        only: names of pools; a layer that reads none of them keeps its pools. None: all of them.
    """
    layers = [_without_pools(network, layer, only) for layer in network]
    read = {name for layer in layers for name in layer.inputs}
    while True:
        kept = [la for la in layers if not isinstance(la.op, SumPool2d) or la.name in read or la is layers[-1]]
        if len(kept) == len(layers):
            return layers
        layers = kept
        read = {name for layer in layers for name in layer.inputs}


def _without_pools(network: Network, layer: Layer, only: Collection[str] | None) -> Layer:
    if not isinstance(layer, WeightLayer):
        return layer
    op, inputs = layer.op, layer.inputs
    while INPUT not in inputs:
        pools = [network[name] for name in inputs]
        windows = {pool.op.kernel if isinstance(pool.op, SumPool2d) else (1, 1) for pool in pools}
        behind = tuple(name for pool in pools for name in pool.inputs)
        whole = len(windows) == 1 and all(isinstance(pool.op, SumPool2d) for pool in pools)
        meant = only is None or _leads_to(network, inputs, only)
        if not whole or len(set(behind)) < len(behind) or not meant:
            break
        made = _widened(op, windows.pop(), network.input_shape(pools[0]))
        if made is None:
            break
        op, inputs = made, behind
    return layer if op is layer.op else replace(layer, op=op, inputs=inputs)


def _leads_to(network: Network, names: Collection[str], only: Collection[str]) -> bool:
    """Whether one of these is meant, or a pool that it reads through pools."""
    return any(
        name in only
        or (
            name != INPUT
            and isinstance(network[name].op, SumPool2d)
            and _leads_to(network, network[name].inputs, only)
        )
        for name in names
    )


def _widened(op: Conv2d | Dense, pool: Pair, shape: Shape) -> Conv2d | Dense | None:
    """The operation on the pool's own input ``(C, H, W)``; None where it would read rows that the pool drops."""
    sides = shape[1] // pool[0], shape[2] // pool[1]
    if isinstance(op, Dense):
        columns = op.weight.reshape(len(op.weight), shape[0], *sides)
        columns = np.repeat(np.repeat(columns, pool[0], axis=2), pool[1], axis=3)
        rest = [(0, shape[1 + axis] - sides[axis] * pool[axis]) for axis in (0, 1)]
        columns = np.pad(columns, ((0, 0), (0, 0), *rest))
        return replace(op, weight=columns.reshape(len(op.weight), -1))
    kernel = op.weight
    for axis in (0, 1):
        dilation = op.dilation[axis]
        reach = (kernel.shape[2 + axis] - 1) * dilation
        free = sides[axis] + 2 * op.padding[axis] - reach - 1
        last = free // op.stride[axis] * op.stride[axis] - op.padding[axis] + reach
        if shape[1 + axis] % pool[axis] and last >= sides[axis]:
            return None
        kernel = _repeated(kernel, 2 + axis, dilation, pool[axis])
    stride = op.stride[0] * pool[0], op.stride[1] * pool[1]
    padding = op.padding[0] * pool[0], op.padding[1] * pool[1]
    return replace(op, weight=kernel, stride=stride, padding=padding, dilation=(1, 1))


def _repeated(kernel: np.ndarray, axis: int, dilation: int, pool: int) -> np.ndarray:
    taps = kernel.shape[axis]
    shape = list(kernel.shape)
    shape[axis] = ((taps - 1) * dilation + 1) * pool
    larger = np.zeros(shape, kernel.dtype)
    target, source = np.moveaxis(larger, axis, 0), np.moveaxis(kernel, axis, 0)
    for tap in range(taps):
        target[tap * dilation * pool : (tap * dilation + 1) * pool] = source[tap]
    return larger
