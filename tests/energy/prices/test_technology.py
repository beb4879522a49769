# SPDX-License-Identifier: Apache-2.0
"""Technology profiles: every number names source and line, the unknown stays unknown, nothing incomplete is read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from spikefold.energy.prices import load as module
from spikefold.energy.prices.load import TechnologyProfile, load_profile, profile_names
from spikefold.errors import ConfigError

SOUND = (Path(module.__file__).parent / "profiles" / "horowitz45-fp32.toml").read_text(encoding="utf-8")
NAMES = profile_names()


def _own(tmp_path: Path, text: str) -> str:
    (tmp_path / "own.toml").write_text(text, encoding="utf-8")
    return str(tmp_path / "own.toml")


@pytest.mark.parametrize("name", NAMES)
def test_every_constant_of_the_house_links_to_its_line(name: str) -> None:
    found = load_profile(name)
    assert found.name == name
    lines = (Path(module.__file__).parent / "profiles" / f"{name}.toml").read_text(encoding="utf-8").split("\n")
    constants = dict(found.constants())
    assert {"energy_pj.mac", "energy_pj.ac"} <= set(constants)
    assert len({price.where for price in constants.values()}) == len(constants)
    for path, price in constants.items():
        file, number = price.where.split(":")
        assert file == f"{name}.toml"
        written = f'"{price.value}"' if isinstance(price.value, str) else repr(price.value)
        assert lines[int(number) - 1] == f"value = {written}"
        table = next(line for line in reversed(lines[: int(number)]) if line.startswith("["))
        assert table == f"[{path}]"
        assert price.source
        assert price.covers
        if price.known:
            assert 0 <= price.bounds[0] <= price.amount <= price.bounds[1]


def test_the_numbers_of_the_house() -> None:
    values = {name: load_profile(name).energy_pj for name in NAMES}
    pairs = {name: (energy.mac.value, energy.ac.value) for name, energy in values.items()}
    assert pairs["horowitz45-fp32"] == (4.6, 0.9)
    assert pairs["horowitz45-fp16"] == (1.5, 0.4)
    assert pairs["horowitz45-int8"] == (0.23, 0.03)
    assert pairs["horowitz45-int32"] == (3.2, 0.1)
    assert pairs["jouppi7-fp32"] == (1.69, 0.38)
    assert pairs["jouppi7-int8"] == (0.077, 0.007)
    accumulates = {"speck": 60.0, "loihi2": 30.12, "keyword-loihi1": 23.6,
                   "loihi1-presilicon": 23.6, "loihi1-fitted": 24.0, "truenorth": 2.3, "odin": 8.43, "darwin3": 5.47,
                   "spinnaker1": 13_300.0, "spinnaker2": 450.0, "gpu": 300.0, "cpu": 8600.0,
                   "mcu": 900.0}  # fmt: skip
    assert {name: pairs[name][1] for name in accumulates} == accumulates
    assert {name for name, (_, ac) in pairs.items() if ac == "unknown"} == {
        "xylo-audio2",
        "jetson-tx1",
        "movidius",
    }
    assert {name for name in NAMES if values[name].ac.kind == "all-in"} >= {"truenorth-all-in", "odin-all-in", "gpu"}


def test_the_rails_of_speck_sum_to_its_published_rest() -> None:
    powers = load_profile("speck").power_mw
    assert powers is not None
    assert powers.static.amount == 0.42
    assert powers.rails["ram"].amount + powers.rails["logic"].amount == pytest.approx(0.4187)
    everything = [price.amount for group in (powers.rails, powers.sensor) for price in group.values()]
    assert sum(everything) == pytest.approx(1.17, abs=0.005)
    assert powers.rails["io"].voltage_v == 2.5  # its own; the others have the profile's
    assert powers.rails["ram"].voltage_v == 1.2


def test_an_unknown_number_says_what_it_is_and_where_it_would_stand() -> None:
    price = load_profile("speck").energy_pj.mac
    assert not price.known
    for read in (lambda: price.amount, lambda: price.bounds):
        with pytest.raises(ConfigError, match="a multiply-accumulate") as caught:
            read()
        assert price.where in str(caught.value)


def test_an_unknown_profile_is_refused_with_the_nearest() -> None:
    for name, meant in (
        ("horowitz45-fp23", "horowitz45-fp32"),
        ("horowitz45", "horowitz45-fp32"),
        ("true-north", "truenorth"),
    ):
        with pytest.raises(ConfigError, match=f"Did you mean '{meant}'"):
            load_profile(name)
    with pytest.raises(ConfigError, match="'loihi1-fitted'"):  # and not its sibling loihi2
        load_profile("loihi1")
    with pytest.raises(ConfigError, match="Known: cpu, darwin3, "):
        load_profile("")


def test_a_file_of_the_user_is_read_by_its_path(tmp_path: Path) -> None:
    mine = load_profile(
        _own(
            tmp_path,
            SOUND.replace("value = 0.9", "value = 0.8")
            .replace("low = 0.9", "low = 0.8")
            .replace("high = 0.9", 'high = 1.0\nband = "measured twice"'),
        )
    )
    assert mine.energy_pj.ac.amount == 0.8
    assert mine.energy_pj.ac.bounds == (0.8, 1.0)
    line = SOUND.split("\n").index("value = 0.9") + 1
    assert mine.energy_pj.ac.where == f"own.toml:{line}"
    assert isinstance(mine, TechnologyProfile)


def test_a_path_without_the_ending_is_no_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "outside.toml").write_text(SOUND)
    (tmp_path / "inside").mkdir()
    monkeypatch.setattr(module, "_FOLDER", tmp_path / "inside")
    with pytest.raises(ConfigError, match="unknown technology profile"):
        load_profile("../outside")


def test_a_missing_or_broken_file_is_an_error_for_people(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the technology profile"):
        load_profile(str(tmp_path / "none.toml"))
    (tmp_path / "latin.toml").write_bytes(b"name = '\xe9'")
    with pytest.raises(ConfigError, match="cannot read the technology profile"):
        load_profile(str(tmp_path / "latin.toml"))
    with pytest.raises(ConfigError, match="incomplete"):
        load_profile(_own(tmp_path, "name = \n"))


@pytest.mark.parametrize(
    "line", ["source = ", "kind = ", "covers = ", "evidence = ", "unit = ", "low = ", "node_nm = "]
)
def test_a_number_without_its_origin_is_refused(line: str, tmp_path: Path) -> None:
    kept = "\n".join(row for row in SOUND.split("\n") if not row.startswith(line))
    assert kept != SOUND
    with pytest.raises(ConfigError, match="incomplete") as caught:
        load_profile(_own(tmp_path, kept))
    expected = "value, low and high" if line == "low = " else line.split(" ")[0]
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("source", '""'), ("source", '"  "'), ("covers", '""'), ("kind", '"total"'), ("kind", '"static"'),
        ("evidence", '"guessed"'), ("evidence", '"none"'), ("unit", '"mW"'), ("unit", '"calories"'),
        ("value", '"cheap"'), ("value", "nan"), ("value", "true"), ("value", "-1.0"), ("low", "-inf"),
        ("low", "100.0"), ("high", "0.0"), ("high", "100.0"), ("node_nm", "inf"), ("voltage_v", '"low"'),
    ],
)  # fmt: skip
def test_a_number_that_says_nothing_is_refused(field: str, value: str, tmp_path: Path) -> None:
    text = re.sub(rf"(?m)^{field} = .*$", f"{field} = {value}", SOUND)
    assert text != SOUND
    with pytest.raises(ConfigError, match="incomplete"):
        load_profile(_own(tmp_path, text))


@pytest.mark.parametrize(
    "change", [("value = 4.6", 'value = "4.6"'), ("low = 4.6", 'low = -0.1\nband = "somewhere"')]
)
def test_a_number_in_quotes_or_below_zero_is_refused(change: tuple[str, str], tmp_path: Path) -> None:
    text = SOUND.replace(*change)
    assert text != SOUND
    with pytest.raises(ConfigError, match=r"incomplete(.|\n)*energy_pj\.mac"):
        load_profile(_own(tmp_path, text))


def test_a_band_without_its_origin_is_refused(tmp_path: Path) -> None:
    wider = SOUND.replace("high = 0.9", "high = 1.0")
    with pytest.raises(ConfigError, match="a band needs its origin"):
        load_profile(_own(tmp_path, wider))


def test_the_line_of_a_number_is_found_and_not_claimed(tmp_path: Path) -> None:
    claimed = SOUND.replace("[energy_pj.ac]", '[energy_pj.ac]\nwhere = "elsewhere.toml:1"')
    with pytest.raises(ConfigError, match=r"cannot tell on which line the number energy_pj\.ac stands"):
        load_profile(_own(tmp_path, claimed))


def test_an_inline_number_is_refused_for_its_line(tmp_path: Path) -> None:
    inline = "\n[published]\nx = {value = 5.0, low = 5.0, high = 5.0}\n"
    with pytest.raises(ConfigError, match=r"cannot tell on which line the number published\.x stands"):
        load_profile(_own(tmp_path, SOUND + inline))
