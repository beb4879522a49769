# SPDX-License-Identifier: Apache-2.0
"""Makes a max pool of binary spikes a layer of neurons: the largest of zeros and ones is their OR.

Equation: for ``x_i`` in {0, 1}, ``max_i x_i = [sum_i x_i >= 1]``. So a depthwise convolution of ones, kernel and
stride the window, then integrate-and-fire neurons of threshold 1 that fire at equality, at most once a step, and are
reset to zero: a state that reaches 1 fires and is 0 again, one that does not is 0, so nothing outlives its step.

Precondition: each max pool reads one layer of neurons with at most one spike a step, an input of at most one event,
another such max pool, or a `Concat` of them. Before quantising, which gives the new neurons the chip's numbers.
Exact, in every spike. The new neurons are a layer of their own in a trace, under the pool's name.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spikefold.errors import Issue, UnsupportedError
from spikefold.export.network import INPUT, Layer, Network
from spikefold.export.neuron import Neuron
from spikefold.export.ops import Concat, Conv2d, MaxPool2d
from spikefold.export.passes.expand_kernels import full_kernel
from spikefold.export.passes.network_pass import network_pass

STEP = "maxpool_to_or"


@network_pass(STEP)
def maxpool_to_or(network: Network, *, groups: bool = True) -> Sequence[Layer]:
    """The same function without any `MaxPool2d`.

    Args:
        network: real or integer.
        groups: a kernel per channel; without, one full of zeros, for chips without groups (Speck).

    Raises:
        UnsupportedError: with every max pool whose input may be something else than 0 and 1.
    """
    binary = {INPUT: network.input.max_count == 1}
    number = np.int64 if network.is_integer else np.float64
    layers, issues = [], []
    for layer in network:
        op = layer.op
        alone = len(layer.inputs) == 1 or isinstance(op, Concat)
        reads = alone and all(binary[name] for name in layer.inputs)
        passes_on = reads and isinstance(op, MaxPool2d | Concat)
        binary[layer.name] = op.max_spikes == 1 if isinstance(op, Neuron) else passes_on
        if not isinstance(op, MaxPool2d):
            layers.append(layer)
        elif reads:
            channels = network.shapes[layer.name][0]
            weight = np.ones((channels, 1, *op.kernel), number)
            conv = Conv2d(weight, stride=op.kernel, groups=channels)
            if not groups:
                conv = Conv2d(full_kernel(conv), stride=op.kernel)
            layers.append(Layer(f"{layer.name}.or", conv, layer.inputs, layer.source))
            layers.append(Layer(layer.name, Neuron(np.array(1, number)), (f"{layer.name}.or",), layer.source))
        else:
            hint = "train with one spike a step, or replace it by a sum pool and train again (maxpool_to_sumpool)"
            got = f"reads {list(layer.inputs)}, which may be other than 0 and 1"
            issues.append(Issue(STEP, layer.name, got, "one layer of binary spikes", hint))
    if issues:
        raise UnsupportedError(f"{STEP} cannot replace every MaxPool2d", issues=issues)
    return layers
