# SPDX-License-Identifier: Apache-2.0
"""``1_train``: train the network and, if it has attention, its baseline without.

After every epoch the state of each training goes to ``RUN/.1_train.state/``, with the configuration beside it. The
folder is removed when the stage is done; until then the same command goes on where it was stopped.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from spikefold.config import Config, load_config, to_toml
from spikefold.energy.budget import load_profile
from spikefold.energy.chip.sources import numbers_of
from spikefold.errors import DataError
from spikefold.files import write_text
from spikefold.hardware.registry import chip_named
from spikefold.provenance.same_run import STATES
from spikefold.session import BASELINE, CONFIG, NETWORK, Session, keep_config
from spikefold.stage_table import TRAIN
from spikefold.stages.files.train import TrainFile
from spikefold.stages.reach import refuse_unreachable
from spikefold.train.baseline import Job, Training, train_all
from spikefold.train.checkpoint import load
from spikefold.train.data.clips import Windows
from spikefold.train.epoch_log import CSV, TENSORBOARD, NamedEpoch, epochs_as_csv, watched
from spikefold.train.evaluate import clips_at_once, judged, unites_masks
from spikefold.train.processes.device import device_for
from spikefold.train.processes.parallel import Ranks, joined
from spikefold.train.recipe import PROTOCOLS, Plan, plan
from spikefold.train.state import Epoch


def train_stage(session: Session) -> None:
    """Train, and write the checkpoints and the epochs; under ``torchrun`` only the first process writes."""
    config = session.config
    for name in config.chips.names:
        chip_named(name).require_files()  # a chip without files must not be found out after the training
    prices = load_profile(config.energy_profile).energy_pj
    for price in (prices.mac, prices.ac):  # both, since rules stand side by side
        price.amount  # noqa: B018  an unknown one raises, before anything is trained
    numbers_of(config.chips.names, config.chips.power)
    device_for(config.train)
    refuse_unreachable(session)
    planned = plan(config, session.dataset, session.binning, lambda: session.clips("train"))
    tests = Windows(session.dataset.test, session.binning, config.data.clips)
    states = session.folder / STATES
    job = Job(config, planned.clips, session.binning, session.dataset.classes, planned.selector, states)
    with joined() as ranks:
        if not ranks.first:
            _train_all(session, job, session.folder, ranks)
            return
        if not (states / CONFIG).exists():
            states.mkdir(parents=True, exist_ok=True)
            write_text(states / CONFIG, to_toml(config))
        with session.writing(TRAIN) as folder:
            with watched(session.folder / TENSORBOARD if session.tensorboard else None) as note:
                history = _train_all(session, job, folder, ranks, note)
            write_text(folder / CSV, epochs_as_csv(history))
            metrics = _metrics(session, planned, history) | {"processes": ranks.count}
            metrics |= shared_masks(config)
            if tests.each > 1 or config.data.held is not None:
                metrics["voted"] = {name: _voted(folder / name, tests, config) for name in history}
            TrainFile.of(metrics).write(folder)
    keep_config(session)
    shutil.rmtree(states)
    session.reporter.line(f"trained {', '.join(history)} on {len(planned.clips)} clips")
    for masks in shared_masks(config).values():
        session.reporter.line(masks["what"])
    if planned.selector is not None:
        session.reporter.line(f"kept {PROTOCOLS[config.train.protocol]}")


def unfinished(folder: Path) -> Config:
    """The configuration of a training that was stopped before its end.

    Raises:
        DataError: there is none.
    """
    path = folder / STATES / CONFIG
    if not path.is_file():
        raise DataError("no unfinished training there", where=str(folder), hint="`spikefold train` starts one")
    return load_config(path)


def _train_all(
    session: Session, job: Job, folder: Path, ranks: Ranks, note: NamedEpoch = lambda name, epoch: None
) -> dict[str, list[Epoch]]:
    attention = job.config.model.attention
    folders = {NETWORK: Training(attention, folder / NETWORK)}
    if job.config.train.baseline and attention != "none":
        folders[BASELINE] = Training("none", folder / BASELINE, sparse=False)

    def told(name: str, epoch: Epoch) -> None:
        _tell(session, name, epoch)
        note(name, epoch)

    return train_all(job, folders, told, ranks)


def _tell(session: Session, name: str, epoch: Epoch) -> None:
    judged = "" if epoch.judged is None else f", judged {epoch.judged:.3f}"
    session.reporter.progress(
        f"train {name}", epoch.number, epoch.of, f"loss {epoch.loss:.3f}, accuracy {epoch.accuracy:.3f}{judged}"
    )


def _metrics(session: Session, planned: Plan, history: Mapping[str, list[Epoch]]) -> dict[str, Any]:
    """The epochs of each network, which of them its weights are from, and how that was chosen."""
    kept = {
        name: epochs[-1] if planned.selector is None else max(epochs, key=lambda epoch: epoch.judged or 0.0)
        for name, epochs in history.items()
    }
    protocol, repairs = session.config.train.protocol, session.dataset.repairs
    return {
        "epochs": {name: [_plain(epoch) for epoch in epochs] for name, epochs in history.items()},
        "classes": list(session.dataset.classes),
        "protocol": {"name": protocol, "what": PROTOCOLS[protocol], "held_out": planned.held_out},
        "chosen": {name: _plain(epoch) for name, epoch in kept.items()},
        "repairs": asdict(repairs) | {"what": str(repairs)},
    }


def _plain(epoch: Epoch) -> dict[str, Any]:
    return {key: value for key, value in asdict(epoch).items() if value is not None}


def _voted(folder: Path, tests: Windows, config: Config) -> dict[str, Any]:
    """Test accuracy over all clips of each recording; later stages may look at fewer samples of images."""
    model = load(folder).model.to(device_for(config.train))
    share = judged(model, tests, config.data.vote, batch=clips_at_once(config))
    return {"accuracy": share, "recordings": len(tests), "clips": tests.each, "vote": config.data.vote}


def shared_masks(config: Config) -> dict[str, dict[str, Any]]:
    """With ``asa_mode = batch`` a clip's result depends on those beside it: how many, by its key; else empty."""
    if not unites_masks(config.model):
        return {}
    clips, recordings, each = clips_at_once(config), config.train.test_batch, config.data.clips
    what = f"ASA's masks are united over a batch, in evaluation over {recordings} x {each} clips (train.test_batch)"
    return {"shared_masks": {"train": config.train.batch, "evaluation": clips, "what": what}}
