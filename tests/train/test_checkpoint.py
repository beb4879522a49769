# SPDX-License-Identifier: Apache-2.0
"""A checkpoint comes back bit for bit; anything else in its place is refused, and no code is read."""

from __future__ import annotations

import json
import pickle
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from spikefold.config import ModelConfig
from spikefold.errors import ConfigError, DataError
from spikefold.train.checkpoint import ABOUT, WEIGHTS, Checkpoint, load, save
from spikefold.train.data.frames import Binning, Bins
from spikefold.train.models.claims import check_weights, weights_claimed
from spikefold.train.models.spiking_net import SpikingNet

BINNING = Binning((34, 20), 2, 5000, 4, 17)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    torch.manual_seed(1)
    model = SpikingNet(ModelConfig(channels=(3, 5), strides=(1, 2)), BINNING.shape, BINNING.steps, 2)
    model.train()
    model(torch.rand(4, 2, *BINNING.shape))  # batch norm has statistics of its own now
    save(tmp_path / "network", Checkpoint(model, BINNING, ("left", "right")))
    return tmp_path / "network"


def test_weights_statistics_binning_and_classes_come_back(saved: Path) -> None:
    torch.manual_seed(1)
    expected = SpikingNet(ModelConfig(channels=(3, 5), strides=(1, 2)), BINNING.shape, BINNING.steps, 2)
    expected.train()
    expected(torch.rand(4, 2, *BINNING.shape))
    found = load(saved)
    assert (found.binning, found.classes) == (BINNING, ("left", "right"))
    assert not found.model.training
    states = found.model.state_dict()
    assert len(states) > 15
    for key, value in expected.state_dict().items():
        assert torch.equal(states[key], value), key


def test_a_checkpoint_of_a_release_without_bins_by_count_has_bins_of_equal_time(saved: Path) -> None:
    about = json.loads((saved / ABOUT).read_text(encoding="utf-8"))
    assert about["binning"].pop("bins") == "time"
    (saved / ABOUT).write_text(json.dumps(about), encoding="utf-8")
    assert load(saved).binning == BINNING


def test_bins_by_count_come_back(tmp_path: Path) -> None:
    binning = replace(BINNING, bins=Bins.COUNT)
    model = SpikingNet(ModelConfig(channels=(3,), strides=(2,)), BINNING.shape, BINNING.steps, 2)
    save(tmp_path, Checkpoint(model, binning, ("left", "right")))
    assert load(tmp_path).binning.bins is Bins.COUNT


def test_only_two_files_are_written(saved: Path) -> None:
    assert sorted(path.name for path in saved.iterdir()) == sorted([WEIGHTS, ABOUT])


class _Trap:
    def __reduce__(self) -> tuple[object, ...]:
        return (Path("sprung").touch, ())


@pytest.mark.parametrize("file", [WEIGHTS, ABOUT])
@pytest.mark.parametrize("damage", ["missing", "empty", "half", "pickle"])
def test_a_damaged_file_is_refused(
    saved: Path, file: str, damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = saved / file
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(
            {"empty": b"", "half": content[: len(content) // 2], "pickle": pickle.dumps(_Trap())}[damage]
        )
    with pytest.raises(DataError, match="cannot read the checkpoint") as caught:
        load(saved)
    assert caught.value.where == str(saved)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"classes": ["one"]},
        {"classes": ["a", "b", "c"]},
        {"classes": []},
        {"classes": 2},
        {"model": {"channels": [3, 6], "strides": [1, 2]}},
        {"model": {"unknown": 1}},
        {"binning": {"sensor": [34, 20]}},
        {"binning": "later"},
    ],
)
def test_a_description_that_does_not_go_with_the_weights_is_refused(saved: Path, change: dict[str, object]) -> None:
    about = json.loads((saved / ABOUT).read_text(encoding="utf-8"))
    (saved / ABOUT).write_text(json.dumps(about | change), encoding="utf-8")
    with pytest.raises(DataError, match="cannot read the checkpoint"):
        load(saved)


