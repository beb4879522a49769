# SPDX-License-Identifier: Apache-2.0
"""A published checkpoint as the first stage of a run: every later stage takes the folder as if we had trained it.

The checkpoint says widths, classes and attention; the configuration says where the user's recordings are. How they
are cut into frames is chosen so that the network reads them: the smallest down-sampling that its first dense layer
fits, and the steps of its temporal MLP.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path

from spikefold.config import Config
from spikefold.errors import DataError
from spikefold.session import NETWORK, Reporter, Session, keep_config, new_session
from spikefold.stage_table import TRAIN
from spikefold.stages.files.train import TrainFile
from spikefold.stages.train import shared_masks
from spikefold.train.checkpoint import Checkpoint, save
from spikefold.train.data.datasets import Samples, load_samples
from spikefold.train.data.frames import Binning, Bins
from spikefold.train.models.architectures import Architecture, architecture
from spikefold.train.models.spiking_net import SpikingNet
from spikefold.train.published_checkpoint import from_published, read_state, reads
from spikefold.train.published_names import Tensors

_TIMED = ("a", "d")
"""Architectures whose bins have a published length; those of the others depend on the data set."""


def import_asa_snn(
    path: Path, arch: str, out: Path, config: Config, reporter: Reporter, reduction: int | None = None
) -> Session:
    """Write the run; its configuration has the network of the checkpoint, and the recordings' form that it reads.

    Args:
        path: the ``.pth`` file, of which tensors alone are read.
        arch: one of `spikefold.train.published_checkpoint.PUBLISHED`.
        out: the run folder.
        config: the data, and whatever later stages are to do; its ``model`` is replaced.
        reporter: told what was found.
        reduction: as for `spikefold.train.published_checkpoint.from_published`.

    Raises:
        ConfigError: no such architecture.
        DataError: no checkpoint of that architecture; recordings of other classes, or none that it can read.
    """
    state = read_state(path)
    steps = config.data.steps if "steps" in config.data.model_fields_set else None
    from_published(state, arch, str(path), steps=steps, reduction=reduction)  # refused before any data is read
    dataset = load_samples(config.data, config.seed, reporter.progress)
    downsample = _downsample(state, arch, dataset, config)
    shape = _shape(dataset, config, downsample)
    found, model = from_published(state, arch, str(path), shape=shape, steps=steps, reduction=reduction)
    if found.classes != len(dataset.classes):
        raise DataError(
            f"the checkpoint has {found.classes} classes, the recordings have {len(dataset.classes)}",
            where=config.data.source,
            hint="recordings of the classes that it was trained on, in their order",
        )
    session = new_session(_configured(config, found, downsample), out, reporter)
    _write(session, model, dataset, path)
    keep_config(session)
    reporter.line(
        f"imported {path.name}: architecture {arch}, {found.classes} classes, {found.steps} steps of {shape}"
    )
    return session


def _downsample(state: Tensors, arch: str, dataset: Samples, config: Config) -> int:
    """The down-sampling of the configuration; else that which gives the published input, or the smallest that fits.

    Raises:
        DataError: none does.
    """
    given = config.data.downsample
    sides = range(1, max(dataset.sensor) + 1) if given is None else (given,)
    fitting = [side for side in sides if reads(state, arch, _shape(dataset, config, side))]
    if not fitting:
        height, width = dataset.sensor
        by = given or "any number"
        raise DataError(
            f"{width}x{height} pixels, down-sampled by {by}, give no frames that the checkpoint reads",
            where=config.data.source,
            hint=f"architecture {arch} was made for {architecture(arch).shape}; set data.sensor or data.downsample",
        )
    published = architecture(arch).shape
    return next((side for side in fitting if _shape(dataset, config, side) == published), fitting[0])


def _shape(dataset: Samples, config: Config, downsample: int) -> tuple[int, int, int]:
    from spikefold.train.data.sources.har_dvs import FrameSet

    images = isinstance(dataset, FrameSet)
    sensor = (config.data.sensor or dataset.sensor) if images else dataset.sensor
    return Binning(sensor, downsample, 1, 1, bins=Bins.IMAGES if images else Bins.TIME).shape


def _configured(config: Config, found: Architecture, downsample: int) -> Config:
    dt_us = config.data.dt_us or (found.dt_us if found.name in _TIMED else None)
    data = config.data.model_copy(update={"steps": found.steps, "dt_us": dt_us, "downsample": downsample})
    train = config.train.model_copy(update={"baseline": False})
    return config.model_copy(update={"model": found.model, "data": data, "train": train})


def _write(session: Session, model: SpikingNet, dataset: Samples, path: Path) -> None:
    source = {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    what = f"{path.name} ({source['sha256'][:12]}), trained elsewhere"
    repairs = dataset.repairs
    metrics = {
        "epochs": {},
        "classes": list(dataset.classes),
        "protocol": {"name": "imported", "what": what, "held_out": 0},
        "chosen": {},
        "repairs": asdict(repairs) | {"what": str(repairs)},
        "processes": 1,
        "imported": source,
    }
    with session.writing(TRAIN) as folder:
        save(folder / NETWORK, Checkpoint(model, session.binning, dataset.classes))
        TrainFile.of(metrics | shared_masks(session.config)).write(folder)
