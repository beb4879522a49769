# SPDX-License-Identifier: Apache-2.0
"""A training between two epochs, on disk, so that it can go on after a kill as if nothing had been.

One safetensors file, written whole or not at all: tensors (weights, batch norm statistics, Adam's moments, the best
weights so far, the state of PyTorch's random numbers on every rank) and, in its header, JSON (epochs done, Adam's
and the schedule's settings, what the training depends on). No pickle. Augmentations of raw events keep no state: what
they draw follows from seed, epoch and recording.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
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
_BROKEN = (ValueError, LookupError, TypeError, AttributeError, RuntimeError, struct.error, SafetensorError)


@dataclass(frozen=True)
class Epoch:
    """What one epoch did: number from 1, mean loss, accuracy on the training batches as they were trained.

    Attributes:
        judged: share of the recordings told right that choose the weights; None where the last epoch's are kept.
    """

    number: int
    of: int
    loss: float
    accuracy: float
    judged: float | None = None


@dataclass(eq=False)
class Progress:
    """Everything that changes while a network is trained.

    Attributes:
        epochs: what was done so far.
        best: the weights of the best epoch, None where the last epoch's are kept.
    """

    model: SpikingNet
    optimiser: torch.optim.Adam
    schedule: LRScheduler
    scaler: torch.amp.GradScaler
    epochs: list[Epoch] = field(default_factory=list)
    best: dict[str, torch.Tensor] | None = None

    @property
    def best_judged(self) -> float:
        """The most that an epoch reached; below all where none was judged."""
        return max((epoch.judged for epoch in self.epochs if epoch.judged is not None), default=-1.0)


def identity(config: Config, clips: Clips, classes: int, ranks: Ranks) -> dict[str, Any]:
    """What the weights after each epoch depend on."""
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


def save_state(path: Path, progress: Progress, depends_on: Mapping[str, Any], ranks: Ranks) -> None:
    """Write the state; every rank calls it, the first one writes."""
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


def restore(path: Path, progress: Progress, depends_on: Mapping[str, Any], ranks: Ranks) -> None:
    """Bring a fresh training to where the file says; without a file it is left fresh. Every rank calls it.

    Raises:
        ConfigError: the file is of a training with another configuration, other data or another number of processes.
        DataError: it is damaged.
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


def _fill(progress: Progress, tensors: dict[str, torch.Tensor], about: dict[str, Any], ranks: Ranks) -> None:
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
