# SPDX-License-Identifier: Apache-2.0
"""What ASA computes over a whole sequence, on a CPU in compiled loops: means and maxima, and the gate applied.

`spikefold.train.models.attention` has the equations; through autograd each of them takes a dozen passes over the
sequence. The loops see a sequence as ``(T, N, P, C)``, pixels ``P = H W`` with their channels next to each other, as
it lies in memory. Values and gradients are those of the equations, up to the order of sums.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.autograd.function import once_differentiable

from spikefold.compiled import compiled


@compiled()
def _add_slice(x: np.ndarray, sums: np.ndarray, most: np.ndarray) -> None:
    for c in range(len(x)):
        sums[c] += x[c]
        most[c] = x[c] if x[c] > most[c] else most[c]


@compiled()
def _slices(x: np.ndarray, mean: np.ndarray, most: np.ndarray) -> None:
    steps, clips, pixels, channels = x.shape
    sums = np.empty(channels, np.float64)
    for t in range(steps):
        for n in range(clips):
            sums[:] = 0
            most[t, n] = -np.inf
            for p in range(pixels):
                _add_slice(x[t, n, p], sums, most[t, n])
            for c in range(channels):
                mean[t, n, c] = sums[c] / pixels


def slices(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and maximum ``(T, N, C)`` over the pixels of ``x`` ``(T, N, P, C)``, without a gradient."""
    mean, most = (x.new_empty((*x.shape[:2], x.shape[3])) for _ in range(2))
    _slices(x.detach().numpy(), mean.numpy(), most.numpy())
    return mean, most


@compiled()
def _add_and_compare(
    x: np.ndarray, group: np.ndarray, sums: np.ndarray, most: np.ndarray, others: np.ndarray, most_others: np.ndarray
) -> None:
    for c in range(len(x)):
        inside = x[c] * group[c]
        outside = x[c] - inside
        sums[c] += inside
        others[c] += outside
        most[c] = inside if inside > most[c] else most[c]
        most_others[c] = outside if outside > most_others[c] else most_others[c]


@compiled()
def _maps(x: np.ndarray, group: np.ndarray, out: np.ndarray) -> None:
    """Sum and maximum ``(4, N, P)`` over steps and channels of ``G x``, and of ``(1 - G) x``."""
    steps, clips, pixels, channels = x.shape
    kept = np.empty((4, channels), x.dtype)
    for n in range(clips):
        for p in range(pixels):
            kept[0::2] = 0
            kept[1::2] = -np.inf
            for t in range(steps):
                _add_and_compare(x[t, n, p], group[t, n], kept[0], kept[1], kept[2], kept[3])
            out[0, n, p], out[1, n, p] = kept[0].sum(), kept[1].max()
            out[2, n, p], out[3, n, p] = kept[2].sum(), kept[3].max()


@compiled()
def _equal(x: np.ndarray, group: np.ndarray, most: Any, most_others: Any, counts: np.ndarray) -> None:
    """Add to the counts ``(2, C)`` which products are the maximum of their group."""
    one, zero = x.dtype.type(1), x.dtype.type(0)
    for c in range(len(x)):
        inside = x[c] * group[c]
        counts[0, c] += one if inside == most else zero
        counts[1, c] += one if x[c] - inside == most_others else zero


@compiled()
def _share(x: np.ndarray, group: np.ndarray, out: np.ndarray, top: np.ndarray, grads: np.ndarray) -> None:
    """Gradient ``(C,)`` of a pixel and step; a maximum's is shared evenly among all that have it, as in `amax`."""
    zero, one = x.dtype.type(0), x.dtype.type(1)
    mean, at_top, mean_others, at_top_of_others = grads[0], grads[1], grads[2], grads[3]
    most, most_others = top[0], top[1]
    for c in range(len(x)):
        inside = x[c] * group[c]
        of_inside = mean + (at_top if inside == most else zero)
        of_outside = mean_others + (at_top_of_others if x[c] - inside == most_others else zero)
        out[c] = group[c] * of_inside + (one - group[c]) * of_outside


