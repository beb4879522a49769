# SPDX-License-Identifier: Apache-2.0
"""Runs a trained `SpikingNet` over clips, and decides which recordings of several clips it classifies correctly.

The result for a clip does not depend on the other clips of its batch, with one exception: in ASA's ``batch`` mode all
clips of a batch share masks. There the size of a batch is part of the computation. `clips_at_once` takes it from the
configuration, and a call without it is refused.
"""

from __future__ import annotations

import numpy as np
import torch
from spikingjelly.activation_based import functional

from spikefold.config import Config, ModelConfig, TrainConfig
from spikefold.errors import SpikefoldError
from spikefold.hardware.simulators.accuracy import predictions
from spikefold.train.data.clips import Windows
from spikefold.train.models.attention import ASA
from spikefold.train.models.spiking_net import SpikingNet
from spikefold.train.processes.parallel import ALONE, Ranks

_BATCH = 50


def clips_at_once(config: Config) -> int:
    """The number of clips in a batch of an evaluation.

    Where the clips of a batch share masks, it is that of ``train.test_batch`` recordings: the published code tests 4
    recordings of 10 clips together (BICLab/ASA-SNN, ``final.sh``). Elsewhere it does not change the result.
    """
    return config.train.test_batch * config.data.clips if unites_masks(config.model) else _BATCH


def unites_masks(config: ModelConfig) -> bool:
    """Whether a configuration asks for ASA in its ``batch`` mode."""
    return config.attention in ("asa1", "asa2") and config.asa_mode == "batch"


def shares_masks(model: SpikingNet) -> bool:
    """Whether the result for a clip depends on the other clips of its batch; with static gates it never does."""
    return any(isinstance(m, ASA) and m.mode == "batch" and m.static_gate is None for m in model.modules())


def batches(model: SpikingNet, clips: int, batch: int | None, usual: int = _BATCH) -> list[slice]:
    """Cut clips into batches that are run one after the other.

    Args:
        model: the network that will be run.
        clips: the number of all clips.
        batch: the number of clips in a batch; None where it does not matter.
        usual: the number to take for None.

    Raises:
        SpikefoldError: no number is given, but the result depends on it.
    """
    if batch is None and shares_masks(model):
        raise SpikefoldError(
            "the clips of a batch share their masks, so their number must be given",
            where="model.asa_mode",
            hint="`clips_at_once` has it from a configuration",
        )
    each = batch or usual
    return [slice(start, start + each) for start in range(0, clips, each)]


def read_out(current: torch.Tensor, spikes: torch.Tensor, config: TrainConfig) -> torch.Tensor:
    """The logits ``(N, classes)`` of each clip, from the outputs ``(T, N, classes, voters)``."""
    if config.loss == "current":
        return current.mean(dim=(0, 3))
    return spikes.mean(dim=(0, 3)) * config.gain


@torch.no_grad()
def class_logits(model: SpikingNet, frames: np.ndarray, config: TrainConfig, batch: int | None = None) -> np.ndarray:
    """The logits ``(N, classes)`` that the training uses, each clip from zero state: what a student learns from.

    Raises:
        SpikefoldError: see `batches`.
    """
    model.eval()
    found = []
    for part in batches(model, frames.shape[1], batch):
        functional.reset_net(model)
        current, spikes = model(_input(model, frames[:, part]))
        found.append(read_out(current, spikes, config).cpu())
    functional.reset_net(model)
    return np.asarray(torch.cat(found).numpy())


@torch.no_grad()
def evaluate(model: SpikingNet, frames: np.ndarray, batch: int | None = None) -> np.ndarray:
    """Count the output spikes ``(N, classes)`` int64 of each clip and class, each clip from zero state.

    Raises:
        SpikefoldError: see `batches`.
    """
    model.eval()
    counts = []
    for part in batches(model, frames.shape[1], batch):
        functional.reset_net(model)
        _, spikes = model(_input(model, frames[:, part]))
        counts.append(spikes.sum(dim=(0, 3)).to(torch.int64).cpu().numpy())
    functional.reset_net(model)
    return np.concatenate(counts)


def _input(model: SpikingNet, frames: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(frames.astype(np.float32)).to(next(model.parameters()).device)


def is_correct(
    counts: np.ndarray, labels: np.ndarray, vote: str, numbers: np.ndarray | list[int] | None = None
) -> np.ndarray:
    """For each recording whether its class is found, ``(N,)`` bool; `predictions` decides ties of counts.

    Args:
        counts: the output spikes ``(N, clips, classes)``.
        labels: the right classes ``(N,)``.
        vote: with ``"majority"`` more than half of the clips must be right, and a tie is wrong (BICLab/ASA-SNN,
            ``apis/test.py``); with ``"rates"`` the class with most spikes in all clips together must be right.
        numbers: the number of each recording in its set, ``(N,)``; None for 0, 1, 2, ... Whoever calls this batch by
            batch gives them; otherwise a tie would be decided differently in another batch size.
    """
    recordings = np.arange(len(counts)) if numbers is None else np.asarray(numbers)
    if vote == "rates":
        return np.asarray(predictions(counts.sum(axis=1), recordings) == labels)
    clips = recordings[:, None] * counts.shape[1] + np.arange(counts.shape[1])
    right = (predictions(counts, clips) == labels[:, None]).sum(axis=1)
    return np.asarray(2 * right > counts.shape[1])


def judged(model: SpikingNet, windows: Windows, vote: str, ranks: Ranks = ALONE, batch: int | None = None) -> float:
    """The share of recordings whose class is found; each rank runs a part of them.

    Args:
        model: the network.
        windows: the clips of the recordings.
        vote: how the clips of a recording decide, see `is_correct`.
        ranks: this process among those that share the work; batches stay whole.
        batch: the number of clips that are run at once, see `clips_at_once`; a recording is never split.

    Raises:
        SpikefoldError: see `batches`.
    """
    each, right = max(1, (batch or _BATCH) // windows.each), 0
    if not shares_masks(model):  # a batch may be smaller, so that every rank has some
        each = min(each, -(-len(windows) // ranks.count))
    parts = torch.arange(len(windows)).split(each)
    for part in ranks.share(torch.arange(len(parts))).tolist():
        chosen = parts[part].tolist()
        together = None if batch is None else len(chosen) * windows.each
        counts = evaluate(model, windows.frames(chosen), together).reshape(len(chosen), windows.each, -1)
        right += int(is_correct(counts, windows.labels[chosen], vote, chosen).sum())
    return ranks.total(right)[0] / len(windows)
