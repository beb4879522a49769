# SPDX-License-Identifier: Apache-2.0
"""A task that a tiny network learns in seconds, for the tests of the training and the processes they start."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from spikefold.config import Config, ModelConfig, TrainConfig
from spikefold.train.data.clips import ClipSet
from spikefold.train.data.events import Recording, pack_events
from spikefold.train.models.attention import ASA, Attention
from spikefold.train.models.attention_compared import SA, TCSA
from spikefold.train.models.spiking_net import SpikingNet
from spikefold.train.processes.parallel import Ranks

CONFIG = Config(
    model=ModelConfig(channels=(4,), strides=(2,), voters=2),
    train=TrainConfig(
        epochs=6, batch=8, lr=0.02, gain=20.0, label_smoothing=0.0, weight_decay=0.0, synops_penalty=0.0
    ),
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
        "asa1, mean gates": (changed(model={"attention": "asa1", "static_share": 0.3}), halves(41)),
        "asa1, batch": (changed(model={"attention": "asa1", "static_share": 0.0, "asa_mode": "batch"}), halves(41)),
        "asa1, everything": (
            changed(
                model={"attention": "asa1", "static_share": 0.3, "asa_mode": "batch", "learn_importance": True},
                train={"shift": 1},
            ),
            halves(43),
        ),
        "tcsa, mean gates": (changed(model={"attention": "tcsa", "static_share": 0.3}), halves(41)),
        "mse": (changed(plain, train={"loss": "rate_mse", "schedule": "cosine", "lr": 0.01}), halves(43)),
        "resumed": (plain, halves(41)),
    }


GATED = {
    "asa1 clip": lambda: ASA(5, 6, static_share=0.5),
    "asa1 batch": lambda: ASA(5, 6, mode="batch"),
    "asa2 batch learns": lambda: ASA(5, 6, temporal_mlp=False, mode="batch", learn_importance=True),
    "asa1 batch learns, mean gates": lambda: ASA(5, 6, mode="batch", learn_importance=True, static_share=0.5),
    "sa": lambda: SA(5, 6, static_share=0.5),
    "tcsa": lambda: TCSA(5, 6, static_share=0.5),
}
"""Attentions whose result for a clip depends on its batch."""
SHARES = {"even": (4, 4), "uneven": (5, 2), "one has none": (3, 0), "the first has none": (0, 3)}
"""Clips of the two processes."""


def gated(name: str, sizes: tuple[int, ...], ranks: Ranks) -> dict[str, torch.Tensor]:
    """One step of an attention in float64: what it gives, and the gradients of its input and its weights.

    Args:
        name: of `GATED`.
        sizes: clips of each process; one process has them all.
        ranks: this process.
    """
    torch.manual_seed(0)
    module: Attention = GATED[name]().double().train()
    x, weight = torch.randn(2, 5, sum(sizes), 6, 4, 3, dtype=torch.float64)
    module.ranks = ranks
    if ranks.count > 1:
        x, weight = (whole.split(sizes, dim=1)[ranks.rank] for whole in (x, weight))
    own = x.clone().requires_grad_()
    torch.manual_seed(1 + ranks.rank)  # so that only the first rank can draw what one process draws
    y = module(own)
    (y * weight).sum().backward()
    found = {"y": y.detach(), "x": own.grad, **{key: value.grad for key, value in module.named_parameters()}}
    return {key: value.contiguous() for key, value in found.items() if value is not None}
