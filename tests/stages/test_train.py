# SPDX-License-Identifier: Apache-2.0
"""The training stage of a run: killed and taken up by the same command, shared by processes, and what it writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikefold.config import Config, load_config
from spikefold.errors import ConfigError, DataError
from spikefold.event_dtype import EVENT_DTYPE
from spikefold.provenance.same_run import STATES
from spikefold.session import CONFIG, Session, new_session
from spikefold.stages.train import train_stage, unfinished
from spikefold.train import baseline
from spikefold.train.checkpoint import load
from spikefold.train.data.clips import Windows
from spikefold.train.data.events import Recording, save_packed
from spikefold.train.evaluate import judged
from spikefold.train.loop import train
from spikefold.train.state import Epoch
from tests.killing import killed_at
from tests.silent import Silent

SETS = (
    "data.steps=3",
    "data.dt_us=100",
    "data.downsample=1",
    "model.channels=[4]",
    "model.strides=[2]",
    "model.voters=2",
    "train.batch=8",
    "train.lr=0.02",
)
EPOCHS = 12
PROGRAM = """
import sys
from pathlib import Path
from spikefold.config import load_config
from spikefold.session import new_session
from spikefold.stages.train import train_stage

class Quiet:
    def line(self, text): print(text)
    def progress(self, task, done, of, note=""): print(task, done, of)

if __name__ == "__main__":
    train_stage(new_session(load_config(None, tuple(sys.argv[2:])), Path(sys.argv[1]), Quiet()))
