# SPDX-License-Identifier: Apache-2.0
"""Folds batch norm into the convolutions or dense layers *behind* it: batch norm on the input or on spikes.

Equation, with ``s = gamma / sqrt(var + eps)`` and the shift ``t = beta - s mean``, one of each per input channel::

    W (s x + t) + b  =  (W s) x + (b + sum_c t_c sum W[:, c])

A mean pool between the two commutes with both; a sum pool over k x k multiplies the shift by k^2.

Precondition: each reader, through such pools, is a weight layer that reads nothing else; and it pads nothing or the
shift is 0, for a padded convolution adds its zeros *behind* the batch norm: the border would get the folded bias, and
has none. Batch norms that follow a weight layer are left to `fold_batchnorm`; this pass runs before it, while pools
still stand. Exact in real numbers, in float64 to its rounding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from spikefold.errors import Issue, UnsupportedError
from spikefold.export.network import INPUT, Layer, Network
from spikefold.export.ops import AvgPool2d, BatchNorm, Conv2d, Dense, Gate, SumPool2d
from spikefold.export.passes.network_pass import network_pass
from spikefold.export.passes.rewrite import by_input

STEP = "fold_batchnorm_before"


@network_pass(STEP)
def fold_batchnorm_before(network: Network) -> Sequence[Layer]:
    """The same function without any `BatchNorm` but those that follow a weight layer.

    Raises:
        UnsupportedError: with every batch norm that has such a reader, or none that could take it.
    """
    done, issues = network, []
    for layer in reversed(network.layers):
        if isinstance(layer.op, BatchNorm) and not _follows_weights(network, layer):
            found = list(_problems(done, layer, layer.op))
            issues += found
            done = done if found else _without(done, layer, layer.op)
    if issues:
        raise UnsupportedError(f"{STEP} cannot fold every BatchNorm", issues=issues[::-1])
    return done.layers


def _follows_weights(network: Network, layer: Layer) -> bool:
    while len(layer.inputs) == 1 and layer.inputs != (INPUT,):
        layer = network[layer.inputs[0]]
        if not isinstance(layer.op, BatchNorm | Gate | AvgPool2d):
            return isinstance(layer.op, Conv2d | Dense)
    return False


def _readers(network: Network, name: str, gain: int = 1) -> Iterator[tuple[Layer, int]]:
    """Who reads this layer, through pools, and by how much the pools multiply a constant."""
    for reader in network.consumers(name):
        if isinstance(reader.op, AvgPool2d | SumPool2d) and len(reader.inputs) == 1:
            area = reader.op.kernel[0] * reader.op.kernel[1] if isinstance(reader.op, SumPool2d) else 1
            yield from _readers(network, reader.name, gain * area)
        else:
            yield reader, gain


def _affine(norm: BatchNorm) -> tuple[np.ndarray, np.ndarray]:
    scale = norm.gamma / np.sqrt(norm.var + norm.eps)
    return scale, norm.beta - scale * norm.mean


def _problems(network: Network, layer: Layer, norm: BatchNorm) -> Iterator[Issue]:
    shift = _affine(norm)[1]
    for reader, _ in _readers(network, layer.name):
        if not isinstance(reader.op, Conv2d | Dense):
            hint = "put the batch norm directly behind a convolution or dense layer"
            got = f"{reader.name} ({type(reader.op).__name__}) reads it"
            yield Issue(STEP, layer.name, got, "weight layers", hint)
        elif len(reader.inputs) != 1:
            hint = "normalise all inputs of that layer or none"
            yield Issue(STEP, layer.name, f"{reader.name} reads {list(reader.inputs)}", "nothing else", hint)
        elif isinstance(reader.op, Conv2d) and reader.op.padding != (0, 0) and shift.any():
            worst = int(np.abs(shift).argmax())
            got = f"shift {shift[worst]:.3g} in channel {worst}, and {reader.name} pads {reader.op.padding}"
            yield Issue(STEP, layer.name, got, "shift 0 or padding 0", "put the batch norm behind the convolution")


def _without(network: Network, layer: Layer, norm: BatchNorm) -> Network:
    scale, shift = _affine(norm)
    readers = {reader.name: gain for reader, gain in _readers(network, layer.name)}
    layers = []
    for other in network:
        if other.name == layer.name:
            continue
        if other.name in readers and isinstance(other.op, Conv2d | Dense):
            op, shape = other.op, network.input_shape(other)
            shifted = op.weight * by_input(op, shift * readers[other.name], shape)
            added = shifted.sum(axis=tuple(range(1, shifted.ndim)))
            bias = op.bias if not shift.any() else added if op.bias is None else op.bias + added
            op = replace(op, weight=op.weight * by_input(op, scale, shape), bias=bias)
            other = replace(other, op=op, source=f"{layer.source} + {other.source}")
        inputs = [source for name in other.inputs for source in (layer.inputs if name == layer.name else (name,))]
        layers.append(replace(other, inputs=tuple(inputs)))
    return replace(network, layers=tuple(layers))
