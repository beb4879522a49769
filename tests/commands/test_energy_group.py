# SPDX-License-Identifier: Apache-2.0
"""``spikefold energy`` as a group: which command is meant, and the tables that need no run."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from spikefold.energy.prices.load import load_profile, profile_names
from spikefold.energy.table3 import NOT_DERIVABLE
from spikefold.energy.table3 import table3 as rows
from spikefold.errors import ConfigError
from spikefold.pipeline import COMMANDS, app


def _call(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, list(arguments))
    return done.exit_code, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("nowhere",), 6, "no run there"),
        (("count", "nowhere"), 6, "no run there"),
        (("nowhere", "--quiet", "--gate", "spikes<3"), 6, "no run there"),
        (("--gate", "spikse"), 2, "a gate cannot be read"),
        (("nowhere", "--gate", "spikse"), 2, "a gate cannot be read"),
        (("./profiles",), 6, "no run there"),
        ((), 6, "no run there"),
        (("profiles", "spec"), 2, "Did you mean 'speck'?"),
        (("calibrate",), 2, "Missing argument"),
        (("nowhere", "more"), 2, "unexpected extra argument"),
    ],
)
def test_the_first_command_is_meant_where_none_is_named(
    arguments: tuple[str, ...], code: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found, _, err = _call("energy", *arguments)
    assert (found, said in re.sub(r"[│\s]+", " ", err)) == (code, True), err


def test_help_shows_the_group_or_the_command_that_is_asked_for() -> None:
    for arguments in (("energy", "--help"), ("energy", "nowhere", "--help"), ("energy", "--gate", "x<1", "--help")):
        code, out, _ = _call(*arguments)
        assert code == 0
        assert ("calibrate" in out) == (arguments[1] == "--help")
        assert ("--gate" in out) == (arguments[1] != "--help")


def test_commands_come_in_the_order_of_a_networks_way() -> None:
    command = get_command(app)
    assert command.list_commands(None) == list(COMMANDS)  # type: ignore[attr-defined]
    assert list(COMMANDS).index("validate") + 1 == list(COMMANDS).index("energy")
    assert "calibrate" not in COMMANDS
    code, _, err = _call("calibrate", "x.csv")
    assert code == 2
    assert "No such command" in err


@pytest.mark.parametrize("typed", ["", "cal"])
def test_names_of_the_group_are_completed(typed: str) -> None:
    """As a shell asks: the words so far, and the place of the one that is being typed."""
    code = "from spikefold.pipeline import app; app(prog_name='spikefold')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={
            "_SPIKEFOLD_COMPLETE": "complete_bash",
            "COMP_WORDS": f"spikefold energy {typed}",
            "COMP_CWORD": "2",
            "PYTHONPATH": ":".join(path for path in sys.path if path),
        },
    )
    offered = done.stdout.split()
    assert offered == [
        name for name in ("count", "calibrate", "table3", "profiles", "silicon") if name.startswith(typed)
    ]


def test_help_and_tables_load_no_torch() -> None:
    for arguments in (
        ["energy", "--help"],
        ["energy", "count", "--help"],
        ["energy", "profiles"],
        ["energy", "table3"],
    ):
        code = (
            "import sys\nfrom spikefold.pipeline import app\n"
            f"try:\n    app({arguments!r})\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
            "assert not {'torch', 'sinabs', 'spikingjelly', 'matplotlib', 'samna'} & set(sys.modules)\n"
            f"assert {arguments[-1] != '--help'} or 'numpy' not in sys.modules\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout


def _table(text: str, title: str) -> list[list[str]]:
    """Rows under a title; cells are two spaces or more apart, an empty one leaves its column blank."""
    lines = text.split(f"{title}:\n")[1].split("\n")
    header = lines[0]
    starts = [match.start() for match in re.finditer(r"(?<=  )\S", header)]
    ends = [*starts[1:], None]
    body = []
    for line in lines[1:]:
        if not line.startswith("  "):
            break
        body.append([line[start:end].strip() for start, end in zip(starts, ends, strict=True)])
    return body


def test_table_3_has_both_counts_and_says_which_is_which() -> None:
    code, out, err = _call("energy", "table3")
    assert code == 0, err
    macs = {(cells[0], cells[1], cells[2]) for cells in _table(out, "MACs that attention adds to a clip")}
    assert {
        ("SA", "paper's rule", "14,292,480"),
        ("ASA-1", "paper's rule", "2,603,520"),
        ("ASA-1", "as executed", "7,590,144"),
    } <= macs
    parameters = {(cells[0], cells[1]): cells[2:5] for cells in _table(out, "Parameters")}
    assert parameters["vanilla", "paper's rule"] == ["2,323,531", "2,323,531", "yes"]
    assert parameters["ASA-1", "paper's rule"] == ["10,914", "10,914", "yes"]
    saved = _table(out, "Energy that attention saves on Gait-day, in percent")
    assert ["TCSA", "paper's rule", "65.5", "65", "yes"] in [cells[:5] for cells in saved]
    assert ["TCSA", "paper's rule", "69.5", "65", "no"] in [cells[:5] for cells in saved]
    assert all("fires at" in cells[5] and "share of nonzero input" in cells[5] for cells in saved)
    told = len(re.findall(r"(?m)^  .*(?:paper's rule|as executed|solved for) ", out))
    assert told == len(rows()) > 30
    assert all(f"  {missing}\n" in out for missing in NOT_DERIVABLE)


def test_table_3_for_programs() -> None:
    code, out, _ = _call("energy", "table3", "--json")
    assert code == 0
    found = json.loads(out)
    assert found["rows"] == [json.loads(json.dumps(row.to_json())) for row in rows()]
    assert {row["counted"] for row in found["rows"]} == set(found["counted"])
    counted = {(row["module"], row["counted"], row["computed"]) for row in found["rows"] if row["unit"] == "MAC"}
    assert {("SA", "paper", 14_292_480), ("ASA-1", "paper", 2_603_520), ("ASA-1", "executed", 7_590_144)} <= counted
    assert found["not_derivable"] == list(NOT_DERIVABLE)


def test_every_profile_is_listed_with_its_prices() -> None:
    code, out, err = _call("energy", "profiles")
    assert code == 0, err
    listed = {cells[0]: cells[1:] for cells in _table(out, "Technology profiles")}
    assert list(listed) == profile_names()
    assert listed["horowitz45-fp32"] == [
        "marginal",
        "45",
        "4.6",
        "0.9",
        "45 nm CMOS, 0.9 V, 32-bit floating point (Horowitz)",
    ]
    # where only an interval is known, its middle alone would say too much
    assert listed["speck"][:4] == ["marginal", "65", "unknown", "60 (24.5 to 146.8, bounded)"]
    assert listed["loihi2"][3] == "30.12 (0 to 30.12, bounded)"
    assert listed["truenorth-all-in"][0] == "marginal and all-in"


@pytest.mark.parametrize("name", profile_names())
def test_every_number_of_a_profile_has_its_line_and_source(name: str) -> None:
    profile = load_profile(name)
    code, out, err = _call("energy", "profiles", name)
    assert code == 0, err
    body = {cells[0]: cells[1:] for cells in _table(out, f"{name}: {profile.title}")}
    constants = dict(profile.constants())
    assert list(body) == list(constants)
    assert len(body) >= 2
    file = Path(__file__).parents[2] / "energy" / "prices" / "profiles" / f"{name}.toml"
    lines = file.read_text(encoding="utf-8").split("\n")
    for number, (value, band, unit, kind, evidence, _, covers, where, source) in body.items():
        price = constants[number]
        assert (unit, kind, evidence, covers, source) == (
            price.unit,
            price.kind,
            price.evidence,
            price.covers,
            price.source,
        )
        assert (value == "unknown") or float(value.replace(",", "")) == price.amount
        assert (price.band in band) == (price.low != price.high)
        stands = lines[int(where.removeprefix(f"{name}.toml:")) - 1].removeprefix("value = ")
        assert stands == '"unknown"' if value == "unknown" else float(stands) == price.amount


def test_a_profile_of_the_users_own_is_shown_too(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    folder = Path(__file__).parents[2] / "energy" / "prices" / "profiles"
    path.write_text((folder / "speck.toml").read_text(encoding="utf-8"), encoding="utf-8")
    code, out, _ = _call("energy", "profiles", str(path))
    assert code == 0
    assert "mine.toml:" in out
    with pytest.raises(ConfigError):
        load_profile(str(tmp_path / "none.toml"))
    code, _, err = _call("energy", "profiles", str(tmp_path / "none.toml"))
    assert code == 2
    assert "cannot read the technology profile" in err