@compiled()
def _maps_back(x: np.ndarray, group: np.ndarray, maps: np.ndarray, grad: np.ndarray, out: np.ndarray) -> None:
    steps, clips, pixels, channels = x.shape
    counts, top, grads = np.empty((2, channels), x.dtype), np.empty(2, x.dtype), np.empty(4, x.dtype)
    for n in range(clips):
        for p in range(pixels):
            top[0], top[1] = maps[1, n, p], maps[3, n, p]
            counts[:] = 0
            for t in range(steps):
                _equal(x[t, n, p], group[t, n], top[0], top[1], counts)
            grads[0], grads[2] = grad[0, n, p], grad[2, n, p]
            grads[1], grads[3] = grad[1, n, p] / counts[0].sum(), grad[3, n, p] / counts[1].sum()
            for t in range(steps):
                _share(x[t, n, p], group[t, n], out[t, n, p], top, grads)


class Maps(torch.autograd.Function):
    """Sums and maxima ``(4, N, P)`` of ``G x`` and ``(1 - G) x``; ``x`` is ``(T, N, P, C)``, ``G`` ``(T, N, C)``."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, group: torch.Tensor) -> torch.Tensor:
        """The four maps; the group has no gradient."""
        maps = x.new_empty((4, *x.shape[1:3]))
        _maps(x.detach().numpy(), group.numpy(), maps.numpy())
        ctx.save_for_backward(x, group, maps)
        return maps

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        """Of the sequence."""
        x, group, maps = ctx.saved_tensors
        out = torch.empty_like(x)
        _maps_back(*(array.detach().numpy() for array in (x, group, maps, grad.contiguous(), out)))
        return out, None


@compiled()
def _scale(x: np.ndarray, group: np.ndarray, first: Any, second: Any, out: np.ndarray) -> None:
    for c in range(len(x)):
        out[c] = x[c] * (second + group[c] * (first - second))


@compiled()
def _scale_all(x: np.ndarray, factors: np.ndarray, out: np.ndarray) -> None:
    for c in range(len(x)):
        out[c] = x[c] * factors[c]


@compiled()
def _applied(
    x: np.ndarray, group: np.ndarray, gates: np.ndarray, mean: np.ndarray, static: np.ndarray, out: np.ndarray
) -> None:
    steps, clips, pixels, _ = x.shape
    for t in range(steps):
        for n in range(clips):
            for p in range(pixels):
                if static[n]:
                    _scale_all(x[t, n, p], mean, out[t, n, p])
                else:
                    _scale(x[t, n, p], group[t, n], gates[0, n, p], gates[1, n, p], out[t, n, p])


@compiled()
def _add_product(x: np.ndarray, grad: np.ndarray, sums: np.ndarray) -> None:
    for c in range(len(x)):
        sums[c] += grad[c] * x[c]


@compiled()
def _add_products(x: np.ndarray, group: np.ndarray, grad: np.ndarray, first: np.ndarray, second: np.ndarray) -> None:
    for c in range(len(x)):
        product = grad[c] * x[c]
        inside = product * group[c]
        first[c] += inside
        second[c] += product - inside


@compiled()
def _applied_back(
    x: np.ndarray,
    group: np.ndarray,
    grad: np.ndarray,
    static: np.ndarray,
    of_gates: np.ndarray,
    of_mean: np.ndarray,
) -> None:
    steps, clips, pixels, channels = x.shape
    first, second = np.empty(channels, x.dtype), np.empty(channels, x.dtype)
    for n in range(clips):
        for p in range(pixels):
            first[:], second[:] = 0, 0
            for t in range(steps):
                if static[n]:
                    _add_product(x[t, n, p], grad[t, n, p], of_mean)
                else:
                    _add_products(x[t, n, p], group[t, n], grad[t, n, p], first, second)
            of_gates[0, n, p], of_gates[1, n, p] = first.sum(), second.sum()


def _apply(*tensors: torch.Tensor) -> None:
    """`_applied` of tensors."""
    x, group, gates, mean, static, out = (tensor.detach().numpy() for tensor in tensors)
    _applied(x, group, gates, mean, static, out)


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
        gates, mean, out = gates.contiguous(), mean.contiguous(), torch.empty_like(x)
        ctx.save_for_backward(x, group, gates, mean, static)
        _apply(x, group, gates, mean, static, out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Of the sequence, the gates and the means."""
        x, group, gates, mean, static = ctx.saved_tensors
        grad, of_x = grad.contiguous(), torch.empty_like(x)
        of_gates, of_mean = torch.empty_like(gates), torch.zeros_like(mean)
        _apply(grad, group, gates, mean, static, of_x)
        _applied_back(*(a.detach().numpy() for a in (x, group, grad, static, of_gates, of_mean)))
        return of_x, None, of_gates, of_mean, None
