# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

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
