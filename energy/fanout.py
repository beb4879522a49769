# SPDX-License-Identifier: Apache-2.0
"""How many synapses leave each input position of a layer, borders, stride, dilation and groups included.

A spike at position p costs ``F(p)`` operations, with F the product over dimensions of::

    f(i) = #{k in [0, K): stride divides i + pad - k * dilation, and the quotient is in [0, outputs)}

times the output channels of its group. With a stride, F is not constant even in the interior, so a firing rate times
the dense operations is not the number of operations. One product with this map gives exact counts.
"""

from __future__ import annotations

import numpy as np

from spikefold.errors import UnsupportedError
from spikefold.export.ops import Conv2d, Dense, Shape


def fanout(op: Conv2d | Dense, shape: Shape) -> np.ndarray:
    """Synapses that leave each input position, ``(H, W)`` int64, equal for every input channel.

    Args:
        op: the layer.
        shape: its input ``(C, H, W)``.
    """
    if isinstance(op, Dense):
        return np.full(shape[1:], op.weight.shape[0], np.int64)
    if not isinstance(op, Conv2d):
        raise UnsupportedError(f"{type(op).__name__} has no synapses", hint="count weight layers only")
    _, *outputs = op.output_shape(shape)
    rows, columns = (
        _taps(shape[1 + axis], outputs[axis], op.weight.shape[2 + axis], op.stride[axis], op.padding[axis],
              op.dilation[axis])
        for axis in (0, 1)
    )  # fmt: skip
    return np.outer(rows, columns) * (op.weight.shape[0] // op.groups)


def _taps(size: int, outputs: int, kernel: int, stride: int, padding: int, dilation: int) -> np.ndarray:
    """``f(i)`` for one dimension, ``(size,)``."""
    reach = np.arange(size)[:, None] + padding - np.arange(kernel)[None, :] * dilation
    hits = (reach % stride == 0) & (reach >= 0) & (reach // stride < outputs)
    return np.asarray(hits.sum(axis=1, dtype=np.int64))


def dense_padded(op: Conv2d | Dense, shape: Shape) -> int:
    """Operations of one dense pass as most tools count them: every tap of every output, padding included."""
    if isinstance(op, Dense):
        return int(op.weight.size)
    c_out, height, width = op.output_shape(shape)
    return int(op.weight[0].size) * c_out * height * width
