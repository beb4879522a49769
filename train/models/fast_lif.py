# SPDX-License-Identifier: Apache-2.0
"""Computes SpikingJelly's leaky neuron with a rectangular surrogate gradient in one compiled loop on a CPU.

SpikingJelly runs this neuron step by step through autograd, with a dozen tensors a step; in the paper's network A
that takes as long as a convolution. Here the same operations, in the same order and precision, run over a few neurons
at a time with all their steps, so that the potentials stay in the cache. Forward::

    h[t] = (v - v / tau) + x[t]        s[t] = h[t] >= theta        v <- 0 where s[t], else h[t]

Backward, with ``g`` the gradient of a spike, ``c`` the gradient of the state after the step, and ``r`` the height of
the rectangle where ``|h - theta| < 1 / (2 r)``, else 0::

    dh = (0 where s[t], else c) + r (g - c h)         dx[t] = dh,  c <- dh - dh / tau

With a detached reset it is ``g`` instead of ``g - c h``. Every value and gradient equals SpikingJelly's bit for bit,
which the tests check. Other devices and precisions and soft resets are not covered; they run in SpikingJelly.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from spikingjelly.activation_based import neuron, surrogate
from torch.autograd.function import once_differentiable

from spikefold.compiled import compiled
from spikefold.train.models.one_loop import AT_ONCE, TYPES, InOneLoop


# Each function has one plain loop, because the compiler turns such a loop into vector instructions.
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
def _charge(x: np.ndarray, v: np.ndarray, h: np.ndarray, tau: Any) -> None:
    for i in range(len(h)):
        h[i] = (v[i] - v[i] / tau) + x[i]


@compiled()
def _slopes(
    h: np.ndarray,
    grad: np.ndarray,
    carry: np.ndarray,
    out: np.ndarray,
    theta: Any,
    height: Any,
    half: Any,
    through: Any,
) -> None:
    """Gradient of the potentials before a step's spikes; ``through`` is 0 if no gradient goes through the reset."""
    zero = h.dtype.type(0)
    for i in range(len(h)):
        slope = height if abs(h[i] - theta) < half else zero
        kept = zero if h[i] >= theta else carry[i]
        out[i] = kept + slope * (grad[i] - through * (carry[i] * h[i]))


@compiled()
def _leak(out: np.ndarray, carry: np.ndarray, tau: Any) -> None:
    for i in range(len(out)):
        carry[i] = out[i] - out[i] / tau


@compiled()
def _forward(x: np.ndarray, v: np.ndarray, spikes: np.ndarray, tau: Any, theta: Any) -> None:
    """Spikes ``(T, M)`` of currents ``(T, M)``; ``v`` ``(M,)`` becomes the state after the last step."""
    scratch = np.empty(AT_ONCE, x.dtype)
    for first in range(0, x.shape[1], AT_ONCE):
        here = slice(first, min(first + AT_ONCE, x.shape[1]))
        h = scratch[: here.stop - first]
        for t in range(x.shape[0]):
            _charge(x[t, here], v[here], h, tau)
            _fire(h, spikes[t, here], theta)
            _reset(h, v[here], theta)


@compiled()
def _backward(
    x: np.ndarray,
    v: np.ndarray,
    grad: np.ndarray,
    carry: np.ndarray,
    out: np.ndarray,
    tau: Any,
    theta: Any,
    height: Any,
    half: Any,
    through: Any,
) -> None:
    """Gradients ``(T, M)`` of the currents; ``carry`` ``(M,)`` is that of the last state, and then of the first."""
    potentials, scratch = np.empty((x.shape[0], AT_ONCE), x.dtype), np.empty(AT_ONCE, x.dtype)
    for first in range(0, x.shape[1], AT_ONCE):
        here = slice(first, min(first + AT_ONCE, x.shape[1]))
        count = here.stop - first
        state = scratch[:count]
        state[:] = v[here]
        for t in range(x.shape[0]):
            _charge(x[t, here], state, potentials[t, :count], tau)
            _reset(potentials[t, :count], state, theta)
        for t in range(x.shape[0] - 1, -1, -1):
            _slopes(potentials[t, :count], grad[t, here], carry[here], out[t, here], theta, height, half, through)
            _leak(out[t, here], carry[here], tau)


class _Steps(torch.autograd.Function):
    """Spikes ``(T, M)`` and last state ``(M,)`` of currents ``(T, M)`` and a first state ``(M,)``, all contiguous."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, v: torch.Tensor, node: FastLIF) -> tuple[torch.Tensor, torch.Tensor]:
        kind = TYPES[x.dtype]
        spikes, last = torch.empty_like(x), v.clone()
        tau, theta = kind(node.tau), kind(node.v_threshold)
        _forward(x.detach().numpy(), last.numpy(), spikes.numpy(), tau, theta)
        ctx.save_for_backward(x, v)
        height = float(node.surrogate_function.alpha)
        ctx.constants = tau, theta, kind(height), kind(0.5 / height), kind(not node.detach_reset)
        return spikes, last

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor, of_last: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
        x, v = ctx.saved_tensors
        carry, out = of_last.clone(memory_format=torch.contiguous_format), torch.empty_like(x)
        arrays = (x.detach(), v.detach(), grad.contiguous(), carry, out)
        _backward(*(array.numpy() for array in arrays), *ctx.constants)
        return out, carry, None


class FastLIF(InOneLoop, neuron.LIFNode):  # type: ignore[misc, unused-ignore]
    """`neuron.LIFNode` with ``decay_input=False``, a reset to zero and `surrogate.Rect`, computed in one loop."""

    computes = neuron.LIFNode
    """The class whose function this is; code that reads a network by the types of its modules asks for it."""

    derivative = surrogate.Rect

    def in_one_loop(self, x: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See `InOneLoop`."""
        return _Steps.apply(x, v, self)

    def covered(self, x: torch.Tensor) -> bool:
        """See `InOneLoop`."""
        return not self.decay_input and super().covered(x)
