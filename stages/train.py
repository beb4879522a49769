# SPDX-License-Identifier: Apache-2.0
"""``1_train``: the network and, if it has attention, its vanilla twin."""

from __future__ import annotations

from dataclasses import asdict

from spikefold.energy.budget import load_profile
from spikefold.export.targets import require
from spikefold.hardware.registry import chip_named
from spikefold.session import NETWORK, TRAIN, TWIN, Session, keep_config, write_json
from spikefold.train.models import final_map
from spikefold.train.twins import Job, train_all


def train_stage(session: Session) -> None:
    """Train, and write the checkpoints and the epochs."""
    config = session.config
    for name in config.chips.names:
        require(chip_named(name).name)  # a chip without files must not be found out after the training
    load_profile(config.energy_profile)
    final_map(config.model, session.binning.shape[1:])
    clips = session.clips("train")
    job = Job(config, clips, session.binning, session.dataset.classes)
    with session.writing(TRAIN) as folder:
        folders = {NETWORK: (config.model.attention, folder / NETWORK)}
        if config.train.twin and config.model.attention != "none":
            folders[TWIN] = ("none", folder / TWIN)
        history = train_all(
            job, folders, lambda name, e: session.reporter.progress(
                f"train {name}", e.number, e.of, f"loss {e.loss:.3f}, accuracy {e.accuracy:.3f}"
            ),
        )  # fmt: skip
        metrics = {name: [asdict(epoch) for epoch in epochs] for name, epochs in history.items()}
        write_json(folder / "metrics.json", {"epochs": metrics, "classes": list(session.dataset.classes)})
    keep_config(session)
    session.reporter.line(f"trained {', '.join(folders)} on {len(clips)} clips")
