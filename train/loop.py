# SPDX-License-Identifier: Apache-2.0
"""Trains a `SpikingNet`, from scratch or from where it was interrupted, in one process or as one of several."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from spikingjelly.activation_based import functional
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from spikefold.config import Config, TrainConfig
from spikefold.train.data.augment import shifted
from spikefold.train.data.clips import Clips, Windows
from spikefold.train.deploy.gates import attention_layers
from spikefold.train.evaluate import clips_at_once, judged, read_out
from spikefold.train.models.claims import check_weights
from spikefold.train.models.spiking_net import SpikingNet
from spikefold.train.processes.ahead import made_ahead
from spikefold.train.processes.batch_norm import across_ranks
from spikefold.train.processes.device import device_for, mixed, scaler_for
from spikefold.train.processes.parallel import ALONE, Ranks
from spikefold.train.schedule import adam, schedule
from spikefold.train.state import Epoch, EpochReport, TrainingProgress, restore, save_state, training_identity
from spikefold.train.synops import SynopsMeter


@dataclass(frozen=True, eq=False)
class CheckpointSelector:
    """Chooses among the epochs by the share of these recordings that a network classifies correctly.

    Attributes:
        windows: the recordings, as clips.
        vote: how the clips of a recording decide, see `is_correct`.
    """

    windows: Windows
    vote: str

    def described(self) -> dict[str, Any]:
        """What its choice depends on besides the network, as plain values."""
        return {"recordings": len(self.windows), "clips": self.windows.each, "vote": self.vote}


def train(
    config: Config,
    clips: Clips,
    classes: int,
    report: EpochReport,
    *,
    selector: CheckpointSelector | None = None,
    state: Path | None = None,
    ranks: Ranks = ALONE,
) -> SpikingNet:
    """Train a network; equal configuration, data, thread count and ranks give equal weights on one platform.

    Args:
        config: the seed, the model and the settings of the training.
        clips: the training clips.
        classes: the number of classes.
        report: called with every epoch, those before an interruption included.
        selector: the weights of its first best epoch are kept; without one those of the last epoch.
        state: the file that is written after every epoch, and read at the start if it exists.
        ranks: this process among those that train together.

    Returns:
        The network, on the CPU and in inference mode, equal on all ranks.

    Raises:
        ConfigError: the state file belongs to another training; see also `device_for`.
        DataError: the state file is damaged.
    """
    torch.set_num_threads(config.train.threads)
    torch.manual_seed(config.seed)
    device = device_for(config.train, ranks)
    check_weights(config.model, clips.shape[1:], clips.shape[0], classes)
    model = SpikingNet(config.model, clips.shape[1:], clips.shape[0], classes).to(device)
    if not ranks.first:
        torch.manual_seed(config.seed + (ranks.rank << 32))  # dropout differs from rank to rank
    if ranks.count > 1:
        across_ranks(model, ranks)
        for attention in attention_layers(model).values():
            attention.ranks = ranks
    optimiser = adam(model.parameters(), config.train)
    steps = schedule(optimiser, config.train, -(-len(clips) // config.train.batch))
    progress = TrainingProgress(model, optimiser, steps, scaler_for(config.train, device))
    depends_on = training_identity(config, clips, classes, ranks) | {"selector": selector and selector.described()}
    if state is not None:
        restore(state, progress, depends_on, ranks)
    for epoch in progress.epochs:
        report(epoch)
    forward = _in_parallel(model, device) if ranks.count > 1 else model
    for number in range(len(progress.epochs) + 1, config.train.epochs + 1):
        loss, accuracy = _one_epoch(forward, progress, clips, config.train, number, ranks)
        found = None
        if selector is not None:
            found = judged(model, selector.windows, selector.vote, ranks, clips_at_once(config))
        if found is not None and found > progress.best_judged:
            progress.best = {key: value.detach().clone() for key, value in model.state_dict().items()}
        progress.epochs.append(Epoch(number, config.train.epochs, loss, accuracy, found))
        if state is not None:
            save_state(state, progress, depends_on, ranks)
        report(progress.epochs[-1])
    functional.reset_net(model)
    trained = model.cpu() if ranks.count == 1 else SpikingNet(config.model, clips.shape[1:], clips.shape[0], classes)
    trained.load_state_dict(progress.best or model.state_dict())
    return trained.eval()


def _one_epoch(
    forward: nn.Module, progress: TrainingProgress, clips: Clips, config: TrainConfig, number: int, ranks: Ranks
) -> tuple[float, float]:
    """Train over all clips once; mean loss and accuracy over all ranks."""
    progress.model.train()
    device = next(progress.model.parameters()).device
    labels = torch.from_numpy(clips.labels)
    losses, right = 0.0, 0.0
    meter = SynopsMeter(progress.model) if config.synops_penalty else None

    def frames_of(chosen: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(clips.batch(ranks.share(chosen).numpy(), number).astype(np.float32))

    parts = ranks.agreed(torch.randperm(len(clips))).split(config.batch)
    for chosen, frames in made_ahead(frames_of, parts):
        functional.reset_net(progress.model)
        mine = ranks.share(chosen)
        batch, wanted = shifted(frames.to(device), config.shift, ranks), labels[mine].to(device)
        with mixed(config, device):
            current, spikes = forward(batch)
            logits = read_out(current, spikes, config)
            loss = _loss(logits, wanted, config)
            if meter is not None:
                loss = loss + config.synops_penalty * meter.taken() / (1e6 * max(1, len(mine)))
        # gradients are averaged over ranks, whose shares of a batch may differ in size
        share = loss if ranks.count == 1 else loss * (len(mine) * ranks.count / len(chosen))
        progress.optimiser.zero_grad()
        progress.scaler.scale(share).backward()
        progress.scaler.step(progress.optimiser)
        progress.scaler.update()
        progress.schedule.step()
        losses += loss.item() * len(mine)
        right += int((logits.argmax(1) == wanted).sum())
    if meter is not None:
        meter.close()
    losses, right = ranks.total(losses, right)
    return losses / len(clips), right / len(clips)


def _loss(logits: torch.Tensor, labels: torch.Tensor, config: TrainConfig) -> torch.Tensor:
    """The mean loss over the clips; a rank without a clip returns 0 and still takes part in the sums over ranks."""
    if not len(labels):
        return logits.sum()
    if config.loss != "rate_mse":
        return nn.functional.cross_entropy(logits, labels, label_smoothing=config.label_smoothing)
    rates = logits / config.gain
    return nn.functional.mse_loss(rates, nn.functional.one_hot(labels, logits.shape[1]).to(rates.dtype))


def _in_parallel(model: SpikingNet, device: torch.device) -> nn.Module:
    return DistributedDataParallel(
        model,
        device_ids=None if device.type == "cpu" else [device.index],
        find_unused_parameters=model.config.attention.startswith("asa"),  # ASA's importance weights get no gradient
    )
