# SPDX-License-Identifier: Apache-2.0
"""Replaces max pools of spikes by sum pools, for chips without max pools. NOT the same function: train it again.

Equation: ``max_i x_i`` becomes ``sum_i x_i``, or with ``mean`` the mean, its ``1 / k^2`` in the next weights
(`fold_spike_pooling`). The three agree in no more than this: all are 0 together, and the sum is the max where at most
one spike falls into a window in a step. A sum drives the next layer up to ``k^2`` times too hard, a mean too weakly.

Precondition: each max pool reads neurons or the input, through pools, `Concat` and sums of such. Bound: none on the
spikes; on what a reader gets, ``max <= sum <= k^2 max`` and ``max / k^2 <= mean <= max``. Where every spike must be
kept, use `maxpool_to_or`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from spikefold.errors import Issue, UnsupportedError
from spikefold.export.network import INPUT, Layer, Network
from spikefold.export.neuron import Neuron
from spikefold.export.ops import AvgPool2d, Concat, MaxPool2d, SumPool2d
from spikefold.export.passes.fold_spike_pooling import fold_spike_pooling
from spikefold.export.passes.network_pass import network_pass

STEP = "maxpool_to_sumpool"


def maxpool_to_sumpool(network: Network, *, mean: bool = False) -> Network:
    """ANOTHER function without any `MaxPool2d`; with ``mean``, the next weights are divided by the window's area.

    Raises:
        UnsupportedError: with every max pool that reads something else than spikes; a mean in an integer network.
    """
    replaced = _replaced(network, mean)
    return fold_spike_pooling(replaced) if mean and replaced is not network else replaced


@network_pass(STEP)
def _replaced(network: Network, mean: bool) -> Sequence[Layer]:
    spikes = {INPUT}
    layers, issues = [], []
    for layer in network:
        op, reads = layer.op, all(name in spikes for name in layer.inputs)
        if isinstance(op, Neuron) or (reads and isinstance(op, AvgPool2d | SumPool2d | MaxPool2d | Concat)):
            spikes.add(layer.name)
        if isinstance(op, MaxPool2d):
            if not reads:
                hint = "put the pool behind the neurons"
                issues.append(Issue(STEP, layer.name, f"reads {list(layer.inputs)}", "spikes", hint))
            elif mean and network.is_integer:
                hint = "divide before quantising"
                issues.append(Issue(STEP, layer.name, "a mean in an integer network", "a sum", hint))
            layer = replace(layer, op=AvgPool2d(op.kernel) if mean else SumPool2d(op.kernel))
        layers.append(layer)
    if issues:
        raise UnsupportedError(f"{STEP} cannot replace every MaxPool2d", issues=issues)
    return layers
