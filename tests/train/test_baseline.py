# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikefold.config import Config, ModelConfig, TrainConfig
from spikefold.errors import EnvironmentLacksError
from spikefold.train import baseline, side_by_side
from spikefold.train.baseline import Job, Training, train_all
from spikefold.train.checkpoint import load
from spikefold.train.data.clips import ClipSet
from spikefold.train.data.frames import Binning
from spikefold.train.loop import train
from spikefold.train.models.spiking_net import SpikingNet
from spikefold.train.processes import pool
from spikefold.train.processes.parallel import Ranks
from spikefold.train.state import Epoch


@pytest.fixture(scope="module")
def job() -> Job:
    rng = np.random.default_rng(0)
    config = Config(
        model=ModelConfig(channels=(3,), strides=(2,), voters=2),
        train=TrainConfig(epochs=2, batch=5, threads=1, synops_penalty=50.0),
    )
    clips = ClipSet(rng.poisson(0.6, (2, 12, 2, 6, 8)).astype(np.uint16), np.arange(12) % 2)
    return Job(config, clips, Binning((6, 8), 1, 1000, 2, 5), ("a", "b"))


def test_both_networks_are_trained_as_they_would_be_alone(job: Job, tmp_path: Path) -> None:
    names = {"attended": "asa1", "vanilla": "none"}
    told: list[tuple[str, Epoch]] = []
    history = train_all(
        job,
        {name: Training(attention, tmp_path / name, sparse=name != "vanilla") for name, attention in names.items()},
        lambda name, epoch: told.append((name, epoch)),
    )
    assert list(history) == list(names)
    for name, attention in names.items():
        epochs: list[Epoch] = []
        model = job.config.model.model_copy(update={"attention": attention})
        penalty = job.config.train.synops_penalty if name == "attended" else 0.0
        settings = job.config.train.model_copy(update={"synops_penalty": penalty})
        alone = train(job.config.model_copy(update={"model": model, "train": settings}), job.clips, 2, epochs.append)
        assert history[name] == epochs == [epoch for of, epoch in told if of == name]
        assert [epoch.number for epoch in epochs] == [1, 2]
        written = load(tmp_path / name)
        assert (written.binning, written.classes) == (job.binning, job.classes)
        assert written.model.config.attention == attention
        expected = alone.state_dict()
        assert set(written.model.state_dict()) == set(expected)
        for key, value in written.model.state_dict().items():
            assert value.numpy().tobytes() == expected[key].numpy().tobytes(), key


def test_a_training_that_fails_is_not_silent(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # in a thread, to spare the start of another process
    monkeypatch.setattr(pool, "ProcessPoolExecutor", lambda workers, **options: ThreadPoolExecutor(workers))
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        train_all(job, {"attended": Training("asa2", tmp_path / "file" / "checkpoint")}, lambda name, epoch: None)


def _crashes(task: int, report: Callable[[Epoch], None]) -> None:
    report(Epoch(1, 1, 0.5, 0.5))
    signal.raise_signal(task)


@pytest.mark.parametrize("died_of", [signal.SIGSEGV, signal.SIGKILL])
def test_a_training_process_that_dies_is_no_bug_of_ours(died_of: signal.Signals) -> None:
    with pytest.raises(EnvironmentLacksError, match=f"died of {died_of.name}") as caught:
        side_by_side.side_by_side(_crashes, {"network": died_of}, lambda name, epoch: None)
    assert "--resume" in caught.value.hint


def test_each_training_keeps_its_state_under_its_name(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "ProcessPoolExecutor", lambda workers, **options: ThreadPoolExecutor(1))
    kept = replace(job, states=tmp_path / "states")
    names = {"attended": Training("asa1", tmp_path / "a"), "vanilla": Training("none", tmp_path / "v")}
    train_all(kept, names, lambda name, epoch: None)
    assert sorted(path.name for path in (tmp_path / "states").iterdir()) == [
        "attended.safetensors",
        "vanilla.safetensors",
    ]
    told: list[tuple[str, int]] = []
    train_all(kept, names, lambda name, epoch: told.append((name, epoch.number)))
    assert sorted(told) == [(name, number) for name in sorted(names) for number in (1, 2)], "told once more"


def test_only_the_first_of_many_processes_writes(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, Ranks]] = []

    def instead(config: Config, clips: ClipSet, classes: int, report: Any, **options: Any) -> SpikingNet:
        seen.append((config.model.attention, options["ranks"]))
        report(Epoch(1, 1, 0.5, 0.5))
        return SpikingNet(config.model, clips.shape[1:], clips.shape[0], classes)

    monkeypatch.setattr(baseline, "train", instead)
    for rank in (1, 0):
        ranks = Ranks(rank, 2)
        names = {"attended": Training("asa1", tmp_path / "a"), "vanilla": Training("none", tmp_path / "v")}
        history = train_all(job, names, lambda name, epoch: None, ranks)
        assert {name: len(epochs) for name, epochs in history.items()} == {"attended": 1, "vanilla": 1}
        assert seen[-2:] == [("asa1", ranks), ("none", ranks)], "one after the other"
        assert (tmp_path / "a").exists() == (tmp_path / "v").exists() == (rank == 0)