@pytest.mark.parametrize("text", ["[1]", "3", "{}", '{"schema": 1, "mod'])
def test_a_description_that_is_none_is_refused(saved: Path, text: str) -> None:
    (saved / ABOUT).write_text(text)
    with pytest.raises(DataError, match="cannot read the checkpoint"):
        load(saved)


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("model", {"strides": [0, 2]}), ("model", {"strides": [1]}), ("model", {"attention": "none"}),
        ("binning", {"frames": 3}), ("binning", {"sensor": "34x20"}), ("binning", {"sensor": 34}),
        ("binning", {"sensor": [34]}), ("binning", {"sensor": [50, 20]}), ("binning", {"downsample": 0}),
        ("binning", {"steps": 5}), ("binning", {"bins": "pixels"}), ("binning", {"bins": None}),
        ("binning", {"dt_us": 0}), ("binning", {"max_count": 0}),
    ],
    ids=str,
)  # fmt: skip
def test_a_single_wrong_value_of_the_description_is_refused(
    saved: Path, part: str, change: dict[str, object]
) -> None:
    about = json.loads((saved / ABOUT).read_text(encoding="utf-8"))
    about[part].update(change)
    (saved / ABOUT).write_text(json.dumps(about), encoding="utf-8")
    with pytest.raises(DataError, match="cannot read the checkpoint") as caught:
        load(saved)
    assert caught.value.where == str(saved)


@pytest.mark.parametrize("kind", ["torch.save", "one weight less", "somebody else's"])
def test_other_weights_are_refused(saved: Path, kind: str) -> None:
    weights = {key: value.clone() for key, value in load_file(saved / WEIGHTS).items()}  # off the mapped file
    if kind == "torch.save":
        torch.save(weights, saved / WEIGHTS)
    elif kind == "one weight less":
        save_file({key: value for key, value in weights.items() if key != "layers.fc.weight"}, saved / WEIGHTS)
    else:
        save_file({"someone.elses": torch.zeros(3)}, saved / WEIGHTS)
    with pytest.raises(DataError, match="cannot read the checkpoint"):
        load(saved)


def test_no_wrong_byte_in_the_header_of_the_weights_is_a_traceback(saved: Path) -> None:
    whole, refused = (saved / WEIGHTS).read_bytes(), 0
    rng = np.random.default_rng(0)
    for place in rng.integers(0, 300, 100):
        content = bytearray(whole)
        content[place] ^= rng.integers(1, 256)
        (saved / WEIGHTS).write_bytes(content)
        try:
            load(saved)
        except DataError:
            refused += 1
    assert refused > 50


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("model", {"channels": [65536, 65536]}), ("model", {"voters": 65536}), ("model", {"hidden": [60000, 60000]}),
        ("model", {"strides": [30, 1]}), ("binning", {"steps": 100_000}), ("binning", {"sensor": [2**20, 2**20]}),
        ("model", {"channels": [3] * 300, "strides": [1] * 300}), ("binning", {"steps": 10**4000}),
        ("binning", {"max_count": 10**4000}), ("binning", {"sensor": [10**4000, 20]}),
    ],
    ids=range(10),
)  # fmt: skip
def test_claims_beyond_the_weights_that_are_there_take_no_memory(
    saved: Path, part: str, change: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[object] = []
    monkeypatch.setattr("spikefold.train.checkpoint.SpikingNet", lambda *claims: built.append(claims))
    about = json.loads((saved / ABOUT).read_text(encoding="utf-8"))
    about[part].update(change)
    (saved / ABOUT).write_text(json.dumps(about), encoding="utf-8")
    tracemalloc.start()
    with pytest.raises(DataError, match="cannot read the checkpoint"):
        load(saved)
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()
    assert not built  # tracemalloc sees nothing of what PyTorch takes


def test_a_description_nested_without_end_is_refused(saved: Path) -> None:
    (saved / ABOUT).write_text("[" * 100_000 + "]" * 100_000)
    with pytest.raises(DataError, match="cannot read the checkpoint"):
        load(saved)


@pytest.mark.parametrize(
    "config",
    [
        ModelConfig(channels=(3, 5), strides=(1, 2), hidden=(7, 6)),
        ModelConfig(channels=(3, 5), strides=(3, 2), attention="none", reduction="pool"),
        ModelConfig(channels=(4,), strides=(4,), reduction_ratio=2),
        ModelConfig(family="sew", channels=(4, 6), strides=(1, 2), attention="none"),
    ],
    ids=range(4),
)
def test_the_weights_that_a_configuration_claims_are_at_most_those_it_has(config: ModelConfig) -> None:
    model = SpikingNet(config, (2, 24, 20), 4, 3)
    has = sum(value.numel() for name, value in model.state_dict().items() if value.ndim > 1)
    assert 0 < weights_claimed(config, (2, 24, 20), 4, 3) <= has
    if config.attention == "none" and config.family == "chain":
        assert weights_claimed(config, (2, 24, 20), 4, 3) == has


def test_a_training_of_a_network_beyond_all_reason_is_refused() -> None:
    with pytest.raises(ConfigError, match="weights, more than"):
        check_weights(ModelConfig(channels=(65536, 65536), strides=(1, 2)), (2, 34, 34), 4, 10)
