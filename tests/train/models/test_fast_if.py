# SPDX-License-Identifier: Apache-2.0
"""The compiled loop is SpikingJelly's integrate-and-fire neuron in every spike, state and gradient, bit for bit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spikingjelly.activation_based import neuron, surrogate

from spikefold.train.models import fast_if
from spikefold.train.models.fast_if import FastIF


def _made(kind: type, **changed: Any) -> neuron.IFNode:
    options = {"v_threshold": 1.0, "v_reset": 0.0, "step_mode": "m", "detach_reset": True}
    return kind(**(options | {"surrogate_function": surrogate.ATan()} | changed))


def _channels_last(x: torch.Tensor) -> torch.Tensor:
    return x.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, x.shape[:2])


def _twice(node: neuron.IFNode, x: torch.Tensor, weight: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Spikes of two clips in a row without a reset between, the last state, and the gradient of both."""
    x = x.clone().requires_grad_()
    first, second = node(x), node(0.7 * x)
    ((first * weight).sum() + (second * weight).sum() + (node.v * weight[0]).sum()).backward()
    assert x.grad is not None
    return first.detach(), second.detach(), node.v.detach(), x.grad


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_spikes_states_and_gradients_are_equal(dtype: torch.dtype) -> None:
    compared = fired = 0

    @settings(deadline=None, max_examples=25, derandomize=True)
    @given(
        st.sampled_from([(8, 2, 8, 16, 9), (1, 1, 1, 1, 1), (3, 2, 5, 1, 4), (6, 1300), (4, 2, 1024), (5, 0, 3)]),
        st.floats(0.1, 2.0),
        st.floats(0.5, 4.0),
        st.booleans(),
        st.integers(0, 10**6),
    )
    def check(shape: tuple[int, ...], threshold: float, alpha: float, last: bool, seed: int) -> None:
        nonlocal compared, fired
        torch.manual_seed(seed)
        x, weight = threshold * (0.3 + torch.randn(shape, dtype=dtype)), torch.randn(shape, dtype=dtype)
        if last and len(shape) == 5:
            x = _channels_last(x)
        changed = {"v_threshold": threshold, "surrogate_function": surrogate.ATan(alpha=alpha)}
        ours, theirs = (_twice(_made(kind, **changed), x, weight) for kind in (FastIF, neuron.IFNode))
        for one, other in zip(ours, theirs, strict=True):
            assert one.dtype == other.dtype == dtype
            assert torch.equal(one, other)
        compared += 4 * x.numel()
        fired += int(ours[0].sum())

    check()
    assert compared > 50_000
    assert fired > 0.05 * compared / 4


@pytest.mark.parametrize(
    "changed",
    [
        {"detach_reset": False},
        {"v_reset": None},
        {"surrogate_function": surrogate.Sigmoid()},
        {"v_reset": -0.1},
        {"surrogate_function": surrogate.ATan(spiking=False)},
    ],
    ids=["a reset with gradient", "soft reset", "another surrogate", "reset to a value", "no spikes"],
)
def test_what_the_loop_does_not_cover_is_left_to_spikingjelly(
    changed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    x, weight = 0.3 + torch.randn(5, 2, 40), torch.randn(5, 2, 40)
    theirs = _twice(_made(neuron.IFNode, **changed), x, weight)
    assert theirs[0].mean() > 0.05
    monkeypatch.setattr(fast_if, "_forward", None)
    ours = _twice(_made(FastIF, **changed), x, weight)
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one, other)
