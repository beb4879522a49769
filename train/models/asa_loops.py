# SPDX-License-Identifier: Apache-2.0
"""What ASA computes over a whole sequence, on a CPU in compiled loops: means and maxima, and the gate applied.

`spikefold.train.models.attention` has the equations; through autograd each of them takes a dozen passes over the
sequence. The loops see a sequence as ``(T, N, P C)``: pixels ``P = H W`` with their channels next to each other, as
it lies in memory. They go through it by rows of a few pixels, for a processor adds and compares whole vectors; what
belongs to a pixel or to a channel is first written out for a row. The last row of a clip may be shorter: loops over a
row end where ``x`` does. Values and gradients are those of the equations, up to the order of sums.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.autograd.function import once_differentiable

from spikefold.compiled import compiled

_ROW = 512
"""Numbers of a row, about: few enough for the nearest cache, with what is kept beside them."""


@compiled()
def _row(values: int, channels: int) -> int:
    """The numbers of a row: all channels of each of its pixels."""
    return min(values, max(1, _ROW // channels) * channels)


@compiled()
def _to_channels(values: np.ndarray, row: np.ndarray) -> None:
    """Write the value of each pixel to all its channels."""
    channels = len(row) // len(values)
    for pixel in range(len(values)):
        row[pixel * channels : (pixel + 1) * channels] = values[pixel]


@compiled()
def _to_pixels(values: np.ndarray, row: np.ndarray) -> None:
    """Write the value of each channel to all pixels."""
    for start in range(0, len(row), len(values)):
        row[start : start + len(values)] = values


@compiled()
def _sum_of_channels(row: np.ndarray, out: np.ndarray) -> None:
    channels = len(row) // len(out)
    for pixel in range(len(out)):
        out[pixel] = row[pixel * channels : (pixel + 1) * channels].sum()


@compiled()
def _most_of_channels(row: np.ndarray, out: np.ndarray) -> None:
    channels = len(row) // len(out)
    for pixel in range(len(out)):
        out[pixel] = row[pixel * channels : (pixel + 1) * channels].max()


@compiled()
def _add_slice(x: np.ndarray, sums: np.ndarray, most: np.ndarray) -> None:
    for i in range(len(x)):
        sums[i] += x[i]
        most[i] = x[i] if x[i] > most[i] else most[i]


@compiled()
def _slices(x: np.ndarray, mean: np.ndarray, most: np.ndarray) -> None:
    steps, clips, values = x.shape
    channels = mean.shape[2]
    row = _row(values, channels)
    sums, tops = np.empty(row, np.float64), np.empty(row, x.dtype)
    for t in range(steps):
        for n in range(clips):
            sums[:], tops[:] = 0, -np.inf
            for first in range(0, values, row):
                _add_slice(x[t, n, first : first + row], sums, tops)
            for c in range(channels):
                mean[t, n, c] = sums[c::channels].sum() * channels / values
                most[t, n, c] = tops[c::channels].max()


def slices(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and maximum ``(T, N, C)`` over the pixels of ``x`` ``(T, N, P, C)``, without a gradient."""
    mean, most = (x.new_empty((*x.shape[:2], x.shape[3])) for _ in range(2))
    _slices(_flat(x), mean.numpy(), most.numpy())
    return mean, most


@compiled()
def _add_and_compare(
    x: np.ndarray, group: np.ndarray, sums: np.ndarray, most: np.ndarray, others: np.ndarray, most_others: np.ndarray
) -> None:
    for i in range(len(x)):
        inside = x[i] * group[i]
        outside = x[i] - inside
        sums[i] += inside
        others[i] += outside
        most[i] = inside if inside > most[i] else most[i]
        most_others[i] = outside if outside > most_others[i] else most_others[i]


