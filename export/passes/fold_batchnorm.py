# SPDX-License-Identifier: Apache-2.0
"""Folds batch norm into the convolution or dense layer before it.

Equation::

    gamma (W x + b - mean) / sqrt(var + eps) + beta  =  (s W) x + (s (b - mean) + beta)
    with s = gamma / sqrt(var + eps)

Precondition: the batch norm's only input is a weight layer that nothing else reads. Exact in real numbers; in float64
to rounding. ``eps`` counts: leaving it out (sinabs 3.1.3 ``merge_bn``) scales a channel of variance 1e-4 by 5 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from spikefold.export.network import Layer, Network
from spikefold.export.ops import BatchNorm, Conv2d, Dense
from spikefold.export.passes.network_pass import network_pass
from spikefold.export.passes.rewrite import merge_into_previous, scaled

STEP = "fold_batchnorm"


@network_pass(STEP)
def fold_batchnorm(network: Network) -> Sequence[Layer]:
    """The same function without any `BatchNorm`.

    Raises:
        UnsupportedError: a batch norm that does not follow a weight layer of its own.
    """
    return merge_into_previous(network, BatchNorm, _merge, STEP)


def _merge(weights: Layer, norm: BatchNorm) -> Conv2d | Dense:
    scale = norm.gamma / np.sqrt(norm.var + norm.eps)
    op = scaled(weights, scale)
    bias = 0.0 if op.bias is None else op.bias
    return replace(op, bias=bias + norm.beta - scale * norm.mean)
