# SPDX-License-Identifier: Apache-2.0
"""What the values of a tensor are (spikes, events, analog), and exact sums of them; any dtype, any size."""

from __future__ import annotations

import math
import weakref
from dataclasses import dataclass, replace

import numpy as np
import torch
from numba import njit

from spikefold.energy.live.profile_result import KINDS

EXACT_FLOAT32 = 2**24
BLOCK = 4096  # values looked at before it is asked whether to go on


@dataclass(frozen=True)
class Tag:
    """What is known of a tensor's values.

    Attributes:
        kind: one of `KINDS`, or empty where only the zeros are known.
        factor: values times this are whole: k behind an average pool of k positions of whole events.
        zeros: zeros that an operation put around the last dimensions, ``(before, after)`` each.
        most: no absolute value times the factor is larger; 0 where that is not known.
        ones: how many ones a binary tensor holds, where that was counted; of this very tensor, -1 elsewhere.
    """

    kind: str
    factor: int = 1
    zeros: tuple[tuple[int, int], ...] = ()
    most: int = 0
    ones: int = -1


class Tags:
    """Tags of the tensors alive now. One that is changed in place loses its tag."""

    def __init__(self) -> None:
        # by identity; the reference tells whether it is still the same tensor
        self._tags: dict[int, tuple[weakref.ref[torch.Tensor], int, Tag]] = {}

    def put(self, x: torch.Tensor, tag: Tag) -> None:
        """Remember the tag."""
        if not x.is_inference():  # these have no version to tell whether they changed
            self._tags[id(x)] = (weakref.ref(x), x._version, tag)

    def get(self, x: torch.Tensor) -> Tag | None:
        """The tag, if there is one and the tensor is as it was."""
        known = self._tags.get(id(x))
        if known is None or known[0]() is not x or known[1] != x._version:
            return None
        return known[2]

    def forget(self) -> None:
        """Drop all; between batches."""
        self._tags.clear()

    def of(self, x: torch.Tensor) -> Tag:
        """The tag, found from the values if need be."""
        tag = self.get(x)
        if tag is None or not tag.kind:
            tag = replace(looked_at(x), zeros=tag.zeros if tag else ())
            self.put(x, tag)
        return tag


def looked_at(x: torch.Tensor) -> Tag:
    """The tag of a tensor, from every value."""
    if not x.numel():
        return Tag("binary", most=1, ones=0)
    if x.is_complex():
        return Tag("analog")
    x = as_numbers(x).reshape(-1)
    ones = _ones(x)
    if ones >= 0:
        return Tag("binary", most=1, ones=ones)
    if not bool(torch.isfinite(x).all()) or not torch.equal(x, x.trunc()):
        return Tag("analog")
    low, high = int(x.amin().item()), int(x.amax().item())
    return Tag("signed" if low < 0 else "graded", most=max(-low, high))


def _ones(x: torch.Tensor) -> int:
    """How many ones there are, or -1 if a value is neither 0 nor 1."""
    if x.device.type == "cpu":
        return int(_count_ones(x.resolve_neg().numpy()))
    gap = torch.addcmul(x, x, x, value=-1)  # zero for 0 and 1 alone, also in floating point
    binary = bool(((gap.amax() == 0) & (gap.amin() == 0)).item())
    return int(x.sum(dtype=torch.float64).item()) if binary else -1


# the order of the sum is free: a block of zeros and ones adds up exactly in any
@njit(cache=True, nogil=True, fastmath={"reassoc"})  # type: ignore[untyped-decorator, unused-ignore]
def _count_ones(x: np.ndarray) -> int:
    """`_ones` in one pass over memory, several times as fast as PyTorch's operations."""
    ones = 0
    for start in range(0, x.size, BLOCK):
        block, found, others = x[start : start + BLOCK], np.float32(0), False
        for i in range(block.size):  # an index, not an iterator, so that it becomes vector instructions
            others |= (block[i] != 0) & (block[i] != 1)
            found += block[i]
        if others:
            return -1
        ones += int(found)
    return ones