@compiled()
def _maps(x: np.ndarray, group: np.ndarray, out: np.ndarray) -> None:
    """Sum and maximum ``(4, N, P)`` over steps and channels of ``G x``, and of ``(1 - G) x``."""
    steps, clips, values = x.shape
    channels = group.shape[2]
    row = _row(values, channels)
    groups, kept = np.empty((steps, row), x.dtype), np.empty((4, row), x.dtype)
    for n in range(clips):
        for t in range(steps):
            _to_pixels(group[t, n], groups[t])
        for first in range(0, values, row):
            last = min(first + row, values)
            kept[0::2], kept[1::2] = 0, -np.inf
            for t in range(steps):
                _add_and_compare(x[t, n, first:last], groups[t], kept[0], kept[1], kept[2], kept[3])
            pixels, here = slice(first // channels, last // channels), slice(0, last - first)
            _sum_of_channels(kept[0, here], out[0, n, pixels])
            _most_of_channels(kept[1, here], out[1, n, pixels])
            _sum_of_channels(kept[2, here], out[2, n, pixels])
            _most_of_channels(kept[3, here], out[3, n, pixels])


@compiled()
def _equal(
    x: np.ndarray, group: np.ndarray, most: np.ndarray, most_others: np.ndarray, of: np.ndarray, others: np.ndarray
) -> None:
    """Add to the counts which products are the maximum of their group."""
    one, zero = x.dtype.type(1), x.dtype.type(0)
    for i in range(len(x)):
        inside = x[i] * group[i]
        of[i] += one if inside == most[i] else zero
        others[i] += one if x[i] - inside == most_others[i] else zero


@compiled()
def _share(
    x: np.ndarray,
    group: np.ndarray,
    most: np.ndarray,
    most_others: np.ndarray,
    mean: np.ndarray,
    at_most: np.ndarray,
    mean_others: np.ndarray,
    at_most_of_others: np.ndarray,
    out: np.ndarray,
) -> None:
    """Gradient of a row; a maximum's is shared evenly among all that have it, as in `amax`."""
    zero, one = x.dtype.type(0), x.dtype.type(1)
    for i in range(len(x)):
        inside = x[i] * group[i]
        of_inside = mean[i] + (at_most[i] if inside == most[i] else zero)
        of_outside = mean_others[i] + (at_most_of_others[i] if x[i] - inside == most_others[i] else zero)
        out[i] = group[i] * of_inside + (one - group[i]) * of_outside


@compiled()
def _maps_back(x: np.ndarray, group: np.ndarray, maps: np.ndarray, grad: np.ndarray, out: np.ndarray) -> None:
    steps, clips, values = x.shape
    channels = group.shape[2]
    row = _row(values, channels)
    groups, top, counts = np.empty((steps, row), x.dtype), np.empty((2, row), x.dtype), np.empty((2, row), x.dtype)
    grads, of_pixels = np.empty((4, row), x.dtype), np.empty(row // channels, x.dtype)
    for n in range(clips):
        for t in range(steps):
            _to_pixels(group[t, n], groups[t])
        for first in range(0, values, row):
            last = min(first + row, values)
            pixels, here = slice(first // channels, last // channels), slice(0, last - first)
            counts[:] = 0
            for way in range(2):
                _to_channels(maps[2 * way + 1, n, pixels], top[way, here])
                _to_channels(grad[2 * way, n, pixels], grads[2 * way, here])
            for t in range(steps):
                _equal(x[t, n, first:last], groups[t], top[0], top[1], counts[0], counts[1])
            for way in range(2):
                shared = of_pixels[: (last - first) // channels]
                _sum_of_channels(counts[way, here], shared)
                shared[:] = grad[2 * way + 1, n, pixels] / shared
                _to_channels(shared, grads[2 * way + 1, here])
            for t in range(steps):
                _share(
                    x[t, n, first:last], groups[t], top[0], top[1], grads[0], grads[1], grads[2], grads[3],
                    out[t, n, first:last],
                )  # fmt: skip


class Maps(torch.autograd.Function):
    """Sums and maxima ``(4, N, P)`` of ``G x`` and ``(1 - G) x``; ``x`` is ``(T, N, P, C)``, ``G`` ``(T, N, C)``."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, group: torch.Tensor) -> torch.Tensor:
        """The four maps; the group has no gradient."""
        maps = x.new_empty((4, *x.shape[1:3]))
        _maps(_flat(x), group.numpy(), maps.numpy())
        ctx.save_for_backward(x, group, maps)
        return maps

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        """Of the sequence."""
        x, group, maps = ctx.saved_tensors
        out = torch.empty_like(x)
        _maps_back(_flat(x), group.numpy(), maps.numpy(), grad.contiguous().numpy(), _flat(out))
        return out, None


@compiled()
def _scale(x: np.ndarray, group: np.ndarray, first: np.ndarray, second: np.ndarray, out: np.ndarray) -> None:
    for i in range(len(x)):
        out[i] = x[i] * (second[i] + group[i] * (first[i] - second[i]))


@compiled()
def _scale_all(x: np.ndarray, factors: np.ndarray, out: np.ndarray) -> None:
    for i in range(len(x)):
        out[i] = x[i] * factors[i]


@compiled()
def _applied(
    x: np.ndarray, group: np.ndarray, gates: np.ndarray, mean: np.ndarray, static: np.ndarray, out: np.ndarray
) -> None:
    steps, clips, values = x.shape
    channels = group.shape[2]
    row = _row(values, channels)
    groups, factors, both = np.empty((steps, row), x.dtype), np.empty(row, x.dtype), np.empty((2, row), x.dtype)
    _to_pixels(mean, factors)
    for n in range(clips):
        for t in range(steps):
            _to_pixels(group[t, n], groups[t])
        for first in range(0, values, row):
            last = min(first + row, values)
            for way in range(2):
                _to_channels(gates[way, n, first // channels : last // channels], both[way, : last - first])
            for t in range(steps):
                if static[n]:
                    _scale_all(x[t, n, first:last], factors, out[t, n, first:last])
                else:
                    _scale(x[t, n, first:last], groups[t], both[0], both[1], out[t, n, first:last])


@compiled()
def _add_product(x: np.ndarray, grad: np.ndarray, sums: np.ndarray) -> None:
    for i in range(len(x)):
        sums[i] += grad[i] * x[i]


@compiled()
def _add_products(x: np.ndarray, group: np.ndarray, grad: np.ndarray, first: np.ndarray, second: np.ndarray) -> None:
    for i in range(len(x)):
        product = grad[i] * x[i]
        inside = product * group[i]
        first[i] += inside
        second[i] += product - inside


@compiled()
def _applied_back(
    x: np.ndarray,
    group: np.ndarray,
    grad: np.ndarray,
    static: np.ndarray,
    of_gates: np.ndarray,
    of_mean: np.ndarray,
) -> None:
    steps, clips, values = x.shape
    channels = group.shape[2]
    row = _row(values, channels)
    groups, sums, products = np.empty((steps, row), x.dtype), np.empty((2, row), x.dtype), np.zeros(row, x.dtype)
    for n in range(clips):
        for t in range(steps):
            _to_pixels(group[t, n], groups[t])
        for first in range(0, values, row):
            last = min(first + row, values)
            sums[:] = 0
            for t in range(steps):
                if static[n]:
                    _add_product(x[t, n, first:last], grad[t, n, first:last], products)
                else:
                    _add_products(x[t, n, first:last], groups[t], grad[t, n, first:last], sums[0], sums[1])
            for way in range(2):
                _sum_of_channels(sums[way, : last - first], of_gates[way, n, first // channels : last // channels])
    for c in range(channels):
        of_mean[c] = products[c::channels].sum()


class Applied(torch.autograd.Function):
    """``x (A2 + G (A1 - A2))``, or ``x`` times the mean gate of each channel in the clips that are chosen for it.

    Takes ``x`` ``(T, N, P, C)``, ``G`` ``(T, N, C)``, ``[A1, A2]`` ``(2, N, P)``, the mean gates ``(C,)``, and which
    clips ``(N,)``.
    """

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, group: torch.Tensor, gates: torch.Tensor, mean: torch.Tensor, static: torch.Tensor
    ) -> torch.Tensor:
        """The gated sequence."""
        gates, mean = gates.contiguous(), mean.contiguous()
        ctx.save_for_backward(x, group, gates, mean, static)
        return _apply(x, group, gates, mean, static)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Of the sequence, the gates and the means."""
        x, group, gates, mean, static = ctx.saved_tensors
        grad, of_gates, of_mean = grad.contiguous(), torch.empty_like(gates), torch.empty_like(mean)
        of_x = _apply(grad, group, gates, mean, static)
        _applied_back(_flat(x), group.numpy(), _flat(grad), static.numpy(), of_gates.numpy(), of_mean.numpy())
        return of_x, None, of_gates, of_mean, None


def _apply(
    x: torch.Tensor, group: torch.Tensor, gates: torch.Tensor, mean: torch.Tensor, static: torch.Tensor
) -> torch.Tensor:
    out = torch.empty_like(x)
    _applied(_flat(x), group.numpy(), gates.detach().numpy(), mean.detach().numpy(), static.numpy(), _flat(out))
    return out


def _flat(x: torch.Tensor) -> np.ndarray:
    """``(T, N, P, C)`` as ``(T, N, P C)``, the same memory."""
    found: np.ndarray = x.detach().view(*x.shape[:2], -1).numpy()
    return found
