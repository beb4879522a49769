# SPDX-License-Identifier: Apache-2.0
"""Saves a training between two epochs, so that after a kill it continues as if it had not been interrupted.

The state is one safetensors file, which is written whole or not at all. It holds tensors (weights, batch norm
statistics, Adam's moments, the best weights so far, the state of PyTorch's random numbers on every rank) and, in its
header, JSON (the finished epochs, the settings of Adam and of the schedule, what the training depends on). Nothing is
pickled. Augmentations of raw events have no state, because what they draw follows from seed, epoch and recording.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save_file
from torch.optim.lr_scheduler import LRScheduler

from spikefold.config import Config
from spikefold.errors import ConfigError, DataError, Issue
from spikefold.files import replacing
from spikefold.train.data.clips import Clips
from spikefold.train.models.spiking_net import SpikingNet
from spikefold.train.processes.parallel import Ranks
from spikefold.train.schedule import FUSED

_KEY = "training"
_BROKEN = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    RuntimeError,
    RecursionError,
    struct.error,
    SafetensorError,
)


@dataclass(frozen=True)
class Epoch:
    """The result of one epoch.

    Attributes:
        number: its number, from 1.
        of: the number of all epochs.
        loss: the mean loss over the training clips.
        accuracy: the accuracy on the training batches, each as it was while it was trained.
        judged: the share of the selecting recordings that are classified correctly; None where the weights of the
            last epoch are kept.
    """

    number: int
    of: int
    loss: float
    accuracy: float
    judged: float | None = None


EpochReport = Callable[[Epoch], None]
"""Called with every epoch of a training."""


@dataclass(eq=False)
class TrainingProgress:
    """Everything that changes while a network is trained.

    Attributes:
        model: the network in training.
        optimiser: Adam with its moments.
        schedule: the learning rate.
        scaler: the scale of the loss in half precision.
        epochs: the finished epochs.
        best: the weights of the best epoch; None where those of the last epoch are kept.
    """

    model: SpikingNet
    optimiser: torch.optim.Adam
    schedule: LRScheduler
    scaler: torch.amp.GradScaler
    epochs: list[Epoch] = field(default_factory=list)
    best: dict[str, torch.Tensor] | None = None

    @property
    def best_judged(self) -> float:
        """The highest share that an epoch reached; -1, below every share, where there is none."""
        return max((epoch.judged for epoch in self.epochs if epoch.judged is not None), default=-1.0)


def training_identity(config: Config, clips: Clips, classes: int, ranks: Ranks) -> dict[str, Any]:
    """Everything that the weights after an epoch depend on, as plain values."""
    return {
        "seed": config.seed,
        "model": config.model.model_dump(mode="json"),
        "train": config.train.model_dump(mode="json"),
        "classes": classes,
        "clip": list(clips.shape),
        "data": clips.fingerprint(),
        "processes": ranks.count,
        "torch": torch.__version__,
        "fused Adam": FUSED,
    }


def save_state(path: Path, progress: TrainingProgress, depends_on: Mapping[str, Any], ranks: Ranks) -> None:
    """Write the state. Every rank must call it, because each contributes; the first one writes."""
    tensors = {f"model.{key}": value for key, value in progress.model.state_dict().items()}
    tensors |= {f"best.{key}": value for key, value in (progress.best or {}).items()}
    adam = progress.optimiser.state_dict()
    for index, moments in adam["state"].items():
        tensors |= {f"adam.{index}.{key}": value for key, value in moments.items()}
    device = next(progress.model.parameters()).device
    for rank, state in enumerate(ranks.everyones(torch.get_rng_state())):
        tensors[f"random.cpu.{rank}"] = state
    if device.type == "cuda":
        for rank, state in enumerate(ranks.everyones(torch.cuda.get_rng_state(device))):
            tensors[f"random.cuda.{rank}"] = state
    about = {
        "depends_on": depends_on,
        "epochs": [asdict(epoch) for epoch in progress.epochs],
        "adam": adam["param_groups"],
        "schedule": progress.schedule.state_dict(),
        "scaler": progress.scaler.state_dict(),
    }
    if ranks.first:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as scratch:
            kept = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
            save_file(kept, scratch, metadata={_KEY: json.dumps(about)})


def restore(path: Path, progress: TrainingProgress, depends_on: Mapping[str, Any], ranks: Ranks) -> None:
    """Bring a fresh training to the saved state; without a file it stays fresh. Every rank must call it.

    Raises:
        ConfigError: the file belongs to a training with another configuration, other data or another number of
            processes.
        DataError: the file is damaged.
    """
    content = ranks.bytes_of_first(path.read_bytes() if ranks.first and path.is_file() else b"")
    if not content:
        return
    try:
        tensors = {key: value.clone() for key, value in load_tensors(content).items()}
        about = _about(content)
        _same(about["depends_on"], depends_on, path)
        _fill(progress, tensors, about, ranks)
    except _BROKEN as error:
        raise DataError(
            f"cannot go on with the training: {type(error).__name__}: {error}",
            where=str(path),
            hint="remove the file to train from the start",
        ) from error


def _fill(progress: TrainingProgress, tensors: dict[str, torch.Tensor], about: dict[str, Any], ranks: Ranks) -> None:
    progress.model.load_state_dict(_part(tensors, "model."))
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in _part(tensors, "adam.").items():
        index, _, name = key.partition(".")
        moments.setdefault(int(index), {})[name] = value
    progress.optimiser.load_state_dict({"state": moments, "param_groups": about["adam"]})
    progress.schedule.load_state_dict(about["schedule"])
    progress.scaler.load_state_dict(about["scaler"])
    progress.epochs = [Epoch(**epoch) for epoch in about["epochs"]]
    device = next(progress.model.parameters()).device
    best = _part(tensors, "best.")
    progress.best = {key: value.to(device) for key, value in best.items()} or None
    torch.set_rng_state(tensors[f"random.cpu.{ranks.rank}"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(tensors[f"random.cuda.{ranks.rank}"], device)


def _part(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def _about(content: bytes) -> dict[str, Any]:
    """The JSON in the header of a safetensors file: eight bytes of its length, then the header."""
    (length,) = struct.unpack_from("<Q", content)
    found: dict[str, Any] = json.loads(json.loads(content[8 : 8 + length])["__metadata__"][_KEY])
    return found


def _same(then: Mapping[str, Any], now: Mapping[str, Any], path: Path) -> None:
    was, here = (_flat(values) for values in (then, json.loads(json.dumps(now))))
    issues = [
        Issue(
            "the same as before",
            key,
            str(here.get(key, "nothing")),
            str(was.get(key, "nothing")),
            "go on with what the training began with",
        )
        for key in sorted(was.keys() | here.keys())
        if was.get(key) != here.get(key)
    ]
    if issues:
        raise ConfigError(
            "an unfinished training of another configuration is there",
            where=str(path),
            issues=issues,
            hint=f"set these back, choose another --out, or remove {path.parent}",
        )


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found
