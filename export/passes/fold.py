# SPDX-License-Identifier: Apache-2.0
"""Runs all folds, in the one order in which none of them finds what another should have taken first.

Batch norm on spikes or on the input goes into the weights behind it while its pools still stand, and means of spikes
become sums; then, between weights and neurons, batch norm, mean pool and gate are brought in this order and go into
the weights before them. Left are convolutions, dense layers, neurons, sum and max pools. Each step is exact in real
numbers, and a run proves each on its own. Max pools stay: what replaces them is the chip's affair (`maxpool_to_or`).
"""

from __future__ import annotations

from collections.abc import Callable

from spikefold.export.network import Network
from spikefold.export.passes.fold_attention import fold_attention
from spikefold.export.passes.fold_batchnorm import fold_batchnorm
from spikefold.export.passes.fold_batchnorm_before import fold_batchnorm_before
from spikefold.export.passes.fold_pooling import fold_pooling
from spikefold.export.passes.fold_spike_pooling import fold_spike_pooling
from spikefold.export.passes.norms_first import norms_first

Pass = Callable[[Network], Network]
FOLDS: tuple[Pass, ...] = (
    fold_batchnorm_before,
    fold_spike_pooling,
    norms_first,
    fold_batchnorm,
    fold_pooling,
    fold_attention,
)


def fold(network: Network) -> Network:
    """The same function from weights, neurons and pools alone.

    Raises:
        UnsupportedError: from the first pass that finds something it cannot fold.
    """
    for step in FOLDS:
        network = step(network)
    return network
