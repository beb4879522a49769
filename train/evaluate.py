# SPDX-License-Identifier: Apache-2.0
"""What a trained `SpikingNet` says about clips, and whether recordings of several clips are told right.

What it says about a clip does not depend on the clips that are run with it, but for ASA's ``batch`` mode, in which a
batch shares its masks. There the batch is part of what is computed: `clips_at_once` takes it from the configuration,
and whoever names none is refused.
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
    """Clips of a batch in evaluation: those of ``train.test_batch`` recordings where they share masks.

    The published code tests 4 recordings of 10 clips together (BICLab/ASA-SNN, ``final.sh``).
    """
    return config.train.test_batch * config.data.clips if unites_masks(config.model) else _BATCH


def unites_masks(config: ModelConfig) -> bool:
    """Whether a network has ASA in its ``batch`` mode."""
    return config.attention in ("asa1", "asa2") and config.asa_mode == "batch"


def shares_masks(model: SpikingNet) -> bool:
    """Whether what the network says about a clip depends on the others of its batch; static gates end that."""
    return any(isinstance(m, ASA) and m.mode == "batch" and m.static_gate is None for m in model.modules())


def batches(model: SpikingNet, clips: int, batch: int | None, usual: int = _BATCH) -> list[slice]:
    """How many clips are cut into batches to be run one after the other; without a number as is ``usual``.

    Raises:
        SpikefoldError: no number, but the result depends on it.
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
    """Logits per clip and class ``(N, classes)`` of the outputs ``(T, N, classes, voters)``."""
    if config.loss == "current":
        return current.mean(dim=(0, 3))
    return spikes.mean(dim=(0, 3)) * config.gain


@torch.no_grad()
def class_logits(model: SpikingNet, frames: np.ndarray, config: TrainConfig, batch: int | None = None) -> np.ndarray:
    """The training's logits per clip and class ``(N, classes)``, each clip from zero state: what a student learns.

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
    """Output spikes per clip and class ``(N, classes)`` int64, each clip from zero state.

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
    """For each recording whether its class is named, ``(N,)`` bool; ties of counts as `predictions` decides them.

    Args:
        counts: output spikes ``(N, clips, classes)``.
        labels: ``(N,)``.
        vote: ``"majority"``: more than half of the clips must be right, a tie is wrong (BICLab/ASA-SNN,
            ``apis/test.py``); ``"rates"``: the class with most spikes in all clips together must be.
        numbers: of each recording in its set, ``(N,)``; None for 0, 1, 2, ... Whoever calls this batch by batch gives
            them, or a tie is decided otherwise in another batch size.
    """
    recordings = np.arange(len(counts)) if numbers is None else np.asarray(numbers)
    if vote == "rates":
        return np.asarray(predictions(counts.sum(axis=1), recordings) == labels)
    clips = recordings[:, None] * counts.shape[1] + np.arange(counts.shape[1])
    right = (predictions(counts, clips) == labels[:, None]).sum(axis=1)
    return np.asarray(2 * right > counts.shape[1])


def judged(model: SpikingNet, windows: Windows, vote: str, ranks: Ranks = ALONE, batch: int | None = None) -> float:
    """Share of recordings that are told right, each rank looking at a part of them.

    Args:
        model: the network.
        windows: the recordings' clips.
        vote: as `is_correct` takes it.
        ranks: this process among those that share the work; batches stay whole.
        batch: clips that are run at once, as `clips_at_once` says: those of as many recordings as they make up.

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
