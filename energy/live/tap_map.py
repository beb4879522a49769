# SPDX-License-Identifier: Apache-2.0
"""A fan-out map laid out for exact sums of the synapses that a layer's input reaches."""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
import torch

from spikefold.energy.live.kernels import of_binary, of_events, of_nonzero
from spikefold.energy.live.values import EXACT_FLOAT32, Tag, Values, flat, looked_at
from spikefold.export.fanout import Connections


class Counted(NamedTuple):
    """What one input of a layer costs, for one output channel of its group.

    Attributes:
        tag: what the input is.
        pairs: synapses with an input other than zero.
        events: absolute values, as events, times their synapses; the pairs again for analog input.
        non_binary: values that are neither 0 nor 1.
    """

    tag: Tag
    pairs: int
    events: int
    non_binary: int


class TapMap:
    """The map of one layer and input size.

    Args:
        taps: synapses of each position for one output channel, any shape.
        dense_padded: operations of one dense pass over a frame, padding included.
        device: of the input.

    Attributes:
        total: the sum of the taps.
    """

    def __init__(self, taps: np.ndarray, dense_padded: int, device: torch.device) -> None:
        self.dense_padded, self.total = dense_padded, int(taps.sum())
        self._positions = taps.size
        self._largest = int(taps.max()) if taps.size else 0
        self._uniform = self.total == self._largest * taps.size
        self._wide = taps.reshape(-1).astype(np.float64)
        self._narrow = self._wide.astype(np.float32)
        self._device = device

    def count(self, x: torch.Tensor, tag: Tag | None) -> Counted:
        """Count an input ``(..., positions)``, or of any shape that flattens to it; ``tag`` if one is known."""
        if tag is not None and tag.ones >= 0 and (self._uniform or not tag.ones):
            return Counted(tag, tag.ones * self._largest, tag.ones * self._largest, 0)
        if not x.is_cpu or x.is_complex() or not x.numel():
            return self._by_torch(x, tag if tag is not None and tag.kind else looked_at(x, tag))
        values = flat(x)
        if tag is None or tag.kind in ("", "binary"):
            ones, synapses = of_binary(values, self._exact(values, 1))
            if ones >= 0:
                zeros = tag.zeros if tag is not None else ()
                found = tag if tag is not None and tag.kind else Tag("binary", 1, zeros, 1, ones)
                return Counted(found, synapses, synapses, 0)
            tag = looked_at(x, tag)
        if tag.kind == "analog":
            pairs, others = of_nonzero(values, self._exact(values, 1))
            return Counted(tag, pairs, pairs, others)
        pairs, events, others = of_events(values, self._exact(values, tag.most), values.dtype.type(tag.factor))
        return Counted(tag, pairs, events, others)

    def _by_torch(self, x: torch.Tensor, tag: Tag) -> Counted:
        """The same on any device; a tensor without a single value has no rows."""
        if not x.numel():
            return Counted(tag, 0, 0, 0)
        values = Values(x, tag)
        pairs = self._product(values.nonzero, 1)
        events = pairs if tag.kind in ("binary", "analog") else self._product(values.magnitudes, tag.most)
        return Counted(tag, pairs, events, values.non_binary)

    def _product(self, values: torch.Tensor, most: int) -> int:
        rows = values.reshape(-1, self._positions)
        if rows.dtype == torch.float32 and self._fits_narrow(most):
            return int(torch.mv(rows, self._narrow_there).sum(dtype=torch.float64).item())
        return int(torch.mv(rows.double(), self._wide_there).to(torch.int64).sum().item())

    @cached_property
    def _narrow_there(self) -> torch.Tensor:
        return torch.from_numpy(self._narrow).to(self._device)

    @cached_property
    def _wide_there(self) -> torch.Tensor:
        return torch.from_numpy(self._wide).to(self._device)

    def _exact(self, values: np.ndarray, most: int) -> np.ndarray:
        """The map in a dtype in which every sum of a row is exact; no value is larger than ``most``."""
        return self._narrow if values.dtype == np.float32 and self._fits_narrow(most) else self._wide

    def _fits_narrow(self, most: int) -> bool:
        return 0 < most * self._largest * self._positions < EXACT_FLOAT32


@lru_cache(maxsize=512)
def tap_map(connections: Connections | None, spatial: tuple[int, ...], device: torch.device) -> TapMap:
    """The map of a convolution, or of a dense layer: one for each output from everywhere."""
    if connections is None:
        return TapMap(np.ones(spatial), 0, device)
    return TapMap(connections.taps(spatial), connections.dense_padded(spatial), device)
