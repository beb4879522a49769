# SPDX-License-Identifier: Apache-2.0
"""Holds the operations between neurons. Every shape is ``(C, H, W)``; a dense layer has ``H = W = 1``.

`BatchNorm`, `Gate` and `AvgPool2d` exist in real networks only: they are what the passes fold away.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spikefold.errors import NetworkError
from spikefold.export.neuron import LARGEST, shown

_LONGEST = 2**20
Shape = tuple[int, int, int]
Pair = tuple[int, int]


def frozen(array: np.ndarray, what: str, *ndims: int) -> np.ndarray:
    """A read-only copy as float64 or int64, checked for rank and for finite values."""
    values = np.array(array, order="C")
    if values.dtype.kind in "iu" and values.size and not -LARGEST < int(values.min()) <= int(values.max()) < LARGEST:
        raise NetworkError(f"{what} holds whole numbers beyond 62 bits", hint="no engine is exact with them")
    values = values.astype(np.int64 if np.issubdtype(values.dtype, np.integer) else np.float64)
    if ndims and values.ndim not in ndims:
        raise NetworkError(f"{what} has shape {values.shape}, needs {' or '.join(map(str, ndims))} axes")
    if not np.all(np.isfinite(values)):
        raise NetworkError(f"{what} holds NaN or infinity", hint="the training diverged; lower the learning rate")
    values.setflags(write=False)
    return values


def _check_whole(what: str, *values: int) -> None:
    """Sides and steps of a kernel or pool, which a file may claim to be anything."""
    if any(isinstance(value, bool) or not isinstance(value, int | np.integer) for value in values):
        raise NetworkError(f"{what} {values}: whole numbers only")
    if max(values) > _LONGEST:
        raise NetworkError(f"{what} of {shown(max(values))}, more than the {_LONGEST:,} allowed")


def _set(op: object, **values: object) -> None:
    for name, value in values.items():
        object.__setattr__(op, name, value)


def _check_bias(bias: np.ndarray | None, outputs: int) -> np.ndarray | None:
    if bias is None:
        return None
    if len(bias) != outputs:
        raise NetworkError(f"{len(bias)} biases for {outputs} outputs")
    return frozen(bias, "bias", 1)


@dataclass(frozen=True, eq=False)
class Conv2d:
    """Convolution with zero padding. ``weight`` ``(Cout, Cin/groups, kH, kW)``, ``bias`` ``(Cout,)`` or None."""

    weight: np.ndarray
    bias: np.ndarray | None = None
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1

    def __post_init__(self) -> None:
        weight = frozen(self.weight, "conv weight", 4)
        _check_whole(
            "conv stride, padding, dilation, groups", *self.stride, *self.padding, *self.dilation, self.groups
        )
        if 0 in weight.shape or min(*self.stride, *self.dilation, self.groups) < 1 or min(self.padding) < 0:
            raise NetworkError(
                f"conv weight {weight.shape}, stride {self.stride}, padding {self.padding}, "
                f"dilation {self.dilation}, groups {self.groups} make no convolution"
            )
        if weight.shape[0] % self.groups:
            raise NetworkError(f"{weight.shape[0]} output channels do not divide into {self.groups} groups")
        _set(self, weight=weight, bias=_check_bias(self.bias, weight.shape[0]))

    def output_shape(self, shape: Shape) -> Shape:
        """Output ``(C, H, W)`` for an input ``(C, H, W)``."""
        c_out, c_in, *kernel = self.weight.shape
        if shape[0] != c_in * self.groups:
            raise NetworkError(f"conv takes {c_in * self.groups} channels, its input has {shape[0]}")
        sides = [
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, k, s, p, d in zip(shape[1:], kernel, self.stride, self.padding, self.dilation, strict=True)
        ]
        if min(sides) < 1:
            raise NetworkError(f"a {kernel[0]}x{kernel[1]} kernel does not fit an input of {shape[1]}x{shape[2]}")
        return c_out, sides[0], sides[1]


@dataclass(frozen=True, eq=False)
class Dense:
    """Fully connected layer over the input flattened in C, H, W order. ``weight`` ``(out, in)``."""

    weight: np.ndarray
    bias: np.ndarray | None = None

    def __post_init__(self) -> None:
        weight = frozen(self.weight, "dense weight", 2)
        _set(self, weight=weight, bias=_check_bias(self.bias, weight.shape[0]))

    def output_shape(self, shape: Shape) -> Shape:
        """``(out, 1, 1)``."""
        if int(np.prod(shape)) != self.weight.shape[1]:
            raise NetworkError(f"dense takes {self.weight.shape[1]} inputs, got {shape} = {int(np.prod(shape))}")
        return self.weight.shape[0], 1, 1


@dataclass(frozen=True, eq=False)
class BatchNorm:
    """``y = gamma * (x - mean) / sqrt(var + eps) + beta`` per channel, statistics frozen."""

    gamma: np.ndarray
    beta: np.ndarray
    mean: np.ndarray
    var: np.ndarray
    eps: float

    def __post_init__(self) -> None:
        values = {key: frozen(getattr(self, key), key, 1) for key in ("gamma", "beta", "mean", "var")}
        if len({len(v) for v in values.values()}) != 1:
            raise NetworkError("batch norm parameters differ in length")
        if np.any(values["var"] < 0) or self.eps <= 0:
            raise NetworkError(f"batch norm variance {values['var'].min()} or eps {self.eps} is out of range")
        _set(self, **values)

    def output_shape(self, shape: Shape) -> Shape:
        """Unchanged."""
        if len(self.gamma) != shape[0]:
            raise NetworkError(f"batch norm over {len(self.gamma)} channels, its input has {shape[0]}")
        return shape


@dataclass(frozen=True, eq=False)
class Gate:
    """A static attention gate: a factor for each channel, ``(C,)``, or for each neuron, ``(C, H, W)``.

    A channel's factor may be 0, which removes it; a neuron's may not (its threshold would be infinite).
    """

    scale: np.ndarray

    def __post_init__(self) -> None:
        scale = frozen(self.scale, "gate", 1, 3)
        if np.any(scale < 0) or (scale.ndim == 3 and np.any(scale == 0)):
            raise NetworkError(f"a gate factor is {scale.min()}, must be above 0 (a channel's may be 0)")
        _set(self, scale=scale)

    @property
    def factors(self) -> np.ndarray:
        """The factors with three axes, ``(C, 1, 1)`` or ``(C, H, W)``."""
        return self.scale if self.scale.ndim == 3 else self.scale[:, None, None]

    def output_shape(self, shape: Shape) -> Shape:
        """Unchanged."""
        fits = self.scale.shape == shape if self.scale.ndim == 3 else len(self.scale) == shape[0]
        if not fits:
            raise NetworkError(f"gate {self.scale.shape} does not fit its input {shape}")
        return shape


@dataclass(frozen=True)
class _Pool2d:
    kernel: Pair

    def __post_init__(self) -> None:
        _check_whole("a pool", *self.kernel)
        if min(self.kernel) < 1:
            raise NetworkError(f"pooling by {self.kernel}")

    def output_shape(self, shape: Shape) -> Shape:
        """Windows do not overlap; a remainder at the lower and right border is dropped."""
        c, h, w = shape[0], shape[1] // self.kernel[0], shape[2] // self.kernel[1]
        if min(h, w) < 1:
            raise NetworkError(f"pooling by {self.kernel} leaves nothing of {shape}")
        return c, h, w


class AvgPool2d(_Pool2d):
    """Mean over windows, stride equal to the kernel."""


class SumPool2d(_Pool2d):
    """Sum over windows, stride equal to the kernel."""


class MaxPool2d(_Pool2d):
    """Largest of each window, stride equal to the kernel; of spikes, whether any fired."""


@dataclass(frozen=True)
class Concat:
    """The inputs one after the other along the channels, in their order, where every other layer adds them."""

    def output_shape(self, *shapes: Shape) -> Shape:
        """``(sum of C, H, W)``."""
        if len({shape[1:] for shape in shapes}) != 1:
            raise NetworkError(f"maps of different sizes do not lie side by side: {sorted(shapes)}")
        return sum(shape[0] for shape in shapes), *shapes[0][1:]
