# SPDX-License-Identifier: Apache-2.0
"""What is trained on and what chooses; and that every configuration of the paper loads and builds its network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from spikefold.config import Config, load_config
from spikefold.errors import ConfigError
from spikefold.event_dtype import EVENT_DTYPE
from spikefold.train.data.clips import ClipSet, Slices
from spikefold.train.data.datasets import Dataset
from spikefold.train.data.events import Recording
from spikefold.train.data.frames import Binning, Bins, to_frames
from spikefold.train.models.architectures import architecture
from spikefold.train.models.spiking_net import SpikingNet
from spikefold.train.recipe import PROTOCOLS, Plan, held_out, held_recordings, plan

BINNING = Binning((4, 6), 1, 10, 3)
CONFIGS = Path(__file__).parents[2] / "train" / "configs"


def _recordings(count: int, seed: int) -> tuple[Recording, ...]:
    rng = np.random.default_rng(seed)
    found = []
    for index in range(count):
        events = np.zeros(50, EVENT_DTYPE)
        events["t"] = np.sort(rng.integers(0, 200, 50))
        events["t"][0] = 0
        events["x"] = rng.integers(0, 6, 50)
        found.append(Recording(events, (4, 6), index % 3, f"{seed}/{index}"))
    return tuple(found)


DATASET = Dataset(_recordings(30, 0), _recordings(9, 1), ("a", "b", "c"))


WHOLE = ("train.augment=none", "adapt.held_share=0")
"""Nothing is changed of the clips, and none is held out for the adaptation."""


def _plan(*overrides: str) -> tuple[Plan, Config]:
    config = load_config(None, (*WHOLE, *overrides))
    first = ClipSet(to_frames(DATASET.train, BINNING), DATASET.labels("train"))
    return plan(config, DATASET, BINNING, lambda: first), config


def test_without_more_the_first_clips_are_learned_and_nothing_chooses() -> None:
    made, _ = _plan()
    assert isinstance(made.clips, ClipSet)
    assert np.array_equal(made.clips.frames, to_frames(DATASET.train, BINNING))
    assert (made.selector, made.held_out) == (None, 0)


@pytest.mark.parametrize(
    ("overrides", "anywhere", "augment"),
    [
        (["data.window=random"], True, "none"),
        (["train.augment=eventdrop"], False, "eventdrop"),
        (["train.augment=geometric"], False, "geometric"),
        (["data.window=random", "train.augment=eventdrop", "seed=4"], True, "eventdrop"),
    ],
)
def test_random_windows_and_augmented_events_are_cut_anew(overrides: list[str], anywhere: bool, augment: str) -> None:
    made, config = _plan(*overrides)
    assert isinstance(made.clips, Slices)
    assert (made.clips.anywhere, made.clips.augment, made.clips.seed) == (anywhere, augment, config.seed)
    assert list(made.clips.recordings) == list(DATASET.train)


def test_what_the_adaptation_chooses_with_is_not_learned_and_moved_clips_are_the_default() -> None:
    made, config = _plan("adapt.held_share=0.2", "train.augment=auto")
    assert isinstance(made.clips, Slices)
    assert made.clips.augment == "geometric"
    held = held_recordings(config, DATASET, BINNING)
    assert (made.held_out, len(held.indices), held.unseen, made.selector) == (6, 6, True, None)
    assert [r.name for r in made.clips.recordings] == [
        r.name for number, r in enumerate(DATASET.train) if number not in held.indices
    ]
    # the published protocol learns all; the same recordings choose then, and that they were seen is said
    paper = load_config(None, ("adapt.held_share=0.2", "train.protocol=paper"))
    assert held_recordings(paper, DATASET, BINNING).unseen is False
    assert np.array_equal(held_recordings(paper, DATASET, BINNING).indices, held.indices)
    assert plan(paper, DATASET, BINNING, lambda: ClipSet(np.zeros((1, 0, 1, 1, 1)), np.zeros(0))).held_out == 0
    for alone in ("chips.names=[]", "adapt.epochs=0", "adapt.held_share=0"):
        assert not len(held_recordings(load_config(None, (alone,)), DATASET, BINNING).indices)


def test_a_class_with_few_recordings_gives_none_away() -> None:
    few = Dataset(_recordings(13, 0), _recordings(3, 1), ("a", "b", "c"))  # 5, 4 and 4 of a class
    held = held_recordings(load_config(None, ("adapt.held_share=0.3",)), few, BINNING).indices
    assert len(held) == 2
    assert set(few.labels("train")[held]) == {0}


def test_of_recordings_no_part_is_held() -> None:
    with pytest.raises(ConfigError, match=r"data\.held is for images"):
        _plan("data.held=5")


def test_the_papers_protocol_chooses_on_the_test_set_and_says_so() -> None:
    made, _ = _plan("train.protocol=paper", "data.clips=4", "data.vote=rates")
    assert made.selector is not None
    assert list(made.selector.windows.recordings) == list(DATASET.test)
    assert (made.selector.windows.each, made.selector.vote, made.held_out) == (4, "rates", 0)
    assert len(made.clips) == 30
    assert "test set" in PROTOCOLS["paper"]
    assert "flatters" in PROTOCOLS["paper"]


@pytest.mark.parametrize("more", [[], ["data.window=random"]])
def test_recordings_held_out_choose_and_are_not_learned(more: list[str]) -> None:
    made, _ = _plan("train.protocol=validation", "train.validation_share=0.2", *more)
    assert made.selector is not None
    held = [r.name for r in made.selector.windows.recordings]
    assert made.held_out == len(held) == 6
    assert sorted(made.selector.windows.labels.tolist()) == [0, 0, 1, 1, 2, 2]
    left = [r for r in DATASET.train if r.name not in held]
    assert made.clips.labels.tolist() == [r.label for r in left]
    if isinstance(made.clips, ClipSet):
        assert np.array_equal(made.clips.frames, to_frames(left, BINNING))
    else:
        assert isinstance(made.clips, Slices)
        assert list(made.clips.recordings) == left
    assert not set(held) & {r.name for r in DATASET.test}


def test_the_seed_draws_what_is_held_out() -> None:
    labels = np.arange(60) % 3
    first = held_out(labels, 0.25, 0)
    assert np.array_equal(first, held_out(labels, 0.25, 0))
    assert not np.array_equal(first, held_out(labels, 0.25, 1))
    assert np.bincount(labels[first]).tolist() == [5, 5, 5]
    assert np.bincount(np.array([0, 0, 1, 1])[held_out(np.array([0, 0, 1, 1]), 0.01, 0)]).tolist() == [1, 1]
    assert np.bincount(np.array([0, 0, 1, 1])[held_out(np.array([0, 0, 1, 1]), 0.99, 0)]).tolist() == [1, 1]
    with pytest.raises(ConfigError, match="class 1 has one"):
        held_out(np.array([0, 0, 1]), 0.5, 0)


@dataclass(frozen=True)
class _Row:
    """A configuration and what it must be."""

    name: str
    arch: str
    attention: str
    classes: int
    parameters: int | None = None
    sensor: tuple[int, int] = (128, 128)
    recipe: tuple[str, str, str] = ("paper", "rate_mse", "cosine")
    baseline: bool = False


ROWS = (
    # parameters of the modules: 2,323,531 (11 classes), 2,325,844 (20), and what each attention adds
    _Row("gesture", "a", "asa1", 11, 2_323_531 + 10_914, baseline=True),
    _Row("gait_day", "a", "asa1", 20, 2_325_844 + 10_914, baseline=True),
    _Row("gait_day_vanilla", "a", "none", 20, 2_325_844),
    _Row("gait_day_sa", "a", "sa", 20, 2_325_844 + 294),
    _Row("gait_day_tcsa", "a", "tcsa", 20, 2_325_844 + 24_126),
    _Row("gait_day_asa2", "a", "asa2", 20, 2_325_844 + 114),
    _Row("gait_night", "d", "asa1", 20, 548_980 + 10_914, baseline=True),
    _Row("gesture_five_layers", "b", "asa1", 11, 1_698_933 + 2_190, baseline=True),
    _Row("daily_action", "b", "asa1", 12, sensor=(260, 346), baseline=True),
    # 11,330,412, and ASA-1 of 8 steps before 16 layers: 64 + 36 + 2 each; the recipe is not published
    _Row("har_dvs", "sew18", "asa1", 300, 11_332_044, (224, 224), ("validation", "current", "cosine"), True),
)


def test_there_is_a_row_here_for_every_configuration() -> None:
    assert sorted(path.stem for path in CONFIGS.glob("*.toml")) == sorted(row.name for row in ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_configuration_of_the_paper_is_the_papers_network(row: _Row) -> None:
    config = load_config(CONFIGS / f"{row.name}.toml")
    assert config.model == architecture(row.arch, row.classes, row.attention).model
    assert (config.train.protocol, config.train.loss, config.train.schedule) == row.recipe
    assert config.train.baseline == row.baseline
    # -ps 00111 of A and D; a probability for each layer with neurons
    held = {"a": 0.1, "d": 0.5}.get(row.arch)
    assert config.model.dropout == ((0, 0, held, held, held) if held else ())
    data = config.data
    assert data.dt_us is not None
    assert data.downsample is not None
    bins = Bins.IMAGES if data.source.startswith("har-dvs") else Bins(data.bins)
    binning = Binning(row.sensor, data.downsample, data.dt_us, data.steps, data.max_count or 0, bins)
    model = SpikingNet(config.model, binning.shape, binning.steps, row.classes)
    if row.parameters is not None:
        assert sum(weight.numel() for weight in model.parameters()) == row.parameters


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_value_of_a_configuration_has_an_origin(row: _Row) -> None:
    lines = (CONFIGS / f"{row.name}.toml").read_text(encoding="utf-8").split("\n")
    values = [line for line in lines if " = " in line and not line.startswith("#")]
    assert len(values) > 30
    assert not [line for line in values if not any(f"# [{origin}]" in line for origin in "FCPO")]


@pytest.mark.parametrize("name", ["vanilla", "sa", "tcsa", "asa2"])
def test_rows_of_table_3_differ_in_attention_alone(name: str) -> None:
    asa1, other = (load_config(CONFIGS / f"gait_day{suffix}.toml") for suffix in ("", f"_{name}"))
    attention = {"vanilla": "none"}.get(name, name)
    assert other.model == asa1.model.model_copy(update={"attention": attention})
    assert other.train == asa1.train.model_copy(update={"baseline": False})
    assert (other.data, other.seed) == (asa1.data, asa1.seed)
