# SPDX-License-Identifier: Apache-2.0
"""Computes SpikingJelly's integrate-and-fire neuron with the arctangent's surrogate gradient in one compiled loop.

On a CPU SpikingJelly runs this neuron step by step through autograd, with a dozen tensors a step. Here the same
operations, in the same order and precision, run over a few neurons at a time with all their steps. Forward::

    h[t] = v + x[t]        s[t] = h[t] >= theta        v <- 0 where s[t], else h[t]

Backward, with ``g`` the gradient of a spike, ``c`` that of the state after the step and ``a`` the surrogate's alpha::

    r = 1 / (1 + (pi / 2 a (h - theta))^2) a / 2        dx[t] = c <- g r + (0 where s[t], else c)

No gradient goes through the reset. Every value and gradient equals SpikingJelly's bit for bit, which the tests check.
Other devices and precisions, soft resets and a reset that passes gradients run in SpikingJelly.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from spikingjelly.activation_based import neuron, surrogate
from torch.autograd.function import once_differentiable

from spikefold.compiled import compiled
from spikefold.train.models.one_loop import AT_ONCE, TYPES, InOneLoop


@compiled()
def _reset(h: np.ndarray, v: np.ndarray, theta: Any) -> None:
    """The states after a step from the potentials before its spikes."""
    for i in range(len(h)):
        v[i] = h.dtype.type(0) if h[i] >= theta else h[i]


@compiled()
def _fire(h: np.ndarray, spikes: np.ndarray, theta: Any) -> None:
    """The spikes of a step from the potentials before them."""
    for i in range(len(h)):
        spikes[i] = h.dtype.type(1) if h[i] >= theta else h.dtype.type(0)


@compiled()
def _charge(x: np.ndarray, v: np.ndarray, h: np.ndarray) -> None:
    for i in range(len(h)):
        h[i] = v[i] + x[i]


@compiled()
def _slopes(
    h: np.ndarray, grad: np.ndarray, carry: np.ndarray, out: np.ndarray, theta: Any, wide: Any, high: Any
) -> None:
    """Gradient ``out`` of the potentials before a step's spikes; it is also that of the state before the step."""
    one, zero = h.dtype.type(1), h.dtype.type(0)
    for i in range(len(h)):
        z = (h[i] - theta) * wide
        kept = zero if h[i] >= theta else carry[i]
        out[i] = grad[i] * ((one / (one + z * z)) * high) + kept
        carry[i] = out[i]


@compiled()
def _forward(x: np.ndarray, v: np.ndarray, spikes: np.ndarray, theta: Any) -> None:
    """Spikes ``(T, M)`` of currents ``(T, M)``; ``v`` ``(M,)`` becomes the state after the last step."""
    scratch = np.empty(AT_ONCE, x.dtype)
    for first in range(0, x.shape[1], AT_ONCE):
        here = slice(first, min(first + AT_ONCE, x.shape[1]))
        h = scratch[: here.stop - first]
        for t in range(x.shape[0]):
            _charge(x[t, here], v[here], h)
            _fire(h, spikes[t, here], theta)
            _reset(h, v[here], theta)


@compiled()
def _backward(
    x: np.ndarray,
    v: np.ndarray,
    grad: np.ndarray,
    carry: np.ndarray,
    out: np.ndarray,
    theta: Any,
    wide: Any,
    high: Any,
) -> None:
    """Gradients ``(T, M)`` of the currents; ``carry`` ``(M,)`` is that of the last state, and then of the first."""
    potentials, scratch = np.empty((x.shape[0], AT_ONCE), x.dtype), np.empty(AT_ONCE, x.dtype)
    for first in range(0, x.shape[1], AT_ONCE):
        here = slice(first, min(first + AT_ONCE, x.shape[1]))
        count = here.stop - first
        state = scratch[:count]
        state[:] = v[here]
        for t in range(x.shape[0]):
            _charge(x[t, here], state, potentials[t, :count])
            _reset(potentials[t, :count], state, theta)
        for t in range(x.shape[0] - 1, -1, -1):
            _slopes(potentials[t, :count], grad[t, here], carry[here], out[t, here], theta, wide, high)


class _Steps(torch.autograd.Function):
    """Spikes ``(T, M)`` and last state ``(M,)`` of currents ``(T, M)`` and a first state ``(M,)``, all contiguous."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, v: torch.Tensor, node: FastIF) -> tuple[torch.Tensor, torch.Tensor]:
        kind = TYPES[x.dtype]
        spikes, last = torch.empty_like(x), v.clone()
        theta, alpha = kind(node.v_threshold), float(node.surrogate_function.alpha)
        _forward(x.detach().numpy(), last.numpy(), spikes.numpy(), theta)
        ctx.save_for_backward(x, v)
        ctx.constants = theta, kind(math.pi / 2 * alpha), kind(alpha / 2)
        return spikes, last

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor, of_last: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
        x, v = ctx.saved_tensors
        carry, out = of_last.clone(memory_format=torch.contiguous_format), torch.empty_like(x)
        arrays = (x.detach(), v.detach(), grad.contiguous(), carry, out)
        _backward(*(array.numpy() for array in arrays), *ctx.constants)
        return out, carry, None


class FastIF(InOneLoop, neuron.IFNode):  # type: ignore[misc, unused-ignore]
    """`neuron.IFNode` with a reset to zero without a gradient and `surrogate.ATan`, computed in one loop."""

    computes = neuron.IFNode
    """The class whose function this is; code that reads a network by the types of its modules asks for it."""
    derivative = surrogate.ATan

    def in_one_loop(self, x: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See `InOneLoop`."""
        return _Steps.apply(x, v, self)

    def covered(self, x: torch.Tensor) -> bool:
        """See `InOneLoop`."""
        return bool(self.detach_reset) and super().covered(x)
