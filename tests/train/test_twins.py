# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from spikefold.config import Config, ModelConfig, TrainConfig
from spikefold.train import side_by_side
from spikefold.train.checkpoint import load
from spikefold.train.frames import Binning
from spikefold.train.loop import ClipSet, Epoch, train
from spikefold.train.twins import Job, train_all


@pytest.fixture(scope="module")
def job() -> Job:
    rng = np.random.default_rng(0)
    config = Config(
        model=ModelConfig(channels=(3,), strides=(2,), voters=2), train=TrainConfig(epochs=2, batch=5, threads=1)
    )
    clips = ClipSet(rng.poisson(0.6, (2, 12, 2, 6, 8)).astype(np.uint16), np.arange(12) % 2)
    return Job(config, clips, Binning((6, 8), 1, 1000, 2, 5), ("a", "b"))


def test_both_networks_are_trained_as_they_would_be_alone(job: Job, tmp_path: Path) -> None:
    names = {"attended": "asa1", "vanilla": "none"}
    told: list[tuple[str, Epoch]] = []
    history = train_all(
        job,
        {name: (attention, tmp_path / name) for name, attention in names.items()},
        lambda name, epoch: told.append((name, epoch)),
    )
    assert list(history) == list(names)
    for name, attention in names.items():
        epochs: list[Epoch] = []
        model = job.config.model.model_copy(update={"attention": attention})
        alone = train(job.config.model_copy(update={"model": model}), job.clips, 2, epochs.append)
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
    monkeypatch.setattr(side_by_side, "ProcessPoolExecutor", lambda workers, mp_context: ThreadPoolExecutor(workers))
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        train_all(job, {"attended": ("asa2", tmp_path / "file" / "checkpoint")}, lambda name, epoch: None)
