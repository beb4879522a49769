# SPDX-License-Identifier: Apache-2.0
"""The configuration: closed, typed, and the same after a round trip through TOML."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikefold.config import Config, load_config, parse_config, to_toml
from spikefold.errors import ConfigError


@pytest.mark.parametrize(
    ("override", "suggestion"),
    [
        ("sead=1", "unknown key 'sead'. Did you mean 'seed'?"),
        ("train.epoch=1", "unknown key 'train.epoch'. Did you mean 'epochs'?"),
        ("data.step=4", "unknown key 'data.step'. Did you mean 'steps'?"),
        ("model.atention='none'", "Did you mean 'attention'?"),
        ("chips.name=['speck2f']", "Did you mean 'names'?"),
        ("modle.channels=[1]", "Did you mean 'model'?"),
    ],
)
def test_an_unknown_key_is_refused_and_the_nearest_is_suggested(override: str, suggestion: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(None, (override,))
    assert suggestion in str(caught.value)


def test_all_wrong_keys_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(None, ("train.epoch=1", "model.widths=[2]", "train.lr=-1"))
    for part in ("train.epoch", "model.widths", "train.lr: Input should be greater than 0 (got -1)"):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    "override",
    ["train.epochs=0", "train.epochs=1.5", "model.neuron='adex'", "model.threshold=0", "data.steps=-3", "seed=-1",
     "train.loss='mse'", "data.max_count=70000", "model.keep=1.0",
     "model.channels=8", "model.channels=8,8", "model.channels=[8,0,8]", "model.strides=[2,0,2]",
     "model.strides=[2,-2,2]", "train.gain=inf", "train.lr=nan", "model.threshold=inf", "train.baseline=perhaps",
     "chips.names=speck2f", "chips.names=['speck2f','loihi2','speck2f']", "data.source=3", "train=3"],
)  # fmt: skip
def test_values_out_of_range_are_refused_with_their_key(override: str) -> None:
    with pytest.raises(ConfigError, match=override.split("=")[0].replace(".", r"\.")):
        load_config(None, (override,))


def test_overrides_are_toml_and_a_bare_word_is_a_string() -> None:
    config = load_config(
        None,
        (
            "model.channels=[4, 8]",
            "model.strides=[1,2]",
            "train.baseline=false",
            "model.attention=none",
            "train.lr=1e-3",
        ),
    )
    assert config.model.channels == (4, 8)
    assert config.model.attention == "none"
    assert config.train.baseline is False
    assert config.train.lr == 1e-3


def test_a_profile_is_given_chip_by_chip() -> None:
    overrides = ("chips.power.speck2f=mine.toml", "chips.power.loihi2=loihi1-presilicon")
    config = load_config(None, overrides)
    assert config.chips.power == {"speck2f": "mine.toml", "loihi2": "loihi1-presilicon"}
    assert 'power = {"speck2f" = "mine.toml", "loihi2" = "loihi1-presilicon"}' in to_toml(config)
    with pytest.raises(ConfigError, match=r"chips\.power"):
        load_config(None, ("chips.power=speck",))


@pytest.mark.parametrize("override", ["train.epochs", "=3", ""])
def test_an_override_that_is_no_pair_is_refused(override: str) -> None:
    with pytest.raises(ConfigError, match="is not KEY=VALUE"):
        load_config(None, (override,))


def test_an_override_into_a_value_is_refused() -> None:
    with pytest.raises(ConfigError, match="'seed' is a value, not a section"):
        load_config(None, ("seed=1", "seed.deep=2"))


def test_a_later_override_wins_and_a_file_is_overridden(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("seed = 5\n[train]\nepochs = 7\nbatch = 3\n", encoding="utf-8")
    config = load_config(path, ("train.epochs=8", "train.epochs=9"))
    assert (config.seed, config.train.epochs, config.train.batch) == (5, 9, 3)


@pytest.mark.parametrize("text", ["seed = ", "[train", "seed = 1\nseed = 2\n"])
def test_a_file_that_is_no_toml_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "broken.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="cannot read the configuration") as caught:
        load_config(path)
    assert caught.value.where == str(path)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the configuration"):
        load_config(tmp_path / "none.toml")


def test_channels_and_strides_must_be_equally_many() -> None:
    with pytest.raises(ConfigError, match="differ in length"):
        load_config(None, ("model.channels=[4]",))


@pytest.mark.parametrize("comments", [True, False])
@pytest.mark.parametrize(
    "overrides", [(), ("seed=4", "data.downsample=2", "data.dt_us=777", "model.channels=[1,2,3]")]
)
def test_written_as_toml_it_reads_back_the_same(tmp_path: Path, overrides: tuple[str, ...], comments: bool) -> None:
    config = load_config(None, overrides)
    path = tmp_path / "config.toml"
    path.write_text(to_toml(config, comments=comments), encoding="utf-8")
    assert load_config(path) == config


def test_every_key_of_the_printed_configuration_is_explained() -> None:
    lines = [line for line in to_toml(Config()).split("\n") if " = " in line]
    assert len(lines) > 25
    bare = [line for line in lines if line.count("#") == (1 if line.startswith("#") else 0)]
    assert {line.split(" = ")[0] for line in bare} <= {"seed", "epochs", "batch", "names"}


@pytest.mark.parametrize(
    "source", ["npz:/some/where", "folder:/a=b", "folder:C:\\data", "folder:/ä/\u4e2d", "folder:/\U0001f40e", ""]
)
def test_a_place_is_taken_as_it_is_written(source: str) -> None:
    assert load_config(None, (f"data.source={source}",)).data.source == source


POSITIVE = st.floats(1e-300, 1e300)
TEXT = st.text(st.characters(codec="utf-8"))
SOME = {
    "seed": st.integers(0, 2**63 - 1),
    "data": st.fixed_dictionaries(
        {
            "source": TEXT,
            "test_share": st.floats(0.001, 0.999),
            "dt_us": st.none() | st.integers(1, 10**9),
            "max_count": st.none() | st.integers(1, 65_535),
        }
    ),
    "model": st.lists(st.tuples(st.integers(1, 999), st.integers(1, 9)), min_size=1).map(
        lambda rows: {"channels": [c for c, _ in rows], "strides": [s for _, s in rows]}
    ),
    "train": st.fixed_dictionaries({"lr": POSITIVE, "gain": POSITIVE, "baseline": st.booleans()}),
    "chips": st.fixed_dictionaries(
        {"names": st.lists(TEXT, unique=True), "power": st.dictionaries(TEXT, TEXT, max_size=3)}
    ),
}


@given(st.fixed_dictionaries({}, optional=SOME), st.booleans())
def test_any_configuration_survives_writing_and_reading(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, Any], comments: bool
) -> None:
    config = parse_config(values)
    path = tmp_path_factory.mktemp("config") / "config.toml"
    path.write_text(to_toml(config, comments=comments), encoding="utf-8")
    assert load_config(path) == config


@pytest.mark.parametrize(
    ("sets", "channels", "penalty"),
    [
        ((), (16, 32, 32), 0.05),
        (("data.source=digits",), (16, 32, 32), 0.05),
        (("data.source=npz:recorded",), (24, 48, 48), 0.2),
        (("data.source=nmnist:recorded", "model.attention=none"), (24, 48, 48), 0.2),
        (("data.source=npz:recorded", "model.channels=[4,5,6]"), (4, 5, 6), 0.2),
        (("data.source=npz:recorded", "model.family=sew", "train.synops_penalty=0.0"), (16, 32, 32), 0.0),
    ],
)
def test_recordings_in_files_get_a_wider_and_sparser_network_unless_told(
    sets: tuple[str, ...], channels: tuple[int, ...], penalty: float
) -> None:
    config = load_config(None, sets)
    assert (config.model.channels, config.train.synops_penalty) == (channels, penalty)
    assert parse_config(tomllib.loads(to_toml(config))) == config


def test_a_source_given_beside_the_file_counts_like_one_in_it(tmp_path: Path) -> None:
    quoted = 'npz:a "quoted"\npath'
    config = load_config(None, ("train.epochs=2",), source=quoted)
    assert (config.data.source, config.model.channels, config.train.epochs) == (quoted, (24, 48, 48), 2)
    (tmp_path / "mine.toml").write_text(to_toml(config), encoding="utf-8")
    assert load_config(tmp_path / "mine.toml", source="digits").model.channels == (24, 48, 48), "as the file says"
    for wrong in ("data=3", "train=3", "model=3"):
        with pytest.raises(ConfigError):
            load_config(None, (wrong,), source="npz:digits")
