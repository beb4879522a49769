# SPDX-License-Identifier: Apache-2.0
"""A batch norm whose four vectors are the rows of one array."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from spikefold.export.ops import BatchNorm


def batch_norm(rows: Iterable[np.ndarray], eps: float = 1e-5) -> BatchNorm:
    """The batch norm with gamma, beta, mean and variance in that order."""
    gamma, beta, mean, var = rows
    return BatchNorm(gamma, beta, mean, var, eps)
