# SPDX-License-Identifier: Apache-2.0
"""Settings from a stranger: every claim beyond reason ends in E-CONFIG, at once and with a message of some lines."""

from __future__ import annotations

import time
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikefold.config import load_config
from spikefold.energy.prices.load import load_profile
from spikefold.errors import ConfigError
from spikefold.export.nir.options import nir_options
from spikefold.toml import DEEPEST, parse_toml

DEEP = "[" * 3000 + "]" * 3000
HOSTILE = {
    "deep lists": f"x = {DEEP}",
    "a deep key": ".".join("a" * 100_000) + " = 1",
    "a deep quoted key": ".".join(['"a"'] * 50_000) + " = 1",
    "a deep table": "[" + ".".join("a" * 100_000) + "]",
    "tables in tables": "x = " + "{a = " * 2000 + "1" + "}" * 2000,
    "an integer of 5000 digits": "seed = " + "9" * 5000,
    "a hexadecimal one": "seed = 0x" + "f" * 5000,
    "an integer beyond 64 bits": "seed = 9223372036854775808",
    "many keys": "\n".join(f"k{n} = 1" for n in range(9_000)),
    "many values": "x = [" + "1," * 200_000 + "]",
    "a long text": "x = '" + "a" * 2_000_000 + "'",
    "bytes of no text": "x = '\0'",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_configuration_is_refused_at_once(name: str, tmp_path: Path) -> None:
    path = tmp_path / "hostile.toml"
    path.write_text(HOSTILE[name])
    for read in (load_config, lambda place: load_profile(str(place))):
        started = time.process_time()
        with pytest.raises(ConfigError) as caught:
            read(path)
        assert time.process_time() - started < 2
        assert len(str(caught.value)) < 20_000


@pytest.mark.parametrize(
    "setting",
    [
        ".".join("a" * 30_000) + "=1", f"model.channels={DEEP}", "seed=0x" + "f" * 5000,
        "model.channels=[99999999999]",
        f"model.channels={[1] * 500}", "data.steps=1099511627776", "train.threads=100000000", "model.voters=99999999",
        "data.train=99999999999", "train.epochs=99999999999",
    ],
    ids=range(10),
)  # fmt: skip
def test_a_hostile_setting_is_refused_at_once(setting: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(None, (setting,))
    assert len(str(caught.value)) < 20_000


@pytest.mark.parametrize("value", [DEEP, "0x" + "f" * 5000, "9" * 5000], ids=["deep", "hexadecimal", "decimal"])
def test_options_of_nir_are_read_within_the_same_limits(value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        nir_options([f"steps={value}"])
    assert len(str(caught.value)) < 20_000


PLAIN = st.one_of(st.integers(-(2**63) + 1, 2**63 - 1), st.booleans(), st.text(max_size=5))
KEYS = st.from_regex(r"[a-z]{1,3}", fullmatch=True)


@given(st.dictionaries(KEYS, st.one_of(PLAIN, st.lists(PLAIN, max_size=3)), max_size=4), st.integers(1, DEEPEST - 3))
def test_an_honest_text_is_read_as_the_standard_library_reads_it(values: dict[str, object], depth: int) -> None:
    lines = [f"{key} = {_written(value)}" for key, value in values.items()]
    text = "\n".join([*lines, f"[{'.'.join('t' * depth)}]", *lines])
    try:
        wanted = tomllib.loads(text)
    except tomllib.TOMLDecodeError:  # the key `t` is there twice
        with pytest.raises(ValueError, match="t"):
            parse_toml(text)
        return
    assert parse_toml(text) == wanted


def _written(value: object) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_written(one) for one in value) + "]"
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(letter):08x}" for letter in value if not 0xD800 <= ord(letter) < 0xE000) + '"'
    return str(value).lower()
