# SPDX-License-Identifier: Apache-2.0
"""A task that a tiny network learns in seconds, for the tests of the training and the processes they start."""

from __future__ import annotations

from typing import Any

import numpy as np

from spikefold.config import Config, ModelConfig, TrainConfig
from spikefold.train.clips import ClipSet
from spikefold.train.events import Recording, pack_events
from spikefold.train.models import SpikingNet

CONFIG = Config(
    model=ModelConfig(channels=(4,), strides=(2,), voters=2), train=TrainConfig(epochs=6, batch=8, lr=0.02, shift=0)
)


def changed(config: Config = CONFIG, *, seed: int | None = None, model: Any = None, train: Any = None) -> Config:
    """A configuration with other values in its sections."""
    return config.model_copy(
        update={
            "seed": config.seed if seed is None else seed,
            "model": config.model.model_copy(update=model or {}),
            "train": config.train.model_copy(update=train or {}),
        }
    )


def with_everything(config: Config = CONFIG) -> Config:
    """A training that draws random numbers in every batch: order, shift and, in the network, mean gates."""
    return changed(config, model={"attention": "asa1", "static_share": 0.4}, train={"shift": 1, "weight_decay": 1e-4})


def halves(count: int = 44, seed: int = 0) -> ClipSet:
    """Two classes: events in the left or in the right half of a 6x8 input, a few everywhere."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    frames = rng.poisson(0.05, (3, count, 2, 6, 8)).astype(np.uint16)
    for n, label in enumerate(labels):
        frames[:, n, :, :, 4 * label : 4 * label + 4] += rng.poisson(0.7, (3, 2, 6, 4)).astype(np.uint16)
    return ClipSet(frames, labels)


def recording(frames: np.ndarray, label: int) -> Recording:
    """Events that give these frames ``(T, C, H, W)`` with bins of a millisecond."""
    t, p, y, x = np.nonzero(frames)
    times = np.repeat(t * 1000, frames[t, p, y, x])
    columns = [np.repeat(values, frames[t, p, y, x]) for values in (x, y, p)]
    return Recording(pack_events(times, *columns), (6, 8), int(label))


def weights(model: SpikingNet) -> bytes:
    """Every weight and statistic, bit for bit."""
    return b"".join(value.numpy().tobytes() for value in model.state_dict().values())


def shared_by_ranks() -> dict[str, tuple[Config, ClipSet]]:
    """Trainings for one process and for two; the last batch of an epoch holds one clip, so one process gets none."""
    plain = changed(model={"attention": "none"}, train={"shift": 1})
    return {
        "vanilla": (plain, halves(41)),
        "asa2": (changed(model={"attention": "asa2", "static_share": 0.0}), halves(44)),
        "mse": (changed(plain, train={"loss": "rate_mse", "schedule": "cosine", "lr": 0.01}), halves(43)),
        "resumed": (plain, halves(41)),
    }
