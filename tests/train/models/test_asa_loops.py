# SPDX-License-Identifier: Apache-2.0
"""ASA in compiled loops is ASA by PyTorch's operations, in values and in gradients, up to the order of sums."""

from __future__ import annotations

import pytest
import torch

from spikefold.train.models.attention import ASA

SHAPES = [(8, 4, 16, 16, 16), (5, 3, 7, 4, 6), (4, 1, 33, 5, 3), (2, 2, 2, 1, 1), (3, 2, 24, 5, 7), (2, 2, 600, 2, 1)]
"""Whole rows of the loops, one that is not filled, one pixel; a last row that is shorter; channels that are a row."""


def _both_ways(shape: tuple[int, ...], *, share: float, ties: bool) -> list[list[torch.Tensor]]:
    """Output and gradients, in loops and by operations (which keep the gate)."""
    torch.manual_seed(0)
    asa, x = ASA(shape[0], shape[2], static_share=share).double(), torch.randn(shape).double()
    if ties:
        x = x.round().clamp(-1, 1)  # most maxima are shared, and some are 0 as what is outside of a group is
    weight, found = torch.randn(shape).double(), []
    for keep in (False, True):
        asa.zero_grad()
        asa.keep_gate, own = keep, x.clone().requires_grad_()
        torch.manual_seed(1)
        y = asa(own)
        (y * weight).sum().backward()
        assert (asa.last_gate is not None) == keep
        found.append([y.detach(), own.grad, asa.important.weight.grad, asa.sub_important.weight.grad])
    return found


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("share", [0.4, 0.0])
@pytest.mark.parametrize("ties", [True, False])
def test_values_and_gradients_are_those_of_the_operations(shape: tuple[int, ...], share: float, ties: bool) -> None:
    for ours, theirs in zip(*_both_ways(shape, share=share, ties=ties), strict=True):
        assert theirs.abs().max() > 0
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_memory_may_lie_channels_last_and_stays_so() -> None:
    asa = ASA(4, 6)
    x = torch.randn(12, 6, 5, 3).contiguous(memory_format=torch.channels_last).unflatten(0, (4, 3))
    y = asa(x)
    assert y.stride() == x.stride()
    assert torch.equal(y, asa(x.contiguous()))
