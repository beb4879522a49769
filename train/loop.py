# SPDX-License-Identifier: Apache-2.0
"""Training and evaluation of a `SpikingNet` on frames held in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from spikingjelly.activation_based import functional

from spikefold.config import Config, TrainConfig
from spikefold.errors import SpikefoldError
from spikefold.train.models import SpikingNet

Report = Callable[["Epoch"], None]


@dataclass(frozen=True)
class Epoch:
    """What one epoch did: number from 1, mean loss, accuracy on the training batches as they were trained."""

    number: int
    of: int
    loss: float
    accuracy: float


@dataclass(frozen=True)
class ClipSet:
    """Frames ``(T, N, C, H, W)`` uint16 and labels ``(N,)`` of one split."""

    frames: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        if self.frames.ndim != 5 or self.frames.shape[1] != len(self.labels):
            raise SpikefoldError(f"{self.frames.shape} frames do not go with {len(self.labels)} labels")

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, count: int) -> ClipSet:
        """The first ``count`` clips."""
        return ClipSet(self.frames[:, :count], self.labels[:count])


def train(config: Config, clips: ClipSet, classes: int, report: Report) -> SpikingNet:
    """Train from scratch; equal configuration, data and thread count give equal weights on one platform."""
    torch.set_num_threads(config.train.threads)
    torch.manual_seed(config.seed)
    model = SpikingNet(config.model, clips.frames.shape[2:], clips.frames.shape[0], classes)
    frames, labels = torch.from_numpy(clips.frames.astype(np.float32)), torch.from_numpy(clips.labels)
    batches = -(-len(clips) // config.train.batch)
    optimiser = torch.optim.Adam(model.parameters(), lr=config.train.lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, config.train.lr, total_steps=config.train.epochs * batches, pct_start=0.2
    )
    for number in range(1, config.train.epochs + 1):
        model.train()
        losses, right = 0.0, 0
        for chosen in torch.randperm(len(clips)).split(config.train.batch):
            functional.reset_net(model)
            batch = shifted(frames[:, chosen], config.train.shift)
            logits = _logits(model, batch, config.train)
            loss = torch.nn.functional.cross_entropy(logits, labels[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            losses += loss.item() * len(chosen)
            right += int((logits.argmax(1) == labels[chosen]).sum())
        report(Epoch(number, config.train.epochs, losses / len(clips), right / len(clips)))
    functional.reset_net(model)
    return model.eval()


def _logits(model: SpikingNet, frames: torch.Tensor, config: TrainConfig) -> torch.Tensor:
    current, spikes = model(frames)
    if config.loss == "current":
        return current.mean(dim=(0, 3))
    return spikes.mean(dim=(0, 3)) * config.gain


def shifted(frames: torch.Tensor, most: int) -> torch.Tensor:
    """The batch ``(T, N, C, H, W)`` moved by a random number of pixels, zeros moved in."""
    if most == 0:
        return frames
    down, right = (int(v) for v in torch.randint(-most, most + 1, (2,)))
    height, width = frames.shape[3:]
    padded = torch.nn.functional.pad(frames.flatten(0, 1), (most, most, most, most))
    moved = padded[:, :, most - down : most - down + height, most - right : most - right + width]
    return moved.reshape(frames.shape)


@torch.no_grad()
def class_logits(model: SpikingNet, frames: np.ndarray, config: TrainConfig, batch: int = 50) -> np.ndarray:
    """The training's logits per clip and class ``(N, classes)``, each clip from zero state: what a student learns."""
    model.eval()
    found = []
    for start in range(0, frames.shape[1], batch):
        functional.reset_net(model)
        found.append(_logits(model, torch.from_numpy(frames[:, start : start + batch].astype(np.float32)), config))
    functional.reset_net(model)
    return np.asarray(torch.cat(found).numpy())


@torch.no_grad()
def evaluate(model: SpikingNet, frames: np.ndarray, batch: int = 50) -> np.ndarray:
    """Output spikes per clip and class ``(N, classes)`` int64, each clip from zero state."""
    model.eval()
    counts = []
    for start in range(0, frames.shape[1], batch):
        functional.reset_net(model)
        _, spikes = model(torch.from_numpy(frames[:, start : start + batch].astype(np.float32)))
        counts.append(spikes.sum(dim=(0, 3)).to(torch.int64).numpy())
    functional.reset_net(model)
    return np.concatenate(counts)
