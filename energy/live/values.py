# SPDX-License-Identifier: Apache-2.0
"""What the values of a tensor are (spikes, events, analog), and exact sums of them; any dtype, any size."""

from __future__ import annotations

import math
import weakref
from typing import NamedTuple

import numpy as np
import torch

from spikefold.energy.live.kernels import count_ones, count_others
from spikefold.energy.live.profile_result import KINDS

EXACT_FLOAT32 = 2**24
WIDE = (torch.float32, torch.float64)  # wide enough to add up spikes


class Tag(NamedTuple):
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
            tag = looked_at(x, tag)
            self.put(x, tag)
        return tag


def looked_at(x: torch.Tensor, known: Tag | None = None) -> Tag:
    """The tag of a tensor, from every value; the zeros around it are those ``known``."""
    zeros = known.zeros if known is not None else ()
    if not x.numel():
        return Tag("binary", zeros=zeros, most=1, ones=0)
    if x.is_complex():
        return Tag("analog", zeros=zeros)
    ones = _ones(x)
    if ones >= 0:
        return Tag("binary", zeros=zeros, most=1, ones=ones)
    x = as_numbers(x)
    if not bool(torch.isfinite(x).all()) or not torch.equal(x, x.trunc()):
        return Tag("analog", zeros=zeros)
    low, high = int(x.amin().item()), int(x.amax().item())
    return Tag("signed" if low < 0 else "graded", zeros=zeros, most=max(-low, high))


def _ones(x: torch.Tensor) -> int:
    """How many ones there are, or -1 if a value is neither 0 nor 1."""
    if x.is_cpu:
        return int(count_ones(flat(x)))
    x = as_numbers(x)
    gap = torch.addcmul(x, x, x, value=-1)  # zero for 0 and 1 alone, also in floating point
    binary = bool(((gap.amax() == 0) & (gap.amin() == 0)).item())
    return int(x.sum(dtype=torch.float64).item()) if binary else -1


def flat(x: torch.Tensor) -> np.ndarray:
    """All values of a real tensor in the memory of the processor, float32 or wider; a view where that is possible."""
    found = x if x.dtype in WIDE and not x.requires_grad else as_numbers(x)
    return (found.resolve_neg() if found.is_neg() else found).numpy().reshape(-1)


def as_numbers(x: torch.Tensor) -> torch.Tensor:
    """As float32 or wider: half precision rounds sums, and whole dtypes have no `trunc`."""
    x = x.detach()
    if x.dtype in WIDE:
        return x
    return x.float() if x.dtype in (torch.float16, torch.bfloat16, torch.bool) else x.double()


def general(*kinds: str) -> str:
    """The most general of several kinds."""
    return max(kinds, key=KINDS.index)


def _others(x: torch.Tensor) -> int:
    """How many values are neither 0 nor 1."""
    if x.is_cpu and not x.is_complex():
        return int(count_others(flat(x)))
    return int((x.ne(0) & x.ne(1)).sum().item())


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


def total(values: torch.Tensor, most: int) -> int:
    """Exact sum of whole values, float32 or wider, of which none is larger than ``most`` (0: not known)."""
    if values.dtype == torch.float32 and 0 < most * values.numel() < EXACT_FLOAT32:
        return int(values.sum().item())
    rows = values.reshape(-1, values.shape[-1] if values.dim() else 1).sum(dim=-1, dtype=torch.float64)
    return int(rows.to(torch.int64).sum().item())


def size(shape: torch.Size | tuple[int, ...]) -> int:
    """Numbers in a tensor of this shape."""
    return math.prod(shape)