def as_numbers(x: torch.Tensor) -> torch.Tensor:
    """As float32 or wider: half precision rounds sums, and whole dtypes have no `trunc`."""
    x = x.detach()
    if x.dtype in (torch.float32, torch.float64):
        return x
    return x.float() if x.dtype in (torch.float16, torch.bfloat16, torch.bool) else x.double()


def general(*kinds: str) -> str:
    """The most general of several kinds."""
    return max(kinds, key=KINDS.index)


def _others(x: torch.Tensor) -> int:
    """How many values are neither 0 nor 1."""
    if x.device.type == "cpu" and not x.is_complex():
        return int(_count_others(as_numbers(x).reshape(-1).resolve_neg().numpy()))
    return int((x.ne(0) & x.ne(1)).sum().item())


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _count_others(x: np.ndarray) -> int:
    others = 0
    for i in range(x.size):
        others += (x[i] != 0) & (x[i] != 1)
    return others


class Values:
    """A tensor beside what its tag says, as counts need it.

    Attributes:
        nonzero: 1 where a value is other than zero, float32 or wider.
    """

    def __init__(self, x: torch.Tensor, tag: Tag) -> None:
        self._x, self._tag = x.detach(), tag
        if tag.kind == "binary":
            self.nonzero = as_numbers(x)
        elif tag.kind == "graded":
            self.nonzero = as_numbers(x).sign()
        else:
            self.nonzero = self._x.ne(0).float()

    @property
    def magnitudes(self) -> torch.Tensor:
        """Events at each position: absolute whole values; analog values have none and are one each.

        A pooled value times the pool's size is whole by construction; rounding takes away what the division left.
        """
        if self._tag.kind in ("binary", "analog"):
            return self.nonzero
        whole = as_numbers(self._x)
        if self._tag.factor > 1:
            whole = (whole * self._tag.factor).round_()
        return whole if self._tag.kind == "graded" else whole.abs()

    @property
    def non_binary(self) -> int:
        """How many values are neither 0 nor 1."""
        return 0 if self._tag.kind == "binary" else _others(self._x)


class TapMap:
    """A fan-out map laid out for one product with a layer's input.

    Args:
        taps: synapses of each position, float64 or int64, any shape.
        device: of the input.
    """

    def __init__(self, taps: torch.Tensor, device: torch.device) -> None:
        self.positions = taps.numel()
        self.total = int(taps.sum())
        self._largest = int(taps.max()) if self.positions else 0
        self._wide = taps.reshape(-1).to(device, torch.float64)
        self._narrow = self._wide.float()

    def of(self, values: torch.Tensor, most: int) -> int:
        """Sum over whole values times their taps.

        Args:
            values: whole, float32 or wider, ``(..., positions)`` or any shape that flattens to it.
            most: none is larger; 0 if that is not known.
        """
        rows = values.reshape(-1, self.positions)
        # below this bound every sum of a row is exact in float32
        if rows.dtype == torch.float32 and 0 < most * self._largest * self.positions < EXACT_FLOAT32:
            return int(torch.mv(rows, self._narrow).sum(dtype=torch.float64).item())
        return _whole(torch.mv(rows.double(), self._wide))


def _whole(rows: torch.Tensor) -> int:
    return int(rows.to(torch.int64).sum().item())


def total(values: torch.Tensor, most: int) -> int:
    """Exact sum of whole values, float32 or wider, of which none is larger than ``most`` (0: not known)."""
    if values.dtype == torch.float32 and 0 < most * values.numel() < EXACT_FLOAT32:
        return int(values.sum().item())
    return _whole(values.reshape(-1, values.shape[-1] if values.dim() else 1).sum(dim=-1, dtype=torch.float64))


def size(shape: torch.Size | tuple[int, ...]) -> int:
    """Numbers in a tensor of this shape."""
    return math.prod(shape)
