# SPDX-License-Identifier: Apache-2.0
"""How the map of a convolution is cut over cores: blocks of channels, rows and columns, one block a core.

A map that is cut along W is cut into blocks of equal width, and the last one keeps that width where the map ends
inside it: the counters of the chip show that its core also works for the columns beyond the right border.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

from spikefold.errors import NetworkError
from spikefold.export.nonzero_fanout import Block
from spikefold.export.ops import Shape


@dataclass(frozen=True)
class TileSize:
    """Channels, rows and columns of the block of one core.

    Raises:
        NetworkError: one of them is below 1.
    """

    channels: int
    rows: int
    columns: int

    def __post_init__(self) -> None:
        if min(self.channels, self.rows, self.columns) < 1:
            raise NetworkError(f"a core that holds {self} of a map", hint="give at least one of each")

    @property
    def neurons(self) -> int:
        """Neurons of a full block."""
        return self.channels * self.rows * self.columns

    def cores(self, shape: Shape) -> int:
        """Cores that a map ``(C, H, W)`` takes."""
        return -(-shape[0] // self.channels) * -(-shape[1] // self.rows) * -(-shape[2] // self.columns)


@dataclass(frozen=True)
class Tile:
    """What one core holds.

    Attributes:
        held: the block of neurons, within the map.
        worked: the block of outputs for which it works: along W as wide as any other block, also beyond the border.
    """

    held: Block
    worked: Block

    @property
    def neurons(self) -> int:
        """Neurons on the core."""
        return self.held.size


def tiles_of(shape: Shape, size: TileSize) -> tuple[Tile, ...]:
    """The blocks of a map ``(C, H, W)``: channels outermost, then rows, then columns.

    Only the columns of a map that is cut along W go on beyond the border.
    """
    channels, rows, columns = (
        _spans(length, part) for length, part in zip(shape, (size.channels, size.rows, size.columns), strict=True)
    )
    cut = len(columns) > 1
    found = []
    for channel, row, column in product(channels, rows, columns):
        wide = (column[0], column[0] + size.columns) if cut else column
        found.append(Tile(Block(channel, row, column), Block(channel, row, wide)))
    return tuple(found)


def _spans(length: int, part: int) -> list[tuple[int, int]]:
    return [(start, min(start + part, length)) for start in range(0, length, part)]
