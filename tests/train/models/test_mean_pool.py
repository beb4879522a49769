# SPDX-License-Identifier: Apache-2.0
"""The pool with its own backward pass is SpikingJelly's, bit for bit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from spikingjelly.activation_based import layer

from spikefold.train.models import mean_pool
from spikefold.train.models.mean_pool import MeanPool


def _both(shape: tuple[int, ...], last: bool, **options: Any) -> list[tuple[torch.Tensor, torch.Tensor]]:
    found = []
    for kind in (MeanPool, layer.AvgPool2d):
        torch.manual_seed(0)
        x = torch.randn(shape)
        if last:
            x = x.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, shape[:2])
        y = kind(step_mode="m", **options)(x.requires_grad_())
        found.append((y, torch.autograd.grad(y, x, torch.randn(y.shape))[0]))
    return found


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("kernel", [2, 3, (2, 3), (1, 1), (6, 12)])
def test_means_and_gradients_are_equal(kernel: Any, last: bool) -> None:
    (y, gradient), (expected, expected_gradient) = _both((3, 2, 5, 6, 12), last, kernel_size=kernel)
    assert torch.equal(y, expected)
    assert torch.equal(gradient, expected_gradient)
    assert gradient.abs().min() > 0
    assert y.stride() == expected.stride()


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((3, 2, 5, 7, 12), {"kernel_size": 2}),
        ((3, 2, 5, 6, 12), {"kernel_size": 3, "stride": 1}),
        ((3, 2, 5, 6, 12), {"kernel_size": 2, "padding": 1}),
        ((3, 2, 5, 6, 12), {"kernel_size": 2, "divisor_override": 3}),
    ],
    ids=["a rest", "overlapping", "padded", "another divisor"],
)
def test_other_windows_are_left_to_spikingjelly(
    shape: tuple[int, ...], options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mean_pool, "_Mean", None)  # would fail
    (y, gradient), (expected, expected_gradient) = _both(shape, True, **options)
    assert torch.equal(y, expected)
    assert torch.equal(gradient, expected_gradient)


def test_nothing_of_the_input_is_kept() -> None:
    kept: list[torch.Size] = []

    def keep(x: torch.Tensor) -> torch.Tensor:
        kept.append(x.shape)
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        MeanPool(2, step_mode="m")(torch.randn(2, 2, 3, 8, 8, requires_grad=True)).sum().backward()
    assert kept == []
