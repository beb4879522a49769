# SPDX-License-Identifier: Apache-2.0
"""What a trained `SpikingNet` says about clips, and whether recordings of several clips are told right."""

from __future__ import annotations

import numpy as np
import torch
from spikingjelly.activation_based import functional

from spikefold.config import TrainConfig
from spikefold.train.clips import Windows
from spikefold.train.models import SpikingNet
from spikefold.train.parallel import ALONE, Ranks

_BATCH = 50


def read_out(current: torch.Tensor, spikes: torch.Tensor, config: TrainConfig) -> torch.Tensor:
    """Logits per clip and class ``(N, classes)`` of the outputs ``(T, N, classes, voters)``."""
    if config.loss == "current":
        return current.mean(dim=(0, 3))
    return spikes.mean(dim=(0, 3)) * config.gain


@torch.no_grad()
def class_logits(model: SpikingNet, frames: np.ndarray, config: TrainConfig, batch: int = _BATCH) -> np.ndarray:
    """The training's logits per clip and class ``(N, classes)``, each clip from zero state: what a student learns."""
    model.eval()
    found = []
    for start in range(0, frames.shape[1], batch):
        functional.reset_net(model)
        current, spikes = model(_input(model, frames[:, start : start + batch]))
        found.append(read_out(current, spikes, config).cpu())
    functional.reset_net(model)
    return np.asarray(torch.cat(found).numpy())


@torch.no_grad()
def evaluate(model: SpikingNet, frames: np.ndarray, batch: int = _BATCH) -> np.ndarray:
    """Output spikes per clip and class ``(N, classes)`` int64, each clip from zero state."""
    model.eval()
    counts = []
    for start in range(0, frames.shape[1], batch):
        functional.reset_net(model)
        _, spikes = model(_input(model, frames[:, start : start + batch]))
        counts.append(spikes.sum(dim=(0, 3)).to(torch.int64).cpu().numpy())
    functional.reset_net(model)
    return np.concatenate(counts)


def _input(model: SpikingNet, frames: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(frames.astype(np.float32)).to(next(model.parameters()).device)


def told_right(counts: np.ndarray, labels: np.ndarray, vote: str) -> np.ndarray:
    """For each recording whether its class is told, ``(N,)`` bool.

    Args:
        counts: output spikes ``(N, clips, classes)``.
        labels: ``(N,)``.
        vote: ``"majority"``: more than half of the clips must be right, a tie is wrong (BICLab/ASA-SNN,
            ``apis/test.py``); ``"rates"``: the class with most spikes in all clips together must be.
    """
    if vote == "rates":
        return np.asarray(counts.sum(axis=1).argmax(1) == labels)
    right = (counts.argmax(2) == labels[:, None]).sum(axis=1)
    return np.asarray(2 * right > counts.shape[1])


def judged(model: SpikingNet, windows: Windows, vote: str, ranks: Ranks = ALONE) -> float:
    """Share of recordings that are told right, each rank looking at a part of them."""
    mine = ranks.share(torch.arange(len(windows))).tolist()
    each, right = max(1, _BATCH // windows.each), 0
    for start in range(0, len(mine), each):
        chosen = mine[start : start + each]
        counts = evaluate(model, windows.frames(chosen)).reshape(len(chosen), windows.each, -1)
        right += int(told_right(counts, windows.labels[chosen], vote).sum())
    return ranks.total(right)[0] / len(windows)