"""


def _recordings(count: int, seed: int) -> list[Recording]:
    """Events in the left or in the right half of the sensor."""
    rng, found = np.random.default_rng(seed), []
    for index in range(count):
        events = np.zeros(60, EVENT_DTYPE)
        events["t"] = np.sort(rng.integers(0, 500, 60))
        events["x"] = rng.integers(0, 5, 60) + 3 * (index % 2)
        events["y"], events["p"] = rng.integers(0, 6, 60), rng.integers(0, 2, 60)
        found.append(Recording(events, (6, 8), index % 2))
    return found


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A source of 44 recordings for training and 20 for testing."""
    folder = tmp_path_factory.mktemp("data")
    save_packed(folder / "train.npz", _recordings(44, 0))
    save_packed(folder / "test.npz", _recordings(20, 1))
    return f"data.source=npz:{folder}"


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings in this process: the start of others is tested once."""

    def one_by_one(
        work: Callable[..., None], tasks: dict[str, Any], report: Callable[[str, Epoch], None]
    ) -> dict[str, list[Epoch]]:
        history: dict[str, list[Epoch]] = {name: [] for name in tasks}
        for name, task in tasks.items():

            def told(epoch: Epoch, name: str = name) -> None:
                history[name].append(epoch)
                report(name, epoch)

            work(task, told)
        return history

    monkeypatch.setattr(baseline, "side_by_side", one_by_one)


@pytest.mark.usefixtures("here")
def test_what_was_repaired_in_the_recordings_is_counted(tmp_path: Path) -> None:
    for split in ("train", "test"):
        events: dict[str, Any] = {"x": [1, 2, 9, 1], "y": [0, 0, 0, 0], "p": [1, 0, 1, 1], "t": [5, 3, 1, 2]}
        np.savez(tmp_path / f"{split}.npz", **events, off=[0, 3, 4], label=[0, 1], sensor=[4, 6])
    session = _session(
        tmp_path / "run",
        f"data.source=npz:{tmp_path}",
        "data.on_fault=repair",
        "train.epochs=1",
        "model.attention=none",
    )
    train_stage(session)
    assert _metrics(session.folder)["repairs"] == {
        "truncated": 0,
        "lost_bytes": 0,
        "backwards": 2,
        "outside": 2,
        "empty": 0,
        "cuts": 0,
        "what": "2 late events put in order of time, 2 events outside the sensor left out",
    }


def _session(folder: Path, data: str, *more: str) -> Session:
    return new_session(load_config(None, (*SETS, data, *more)), folder, Silent())


def _metrics(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "1_train" / "metrics.json").read_text())
    return found


def _weights(folder: Path) -> bytes:
    return (folder / "1_train" / "network" / "checkpoint.safetensors").read_bytes()


@pytest.mark.usefixtures("here")
def test_killed_it_is_taken_up_by_the_same_command_bit_for_bit(tmp_path: Path, data: str) -> None:
    more = (f"train.epochs={EPOCHS}", "train.baseline=false")
    sets = [part for key in (*SETS, data, *more) for part in ("--set", key)]
    run = tmp_path / "run"
    command = [sys.executable, "-m", "spikefold.pipeline", "train", *sets, "--out", str(run)]
    killed_at(f"train network: 3/{EPOCHS}", command, tmp_path)
    assert not (run / "1_train").exists()
    assert {path.suffix for path in (run / STATES).iterdir()} == {".safetensors", ".toml"}
    assert unfinished(run).train.epochs == EPOCHS
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert not (run / STATES).exists()
    assert (run / CONFIG).is_file()
    whole = tmp_path / "whole"
    train_stage(_session(whole, data, *more))
    assert _weights(run) == _weights(whole)
    assert _metrics(run) == _metrics(whole)
    with pytest.raises(DataError, match="no unfinished training"):
        unfinished(run)


@pytest.mark.usefixtures("here")
def test_a_stopped_training_is_not_mixed_with_another_configuration(
    tmp_path: Path, data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_memory(*arguments: Any, **options: Any) -> None:
        train(*arguments, **options)
        raise MemoryError

    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(baseline, "train", out_of_memory)
        with pytest.raises(MemoryError):
            train_stage(_session(run, data, "train.epochs=2"))
    assert not (run / "1_train").exists()
    assert unfinished(run) == load_config(None, (*SETS, data, "train.epochs=2"))
    with pytest.raises(ConfigError, match="another configuration"):
        train_stage(_session(run, data, "train.epochs=2", "train.lr=0.01"))
    assert unfinished(run).train.lr == 0.02, "what it began with is still known"
    # what nothing of the training depends on may change
    train_stage(_session(run, data, "train.epochs=2", "adapt.epochs=1"))
    assert not (run / STATES).exists()


@pytest.mark.usefixtures("here")
def test_the_papers_protocol_and_the_vote_are_written_down(tmp_path: Path, data: str) -> None:
    session = _session(
        tmp_path / "run",
        data,
        "train.epochs=3",
        "train.protocol=paper",
        "data.clips=4",
        "data.window=random",
        "train.augment=eventdrop",
        "model.attention=none",
        "train.loss=rate_mse",
        "train.schedule=cosine",
    )
    train_stage(session)
    found = _metrics(session.folder)
    assert found["protocol"]["name"] == "paper"
    assert "test set" in found["protocol"]["what"]
    epochs = found["epochs"]["network"]
    best = max(epochs, key=lambda epoch: epoch["judged"])
    assert found["chosen"]["network"] == best
    model = load(session.folder / "1_train" / "network").model
    share = judged(model, Windows(session.dataset.test, session.binning, 4), "majority")
    assert share == best["judged"] > 0.6
    voted = {"accuracy": share, "recordings": 20, "clips": 4, "vote": "majority"}
    assert found["voted"] == {"network": voted}
    assert isinstance(session.reporter, Silent)
    assert "test set" in session.reporter.lines[-1]


@pytest.mark.usefixtures("here")
def test_by_default_the_last_epoch_is_kept_and_nothing_votes(tmp_path: Path, data: str) -> None:
    session = _session(tmp_path / "run", data, "train.epochs=2", "model.attention=none", "adapt.held_share=0")
    train_stage(session)
    found = _metrics(session.folder)
    assert set(found) == {"schema_version", "epochs", "classes", "protocol", "chosen", "repairs", "processes"}
    assert found["chosen"] == {"network": found["epochs"]["network"][-1]}
    assert set(found["epochs"]["network"][0]) == {"number", "of", "loss", "accuracy"}
    assert found["protocol"]["held_out"] == 0
    assert Config().train.protocol == "last"


@pytest.mark.usefixtures("here")
def test_two_processes_write_what_one_does(tmp_path: Path, data: str) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    sets = (
        *SETS,
        data,
        "train.epochs=3",
        "model.asa_mode=batch",
        "train.protocol=paper",
        "data.clips=2",
        "train.test_batch=3",
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    both = tmp_path / "both"
    done = subprocess.run(
        [*command, str(tmp_path / "program.py"), str(both), *sets],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in both.iterdir()) == ["1_train", CONFIG]
    alone = _session(tmp_path / "alone", data, *sets)
    train_stage(alone)
    together, one = _metrics(both), _metrics(alone.folder)
    assert (together.pop("processes"), one.pop("processes")) == (2, 1)
    for name in ("network", "vanilla"):
        pairs = zip(together["epochs"][name], one["epochs"][name], strict=True)
        for epoch, other in pairs:
            assert epoch["loss"] == pytest.approx(other["loss"], abs=1e-5)
            assert (epoch["accuracy"], epoch["judged"]) == (other["accuracy"], other["judged"])
    assert together["voted"] == one["voted"]
    assert together["shared_masks"]["evaluation"] == 6
    assert "over 3 x 2 clips" in done.stdout
    assert done.stdout.count("train network 3 3") == 2, "every process tells; the command line lets one speak"
