# SPDX-License-Identifier: Apache-2.0
"""Fold a static attention gate into the convolution or dense layer before it.

Equation: ``s_c (W x + b)_c = (s_c W_c) x + s_c b_c``.

Precondition: the gate's only input is a weight layer that nothing else reads (fold batch norm and pooling first: a
factor per channel commutes with both). Exact in real numbers. How well the static gate stands for the dynamic one is
measured where it is calibrated, `spikefold.train.gates`.
"""

from __future__ import annotations

from spikefold.export.network import Layer, Network
from spikefold.export.ops import Conv2d, Dense, Gate
from spikefold.export.passes.rewrite import merge_into_previous, scaled

STEP = "fold_attention"


def fold_attention(network: Network) -> Network:
    """The same function without any `Gate`.

    Raises:
        UnsupportedError: a gate that does not follow a weight layer of its own.
    """
    return merge_into_previous(network, Gate, _merge, STEP)


def _merge(weights: Layer, gate: Gate) -> Conv2d | Dense:
    return scaled(weights, gate.scale)
