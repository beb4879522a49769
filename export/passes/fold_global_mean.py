# SPDX-License-Identifier: Apache-2.0
"""Folds a mean of spikes over the whole map into the dense layer behind it.

Equation: with a map of ``A = H W`` positions, ``W (1/A sum_p x_p) + b  =  (W ... W) / A (x_1 ... x_A) + b``, each
column of the dense layer repeated for every position.

It takes A times the weights, and no chip need pool; where a chip sums spikes over such a window, `fold_spike_pooling`
is smaller. So it is no part of `fold`, and comes before it.

Precondition: the pool reads spikes, its window is the whole map, and dense layers that read nothing else read it; any
other pool stays. Exact in real numbers; in float64 each weight is rounded once more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from spikefold.export.network import INPUT, Layer, Network
from spikefold.export.neuron import Neuron
from spikefold.export.ops import AvgPool2d, Dense
from spikefold.export.passes.network_pass import network_pass

STEP = "fold_global_mean"


@network_pass(STEP)
def fold_global_mean(network: Network) -> Sequence[Layer]:
    """The same function without any `AvgPool2d` over a whole map of spikes before dense layers."""
    means = {layer.name: layer for layer in network if _folds(network, layer)}
    layers = []
    for layer in network:
        mean = means.get(layer.inputs[0])
        if mean is not None and isinstance(layer.op, Dense):
            _, height, width = network.input_shape(mean)
            weight = np.repeat(layer.op.weight, height * width, axis=1) / (height * width)
            source = f"{mean.source} + {layer.source}"
            layers.append(replace(layer, op=replace(layer.op, weight=weight), inputs=mean.inputs, source=source))
        elif layer.name not in means:
            layers.append(layer)
    return layers


def _folds(network: Network, layer: Layer) -> bool:
    if not isinstance(layer.op, AvgPool2d) or layer.op.kernel != network.input_shape(layer)[1:]:
        return False
    spikes = all(name == INPUT or isinstance(network[name].op, Neuron) for name in layer.inputs)
    readers = network.consumers(layer.name)
    return spikes and bool(readers) and all(la.inputs == (layer.name,) and isinstance(la.op, Dense) for la in readers)
