# SPDX-License-Identifier: Apache-2.0
"""Writes and reads a trained `SpikingNet`: weights as safetensors, everything else as JSON. Nothing is pickled."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save_file

from spikefold.config import ModelConfig
from spikefold.errors import ConfigError, DataError
from spikefold.files import replacing
from spikefold.train.data.frames import Binning, Bins
from spikefold.train.models.claims import weights_claimed
from spikefold.train.models.spiking_net import SpikingNet

WEIGHTS, ABOUT = "checkpoint.safetensors", "checkpoint.json"
_BYTES = 4
"""Of a weight."""
_LONGEST_US = 10**12
_BROKEN = (
    OSError,
    ValueError,
    LookupError,
    ArithmeticError,
    TypeError,
    AttributeError,
    RuntimeError,
    MemoryError,
    ConfigError,
    SafetensorError,
)


@dataclass(frozen=True)
class Checkpoint:
    """A trained network and the form of its input.

    Attributes:
        model: the network in inference mode.
        binning: how the frames that it reads are made of events.
        classes: the names of the classes, in the order of the outputs.
    """

    model: SpikingNet
    binning: Binning
    classes: tuple[str, ...]


def save(folder: Path, checkpoint: Checkpoint) -> None:
    """Write both files of a checkpoint, the weights first. Each file appears whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    model = checkpoint.model
    about = {
        "schema": 1,
        "model": model.config.model_dump(mode="json"),
        "binning": asdict(checkpoint.binning),
        "classes": list(checkpoint.classes),
    }
    with replacing(folder / WEIGHTS) as scratch:
        save_file({key: value.contiguous() for key, value in model.state_dict().items()}, scratch)
    with replacing(folder / ABOUT) as scratch:
        scratch.write_text(json.dumps(about, indent=1), encoding="utf-8")


def load(folder: Path) -> Checkpoint:
    """Read the checkpoint in a folder.

    Raises:
        DataError: a file is missing or damaged, or the two files do not belong together.
    """
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        written = about["binning"]
        bins = Bins(written.get("bins", Bins.TIME))  # the first releases knew no other
        binning = Binning(**(written | {"sensor": tuple(written["sensor"]), "bins": bins}))
        config = ModelConfig.model_validate(about["model"])
        classes = tuple(about["classes"])
        if min(len(classes), binning.dt_us, binning.max_count) < 1:
            raise ValueError("no class, no bin length or no count")
        if binning.max_count > np.iinfo(np.uint16).max or binning.dt_us > _LONGEST_US:
            raise ValueError("a count beyond 16 bits, or a bin beyond all recordings")
        weights = (folder / WEIGHTS).read_bytes()
        claimed = weights_claimed(config, binning.shape, binning.steps, len(classes))
        if _BYTES * claimed > len(weights):  # before memory is taken for them
            raise ValueError(f"{ABOUT} claims {claimed:,} weights, {WEIGHTS} has {len(weights):,} bytes")
        model = SpikingNet(config, binning.shape, binning.steps, len(classes))
        # from bytes: a mapped file that somebody truncates would crash the process
        model.load_state_dict(load_tensors(weights))
    except _BROKEN as error:
        raise DataError(
            f"cannot read the checkpoint: {type(error).__name__}: {error}",
            where=str(folder),
            hint=f"a checkpoint is a folder with {WEIGHTS} and {ABOUT}, as `spikefold train` writes it",
        ) from error
    return Checkpoint(model.eval(), binning, classes)
