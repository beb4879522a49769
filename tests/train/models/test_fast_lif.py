# SPDX-License-Identifier: Apache-2.0
"""The compiled loop is SpikingJelly's neuron in every spike, state and gradient, bit for bit."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spikingjelly.activation_based import functional, neuron, surrogate

from spikefold.train.models import fast_lif
from spikefold.train.models.fast_lif import FastLIF


def _made(kind: type, **changed: Any) -> neuron.LIFNode:
    options = {
        "tau": 1 / 0.7,
        "decay_input": False,
        "v_threshold": 0.3,
        "v_reset": 0.0,
        "step_mode": "m",
        "surrogate_function": surrogate.Rect(alpha=2.0),
    }
    return kind(**(options | changed))


def _channels_last(x: torch.Tensor) -> torch.Tensor:
    return x.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, x.shape[:2])


def _twice(node: neuron.LIFNode, x: torch.Tensor, weight: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Spikes of two clips in a row without a reset between, the last state, and the gradient of both."""
    x = x.clone().requires_grad_()
    first = node(x)
    second = node(0.7 * x)
    ((first * weight).sum() + (second * weight).sum() + (node.v * weight[0]).sum()).backward()
    assert x.grad is not None
    return first.detach(), second.detach(), node.v.detach(), x.grad


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("detached", [True, False])
def test_spikes_states_and_gradients_are_equal(dtype: torch.dtype, detached: bool) -> None:
    compared = fired = 0

    @settings(deadline=None, max_examples=25, derandomize=True)
    @given(
        st.sampled_from([(20, 2, 8, 16, 9), (1, 1, 1, 1, 1), (3, 2, 5, 1, 4), (6, 1300), (4, 2, 1024), (5, 0, 3)]),
        st.floats(1.05, 10.0),
        st.floats(0.1, 2.0),
        st.floats(0.5, 4.0),
        st.booleans(),
        st.integers(0, 10**6),
    )
    def check(shape: tuple[int, ...], tau: float, threshold: float, height: float, last: bool, seed: int) -> None:
        nonlocal compared, fired
        torch.manual_seed(seed)
        x, weight = threshold * (0.3 + torch.randn(shape, dtype=dtype)), torch.randn(shape, dtype=dtype)
        if last and len(shape) == 5:
            x = _channels_last(x)
        changed = {
            "tau": tau,
            "v_threshold": threshold,
            "detach_reset": detached,
            "surrogate_function": surrogate.Rect(alpha=height),
        }
        ours, theirs = (_twice(_made(kind, **changed), x, weight) for kind in (FastLIF, neuron.LIFNode))
        for one, other in zip(ours, theirs, strict=True):
            assert one.dtype == other.dtype == dtype
            assert torch.equal(one, other)
        compared += 4 * x.numel()
        fired += int(ours[0].sum())

    check()
    assert compared > 100_000
    assert fired > 0.05 * compared / 4


def test_the_edges_of_rectangle_and_threshold_are_spikingjellys() -> None:
    """A threshold of 1/2 and a rectangle of 1/4 to either side, in numbers that are exact: 0.25, 0.5 and 0.75."""
    found = []
    for kind in (FastLIF, neuron.LIFNode):
        x = torch.tensor([[0.25, 0.2501, 0.5, 0.7499, 0.75]], requires_grad=True)
        spikes = _made(kind, tau=2.0, v_threshold=0.5)(x)
        found.append((spikes.tolist(), torch.autograd.grad(spikes.sum(), x)[0].tolist()))
    assert found[0] == found[1] == ([[0, 0, 1, 1, 1]], [[0, 2, 2, 2, 0]])


def test_a_sequence_keeps_its_order_in_memory_and_a_gradient_may_have_another() -> None:
    x = _channels_last(torch.randn(4, 2, 6, 5, 3))
    spikes = _made(FastLIF)(x.requires_grad_())
    assert spikes.stride() == x.stride()
    assert not spikes.is_contiguous()
    weight = torch.randn(4, 2, 6, 5, 3)
    ours = torch.autograd.grad(spikes, x, weight)[0]
    theirs = torch.autograd.grad(_made(neuron.LIFNode)(x), x, weight)[0]
    assert spikes.mean() > 0.05
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    "changed",
    [
        {"decay_input": True},
        {"v_reset": None},
        {"surrogate_function": surrogate.ATan()},
        {"v_reset": -0.1},
        {"surrogate_function": surrogate.Rect(alpha=2.0, spiking=False)},
    ],
    ids=["decay_input", "soft reset", "another surrogate", "reset to a value", "no spikes"],
)
def test_what_the_loop_does_not_cover_is_left_to_spikingjelly(
    changed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    x, weight = 0.1 + 0.3 * torch.randn(5, 2, 40), torch.randn(5, 2, 40)
    theirs = _twice(_made(neuron.LIFNode, **changed), x, weight)
    monkeypatch.setattr(fast_lif, "_Steps", None)  # the loop would fail
    ours = _twice(_made(FastLIF, **changed), x, weight)
    assert ours[0].any()
    assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))
    with pytest.raises(AttributeError):
        _made(FastLIF)(x)


def test_a_recorded_sequence_of_states_is_spikingjellys_too() -> None:
    x = 0.1 + 0.3 * torch.randn(5, 2, 40)
    ours, theirs = (_made(kind, store_v_seq=True) for kind in (FastLIF, neuron.LIFNode))
    assert torch.equal(ours(x), theirs(x))
    assert torch.equal(ours.v_seq, theirs.v_seq)


def test_it_resets_copies_and_has_no_parameters() -> None:
    node, x = _made(FastLIF), 0.1 + 0.3 * torch.randn(5, 2, 40)
    first = node(x)
    copied = deepcopy(node)
    assert torch.equal(copied(x), node(x)), "a copy goes on from the same state"
    assert not torch.equal(node(x), first)
    functional.reset_net(node)
    assert torch.equal(node(x), first)
    assert not list(node.parameters())
    assert not node.state_dict()
    assert isinstance(node, neuron.LIFNode)
    assert FastLIF.computes is neuron.LIFNode
