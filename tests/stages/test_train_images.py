# SPDX-License-Identifier: Apache-2.0
"""HAR-DVS through the command line: trained from images on disk, stopped and taken up, and what later stages see."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from spikefold.config import load_config
from spikefold.errors import ConfigError
from spikefold.provenance.same_run import STATES
from spikefold.session import Session, new_session, open_session
from spikefold.stage_table import STAGES
from spikefold.stages.report.write import write_report
from spikefold.stages.train import train_stage
from spikefold.train import baseline
from spikefold.train.checkpoint import load
from spikefold.train.data.clips import Windows
from spikefold.train.data.frames import Bins
from spikefold.train.evaluate import judged
from spikefold.train.state import Epoch
from tests.killing import killed_at
from tests.silent import Silent

CONFIG = Path(__file__).parents[2] / "train" / "configs" / "har_dvs.toml"
CLASSES, STEPS, EPOCHS = 3, 4, 6
SETS = (
    f"data.steps={STEPS}",
    "data.sensor=[16,16]",
    "data.held=5",
    "model.channels=[4,6]",
    "model.strides=[1,2]",
    "train.batch=4",
    "train.lr=0.02",
    f"train.epochs={EPOCHS}",
    "train.device=cpu",
    "train.validation_share=0.25",
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Three classes of 32x32 images, each bright in a colour of its own; six samples each and two to test."""
    folder, rng = tmp_path_factory.mktemp("HARDVS"), np.random.default_rng(0)
    for label in range(CLASSES):
        for sample in range(8):
            place = folder / ("train" if sample < 6 else "test") / f"action_{label}" / f"dvSave-{sample}"
            place.mkdir(parents=True)
            for step in range(STEPS):
                pixels = rng.integers(0, 40, (32, 32, 3), dtype=np.uint8)
                pixels[4:28, 4:28, label] += rng.integers(80, 200, dtype=np.uint8)
                Image.fromarray(pixels).save(place / f"{step}.png")
    return f"data.source=har-dvs:{folder}"


def _session(folder: Path, *sets: str) -> Session:
    return new_session(load_config(CONFIG, (*SETS, *sets)), folder, Silent())


def _one_by_one(work: Any, tasks: dict[str, Any], report: Any) -> dict[str, list[Epoch]]:
    history: dict[str, list[Epoch]] = {name: [] for name in tasks}
    for name, task in tasks.items():
        work(task, history[name].append)
    return history


@pytest.fixture(scope="module")
def finished(data: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training of the residual network and its baseline, in this process."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baseline, "side_by_side", _one_by_one)
        train_stage(_session(run, data))
    return run


def _metrics(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "1_train" / "metrics.json").read_text())
    return found


def test_the_papers_configuration_trains_and_says_what_it_judged_on(finished: Path) -> None:
    found, session = _metrics(finished), open_session(finished, Silent())
    assert found["classes"] == ["action_0", "action_1", "action_2"]
    assert found["protocol"] == {
        "name": "validation",
        "what": "the best epoch on training recordings held out",
        "held_out": 6,
    }
    assert found["repairs"]["what"] == "nothing"
    tests = Windows(session.dataset.test, session.binning)
    for name in ("network", "vanilla"):
        losses = [epoch["loss"] for epoch in found["epochs"][name]]
        assert len(losses) == EPOCHS
        assert losses[-1] < losses[0]
        assert found["voted"][name]["recordings"] == 6, "the whole test set, of which later stages hold 5"
        checkpoint = load(finished / "1_train" / name)
        assert checkpoint.binning == session.binning
        assert found["voted"][name]["accuracy"] == judged(checkpoint.model, tests, "majority")
        assert checkpoint.model.shape == (3, 16, 16)
    assert found["voted"]["network"]["accuracy"] > 0.6
    assert (session.binning.bins, session.binning.dt_us, session.binning.max_count) == (Bins.IMAGES, 625_000, 255)


def test_later_stages_hold_some_clips_of_images_and_say_how_many(finished: Path) -> None:
    told = Silent()
    session = open_session(finished, told)
    train, test = session.clips("train"), session.clips("test")
    assert told.lines == ["5 of 18 clips of train images are held", "5 of 6 clips of test images are held"]
    assert (train.frames.shape, test.frames.shape) == ((STEPS, 5, 3, 16, 16), (STEPS, 5, 3, 16, 16))
    assert train.frames.dtype == np.uint16
    assert 80 < train.frames.max() <= 255
    samples = Windows(session.dataset.test, session.binning).frames(range(6))
    where = [[np.array_equal(test.frames[:, i], samples[:, j]) for j in range(6)].index(True) for i in range(5)]
    assert len(set(where)) == 5
    assert test.labels.tolist() == [int(session.dataset.labels("test")[j]) for j in where]


def test_every_stage_goes_on_with_what_is_held(finished: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    session = open_session(run, Silent())
    for stage in STAGES[1:]:
        if stage.in_run:
            stage.load()(session)
    report = write_report(session)
    assert report["clips"] == 5
    assert report["training"]["voted"]["network"]["recordings"] == 6
    steps = {step["name"]: step for step in report["accuracy_ladder"]}
    assert list(steps) == ["float", "vanilla", "constant", "static", "folded"]
    assert all(step["spikes_per_clip"] > 100 for step in steps.values())
    energy = report["energy"]["networks"]["folded"]["counts"]
    assert energy["clips"] == 5
    assert sum(layer["events"] for layer in energy["layers"]) > 10_000
    assert all(proof["spikes"] > 100 and proof["flips"] == 0 for proof in report["passes"])


def test_the_command_killed_and_taken_up_trains_the_same_bit_for_bit(
    finished: Path, data: str, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    sets = [part for key in (*SETS, data, "train.baseline=false") for part in ("--set", key)]
    command = [sys.executable, "-m", "spikefold.pipeline", "train", "--config", str(CONFIG), *sets, "--out", str(run)]
    killed_at(f"train network: 2/{EPOCHS}", command, tmp_path)
    assert (run / STATES).is_dir()
    assert not (run / "1_train").exists()
    again = subprocess.run(
        [*command[:4], "--resume", str(run)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert again.returncode == 0, again.stderr
    assert _metrics(run)["epochs"]["network"] == _metrics(finished)["epochs"]["network"]
    assert _metrics(run)["voted"]["network"] == _metrics(finished)["voted"]["network"]
    weights = Path("1_train") / "network" / "checkpoint.safetensors"
    assert (run / weights).read_bytes() == (finished / weights).read_bytes()


def test_what_images_cannot_do_is_refused_before_the_training(data: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds images") as caught:
        train_stage(_session(tmp_path / "run", data, "data.window=random", "data.clips=10"))
    assert [issue.where for issue in caught.value.issues] == ["data.window", "data.clips"]
    with pytest.raises(ConfigError, match="no dropout"):
        _session(tmp_path / "run", data, "model.dropout=[0.1]")
    assert not (tmp_path / "run").exists()
