# SPDX-License-Identifier: Apache-2.0
"""``spikefold doctor`` and the options that every command has."""

from __future__ import annotations

import json

import pytest
import typer
from typer.main import get_command
from typer.testing import CliRunner

from spikefold import __version__
from spikefold.pipeline import app
from spikefold.stages.verbs import installation


def _call(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, list(arguments))
    return done.exit_code, done.stdout, done.stderr


def test_every_part_says_what_it_is_for_and_a_missing_one_what_to_do() -> None:
    code, out, _ = _call("doctor", "--json")
    assert code == 0
    found = json.loads(out)
    assert found["spikefold"] == __version__
    parts = {part["name"]: part for part in found["parts"]}
    assert {"torch", "sinabs", "cache", "samna", "lava", "GPU", "lz4", "browser"} <= set(parts)
    assert all(part["unlocks"] for part in parts.values())
    assert all(bool(part["to_do"]) != part["ok"] for part in parts.values())
    assert "speck2fdevkit" in parts["samna"]["unlocks"]
    code, out, _ = _call("doctor")
    assert code == 0
    assert all(name in out for name in parts)


def test_what_every_run_needs_and_is_missing_has_its_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "_NEEDED", ("numpy", "no-such-package"))
    code, out, err = _call("doctor", "--json")
    assert code == 4
    assert [part["name"] for part in json.loads(out)["parts"] if part["needed"] and not part["ok"]] == [
        "no-such-package"
    ]
    assert "no-such-package" in err


@pytest.mark.parametrize("arguments", [("--version",), ("version",)])
def test_the_version(arguments: tuple[str, ...]) -> None:
    assert _call(*arguments)[:2] == (0, f"{__version__}\n")


def _commands(command: object, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], object]:
    inside = getattr(command, "commands", None)
    if inside is None:
        return {path: command}
    return {key: one for name, sub in inside.items() for key, one in _commands(sub, (*path, name)).items()}


def test_every_command_has_short_help_and_json_and_those_that_work_long_are_quiet_on_request() -> None:
    commands = _commands(get_command(app))
    assert len(commands) > 18
    for path, command in commands.items():
        names = {name for one in command.params for name in getattr(one, "opts", ())}  # type: ignore[attr-defined]
        assert "--json" in names, path
        assert ("-q" in names) == ("--quiet" in names)
        assert _call(*path, "-h")[0] == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("config",),
        ("version",),
        ("chips",),
        ("chips", "speck2f"),
        ("energy", "profiles"),
        ("energy", "profiles", "speck"),
    ],
)
def test_json_stands_alone_on_standard_output(arguments: tuple[str, ...]) -> None:
    code, out, err = _call(*arguments, "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)


def test_an_interruption_has_its_own_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("spikefold.config.load_config", stopped)
    code, _, err = _call("config")
    assert code == 130
    assert err.startswith("interrupted")
    assert typer.Exit(code).exit_code == 130
