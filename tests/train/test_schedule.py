# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from spikefold.config import TrainConfig
from spikefold.train.schedule import adam, schedule


def _rates(config: TrainConfig, batches: int) -> list[float]:
    weight = torch.nn.Parameter(torch.ones(1))
    optimiser = adam([weight], config)
    steps = schedule(optimiser, config, batches)
    rates = []
    for _ in range(config.epochs * batches):
        rates.append(optimiser.param_groups[0]["lr"])
        weight.grad = torch.ones(1)
        optimiser.step()
        steps.step()
    return rates


def test_the_cosine_goes_down_epoch_by_epoch_to_a_millionth() -> None:
    rates = _rates(TrainConfig(epochs=5, lr=1e-3, schedule="cosine"), 3)
    expected = [1e-6 + (1e-3 - 1e-6) * (1 + math.cos(math.pi * epoch / 5)) / 2 for epoch in range(5)]
    assert rates == pytest.approx([rate for rate in expected for _ in range(3)])
    assert rates[0] == 1e-3


def test_it_is_the_schedule_of_the_published_code() -> None:
    config = TrainConfig(epochs=7, lr=1e-4, schedule="cosine")
    weight = torch.nn.Parameter(torch.ones(1))
    optimiser = torch.optim.Adam([weight], lr=1e-4)
    theirs = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimiser, T_0=7, T_mult=1, eta_min=1e-6)
    rates = []
    for _ in range(7):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        theirs.step()
    assert _rates(config, 1) == pytest.approx(rates)


def test_one_cycle_rises_over_a_fifth_and_falls() -> None:
    rates = _rates(TrainConfig(epochs=10, lr=1e-2), 10)
    top = rates.index(max(rates))
    assert max(rates) == pytest.approx(1e-2)
    assert top == 19
    assert rates[:20] == sorted(rates[:20])
    assert rates[19:] == sorted(rates[19:], reverse=True)


def test_weight_decay_reaches_adam() -> None:
    assert adam([torch.nn.Parameter(torch.ones(1))], TrainConfig(weight_decay=0.5)).defaults["weight_decay"] == 0.5


def test_a_step_is_adams_whatever_the_order_of_the_gradient_in_memory() -> None:
    """Kingma and Ba (2015), Algorithm 1 with weight decay, in float64; the gradient comes with its channels last."""
    torch.manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(4, 3, 3, 3, dtype=torch.float64))
    config = TrainConfig(lr=0.01, weight_decay=0.1, decoupled_decay=False)
    optimiser = adam([weight], config)
    expected = weight.detach().numpy().copy()
    first = second = np.zeros_like(expected)
    for step in range(1, 6):
        x = torch.randn(2, 3, 6, 6, dtype=torch.float64).contiguous(memory_format=torch.channels_last)
        optimiser.zero_grad()
        torch.nn.functional.conv2d(x, weight).square().sum().backward()
        assert weight.grad is not None
        gradient = weight.grad.numpy() + 0.1 * expected
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        unbiased = np.sqrt(second / (1 - 0.999**step)) + 1e-8
        expected = expected - 0.01 * (first / (1 - 0.9**step)) / unbiased
        optimiser.step()
        assert np.abs(weight.detach().numpy() - expected).max() < 1e-12
    assert optimiser.defaults["fused"]


def _scaled_steps(scaler: torch.amp.GradScaler, overflow_at: int | None = None) -> tuple[torch.Tensor, list[float]]:
    """Six steps on a square, one with an infinite gradient; the weight after them, and the number of steps taken."""
    weight, taken = torch.nn.Parameter(torch.tensor([1.0, -2.0, 3.0])), []
    optimiser = adam([weight], TrainConfig(lr=0.1, weight_decay=0.01))
    steps = schedule(optimiser, TrainConfig(epochs=6, lr=0.1), 1)
    for number in range(6):
        if number == overflow_at:
            before = weight.detach().clone()
        optimiser.zero_grad()
        loss = (weight * (float("inf") if number == overflow_at else 1.0)).square().sum()
        scaler.scale(loss).backward()
        scaler.step(optimiser)
        scaler.update()
        steps.step()
        taken.append(float(optimiser.state[weight]["step"]))
        if number == overflow_at:
            assert torch.equal(weight, before)
    return weight.detach(), taken


def test_a_scaled_loss_gives_the_same_steps() -> None:
    """On a CPU: the scaler of fp16 and the fused optimiser, which are NOT RUN on a GPU here."""
    plain, _ = _scaled_steps(torch.amp.GradScaler("cpu", enabled=False))
    scaler = torch.amp.GradScaler("cpu")
    scaled, taken = _scaled_steps(scaler)
    assert torch.equal(scaled, plain), "a scale is a power of two"
    assert taken == [1, 2, 3, 4, 5, 6]
    assert scaler.get_scale() == 2**16


def test_a_step_whose_gradient_overflows_is_left_out() -> None:
    scaler = torch.amp.GradScaler("cpu")
    weight, taken = _scaled_steps(scaler, overflow_at=2)
    assert taken == [1, 2, 2, 3, 4, 5]
    assert scaler.get_scale() == 2**15
    assert bool(torch.isfinite(weight).all())


def test_decoupled_decay_shrinks_weights_by_rate_times_decay_and_leaves_moments_alone() -> None:
    weight = torch.nn.Parameter(torch.full((3,), 2.0))
    optimiser = adam([weight], TrainConfig(lr=0.1, weight_decay=0.5, decoupled_decay=True))
    weight.grad = torch.zeros(3)
    optimiser.step()
    assert weight.tolist() == pytest.approx([2.0 * (1 - 0.1 * 0.5)] * 3)
    other = torch.nn.Parameter(torch.full((3,), 2.0))
    mixed_in = adam([other], TrainConfig(lr=0.1, weight_decay=0.5))
    other.grad = torch.zeros(3)
    mixed_in.step()
    assert other.tolist() == pytest.approx([1.9] * 3), "Adam's step has the length lr whatever the decay"
