# SPDX-License-Identifier: Apache-2.0
"""Synapses with a weight that is not 0, against a visit of every synapse; whole maps and blocks of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikefold.errors import NetworkError
from spikefold.export.fanout import fanout
from spikefold.export.nonzero_fanout import Block, nonzero_fanout
from spikefold.export.ops import Conv2d, Dense


def _visited(op: Conv2d, shape: tuple[int, int, int], block: Block) -> np.ndarray:
    """Every synapse of every output of the block, one by one; outputs beyond the map too."""
    found = np.zeros(shape, np.int64)
    outputs, into, rows, columns = op.weight.shape
    for o in range(*block.channels):
        first = o // (outputs // op.groups) * into
        for y in range(*block.rows):
            for x in range(*block.columns):
                for c in range(into):
                    for ky in range(rows):
                        for kx in range(columns):
                            py = y * op.stride[0] - op.padding[0] + ky * op.dilation[0]
                            px = x * op.stride[1] - op.padding[1] + kx * op.dilation[1]
                            if 0 <= py < shape[1] and 0 <= px < shape[2] and op.weight[o, c, ky, kx]:
                                found[first + c, py, px] += 1
    return found


@settings(derandomize=True, max_examples=40, deadline=None)
@given(
    st.integers(0, 2**20),
    st.integers(1, 3),
    st.integers(1, 2),
    st.integers(0, 1),
    st.integers(1, 2),
    st.integers(1, 2),
)
def test_every_synapse_with_a_weight_is_counted_once(
    seed: int, kernel: int, stride: int, padding: int, dilation: int, groups: int
) -> None:
    random = np.random.default_rng(seed)
    shape = (2 * groups, 7, 8)
    op = Conv2d(
        random.integers(-1, 2, (3 * groups, 2, kernel, kernel)),
        None,
        (stride, 1),
        (padding, 0),
        (1, dilation),
        groups,
    )
    outputs = op.output_shape(shape)
    everything = Block(*((0, one) for one in outputs))
    found = nonzero_fanout(op, shape)
    np.testing.assert_array_equal(found, _visited(op, shape, everything))
    assert found.sum() > 0 or not op.weight.any()
    wide = Block((1, outputs[0]), (0, max(1, outputs[1] // 2)), (outputs[2] - 1, outputs[2] + 3))
    np.testing.assert_array_equal(nonzero_fanout(op, shape, wide), _visited(op, shape, wide))


def test_without_zeros_it_is_the_fanout() -> None:
    op = Conv2d(np.ones((4, 2, 3, 3), np.int64), None, (2, 2), (1, 1))
    found = nonzero_fanout(op, (2, 9, 9))
    np.testing.assert_array_equal(found, np.broadcast_to(fanout(op, (2, 9, 9)), found.shape))
    dense = Dense(np.array([[1, 0, 2], [0, 0, 3]]))
    assert nonzero_fanout(dense, (3, 1, 1)).ravel().tolist() == [1, 0, 2]
    assert nonzero_fanout(dense, (3, 1, 1), Block((1, 2), (0, 1), (0, 1))).ravel().tolist() == [0, 0, 1]


def test_blocks_of_a_map_add_up_to_it() -> None:
    op = Conv2d(np.random.default_rng(0).integers(-1, 2, (4, 2, 3, 3)), None, (1, 2))
    channels, rows, columns = op.output_shape((2, 9, 11))
    parts = [
        nonzero_fanout(op, (2, 9, 11), Block((c, c + 2), (r, min(r + 3, rows)), (x, min(x + 2, columns))))
        for c in range(0, channels, 2) for r in range(0, rows, 3) for x in range(0, columns, 2)
    ]  # fmt: skip
    assert len(parts) > 4
    np.testing.assert_array_equal(sum(parts), nonzero_fanout(op, (2, 9, 11)))


def test_an_empty_block_is_refused() -> None:
    with pytest.raises(NetworkError, match="holds nothing"):
        Block((0, 1), (2, 2), (0, 1))
