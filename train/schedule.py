# SPDX-License-Identifier: Apache-2.0
"""Makes the optimiser, Adam, and the schedule of its learning rate."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from spikefold.config import TrainConfig

_LOWEST = 1e-6
FUSED = True
"""Whether Adam does its arithmetic in one pass over each weight, which saves a tenth of a training step."""


def adam(parameters: Iterable[torch.nn.Parameter], config: TrainConfig) -> torch.optim.Adam:
    """Make the optimiser.

    A fused Adam takes scale and overflow from a `torch.amp.GradScaler` itself: it unscales in its own pass, and
    leaves weights, moments and its number of steps as they are where a gradient overflowed (PyTorch 2.13,
    ``optim/adam.py``).
    """
    kind = torch.optim.AdamW if config.decoupled_decay else torch.optim.Adam
    return kind(parameters, lr=config.lr, weight_decay=config.weight_decay, fused=FUSED)


def schedule(optimiser: torch.optim.Adam, config: TrainConfig, batches: int) -> LRScheduler:
    """Make the schedule of the learning rate, which takes a step after every batch.

    ``one_cycle`` rises over the first fifth of all batches, then falls (Smith and Topin 2019, PyTorch's
    `OneCycleLR`). ``cosine`` is ``low + (lr - low) (1 + cos(pi e / E)) / 2`` with ``low = 1e-6`` for all batches of
    epoch ``e`` of ``E``, counted from 0 (Loshchilov and Hutter 2017, eq. 5; BICLab/ASA-SNN, without a restart).
    """
    if config.schedule == "one_cycle":
        return OneCycleLR(optimiser, config.lr, total_steps=config.epochs * batches, pct_start=0.2)
    lowest = min(_LOWEST, config.lr)

    def factor(done: int) -> float:
        epoch = min(done // batches, config.epochs - 1)
        return (lowest + (config.lr - lowest) * (1 + math.cos(math.pi * epoch / config.epochs)) / 2) / config.lr

    return LambdaLR(optimiser, factor)
