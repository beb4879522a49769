# SPDX-License-Identifier: Apache-2.0
"""Brings batch norm, mean pool and gate between weights and neurons into that order, in which the folds take them.

Equations, each per channel: batch norm and gate are affine, a mean is linear and keeps constants, so ::

    norm(mean(x)) = mean(norm(x))        mean(g x) = g mean(x)
    norm(g x) = s g x + (beta - s mean_c)   with s = gamma / sqrt(var + eps): the gate goes into the batch norm

Precondition: none; what does not follow a weight layer one to one is left where it is, and a gate per neuron
``(C, H, W)`` as well, which commutes with neither: the folds name it. Exact in real numbers, in float64 to its
rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from spikefold.export.network import INPUT, Layer, Network
from spikefold.export.ops import AvgPool2d, BatchNorm, Conv2d, Dense, Gate
from spikefold.export.passes.network_pass import network_pass

STEP = "norms_first"


@network_pass(STEP)
def norms_first(network: Network) -> Sequence[Layer]:
    """The same function, its batch norms directly behind the weights and its gates last."""
    done = network
    while (better := _improved(done)) is not None:
        done = better
    return done.layers


def _improved(network: Network) -> Network | None:
    """One pair of neighbours the right way round; None where all are."""
    for second in network:
        first = _before(network, second)
        if first is None or not _follows_weights(network, first):
            continue
        by_channel = isinstance(first.op, Gate) and first.op.scale.ndim == 1
        if isinstance(first.op, Gate) and by_channel and isinstance(second.op, BatchNorm):
            return _absorbed(network, first, replace(second, op=_scaled(second.op, first.op.scale)))
        late = isinstance(first.op, AvgPool2d) and isinstance(second.op, BatchNorm)
        if late or (by_channel and isinstance(second.op, AvgPool2d)):
            return _swapped(network, first, second)
    return None


def _before(network: Network, layer: Layer) -> Layer | None:
    if len(layer.inputs) != 1 or layer.inputs == (INPUT,) or len(network.consumers(layer.inputs[0])) != 1:
        return None
    return network[layer.inputs[0]]


def _follows_weights(network: Network, layer: Layer | None) -> bool:
    while layer is not None and isinstance(layer.op, BatchNorm | Gate | AvgPool2d):
        layer = _before(network, layer)
    return layer is not None and isinstance(layer.op, Conv2d | Dense)


def _scaled(norm: BatchNorm, factor: np.ndarray) -> BatchNorm:
    shift = norm.beta - norm.gamma / np.sqrt(norm.var + norm.eps) * norm.mean
    return replace(norm, gamma=norm.gamma * factor, beta=shift, mean=np.zeros_like(norm.mean))


def _absorbed(network: Network, gone: Layer, taken: Layer) -> Network:
    taken = replace(taken, inputs=gone.inputs, source=f"{gone.source} + {taken.source}")
    layers = [taken if layer.name == taken.name else layer for layer in network if layer.name != gone.name]
    return replace(network, layers=tuple(layers))


def _swapped(network: Network, first: Layer, second: Layer) -> Network:
    layers = []
    for layer in network:
        if layer.name == first.name:
            layer = replace(second, inputs=first.inputs)
        elif layer.name == second.name:
            layer = replace(first, inputs=(second.name,))
        else:
            inputs = tuple(first.name if name == second.name else name for name in layer.inputs)
            layer = replace(layer, inputs=inputs)
        layers.append(layer)
    return replace(network, layers=tuple(layers))
