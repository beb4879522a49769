# SPDX-License-Identifier: Apache-2.0
"""How many synapses with a weight other than 0 leave each input position, towards all outputs or a block of them.

`fanout` counts connections, whatever their weights; a chip that stores only weights other than 0 does fewer
operations. The number then differs from channel to channel, so the map has the shape of the whole input. A block of
outputs is what one core holds; it may reach beyond the map, and then the taps that fall there are counted too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spikefold.errors import NetworkError
from spikefold.export.ops import Conv2d, Dense, Shape


@dataclass(frozen=True)
class Block:
    """A block of outputs, each side from (included) and to (excluded); a side may end beyond the map.

    Raises:
        NetworkError: a side is empty or starts below 0.
    """

    channels: tuple[int, int]
    rows: tuple[int, int]
    columns: tuple[int, int]

    def __post_init__(self) -> None:
        for start, stop in (self.channels, self.rows, self.columns):
            if not 0 <= start < stop:
                raise NetworkError(f"a block of outputs from {start} to {stop} holds nothing", hint="count from 0")

    @property
    def size(self) -> int:
        """Outputs in the block, those beyond the map included."""
        sides = [stop - start for start, stop in (self.channels, self.rows, self.columns)]
        return sides[0] * sides[1] * sides[2]


def nonzero_fanout(op: Conv2d | Dense, shape: Shape, block: Block | None = None) -> np.ndarray:
    """Synapses with a weight other than 0 that leave each input position, ``(C, H, W)`` int64.

    Args:
        op: the layer.
        shape: its input ``(C, H, W)``.
        block: the outputs that are meant; all by default.
    """
    outputs = op.output_shape(shape)
    if block is None:
        block = Block((0, outputs[0]), (0, outputs[1]), (0, outputs[2]))
    stored = op.weight != 0
    if isinstance(op, Dense):
        return np.count_nonzero(stored[slice(*block.channels)], axis=0).astype(np.int64).reshape(shape)
    wanted = np.zeros(len(stored), bool)
    wanted[slice(*block.channels)] = True
    stored &= wanted[:, None, None, None]
    # (groups, outputs of a group, inputs of a group, kH, kW): an input reaches the outputs of its own group
    taps = (
        stored.reshape(op.groups, -1, *stored.shape[1:])
        .sum(axis=1, dtype=np.int64)
        .reshape(shape[0], *stored.shape[2:])
    )
    rows = _reached(shape[1], op.weight.shape[2], op.stride[0], op.padding[0], op.dilation[0], block.rows)
    columns = _reached(shape[2], op.weight.shape[3], op.stride[1], op.padding[1], op.dilation[1], block.columns)
    return np.asarray(np.einsum("cij,iy,jx->cyx", taps, rows, columns))


def _reached(size: int, kernel: int, stride: int, padding: int, dilation: int, span: tuple[int, int]) -> np.ndarray:
    """Whether a tap takes an input position to an output of the span, ``(kernel, size)`` of 0 and 1."""
    reach = np.arange(size)[None, :] + padding - np.arange(kernel)[:, None] * dilation
    hits = (reach % stride == 0) & (reach // stride >= span[0]) & (reach // stride < span[1])
    return hits.astype(np.int64)
