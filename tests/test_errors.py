# SPDX-License-Identifier: Apache-2.0
"""Bad input: a message that teaches, an exit code of its own, and nothing half-written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikefold.errors import ConfigError, DataError, Issue, nearest
from spikefold.train.data.events import Recording, pack_events, save_packed


def _recordings(count: int, sensor: tuple[int, int] = (34, 34), classes: int = 2) -> list[Recording]:
    rng = np.random.default_rng(0)
    found = []
    for index in range(count):
        t = np.sort(rng.integers(0, 300_000, 400))
        columns = rng.integers(0, sensor[1], 400), rng.integers(0, sensor[0], 400), rng.integers(0, 2, 400)
        found.append(Recording(pack_events(t, *columns), sensor, index % classes, f"r{index}"))
    return found


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    folder = tmp_path / "packed"
    folder.mkdir()
    save_packed(folder / "train.npz", _recordings(8))
    save_packed(folder / "test.npz", _recordings(4))
    return folder


def _refused(program: Any, cwd: Path, code: int, *arguments: str) -> str:
    before = sorted(path.name for path in cwd.iterdir())
    done = program(*arguments, cwd=cwd)
    assert done.returncode == code, done.stdout + done.stderr
    assert sorted(path.name for path in cwd.iterdir()) == before, "something was written"
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_key_that_does_not_exist(program: Any, tmp_path: Path) -> None:
    said = _refused(program, tmp_path, 2, "run", "--set", "train.epoch=3")
    assert "E-CONFIG: unknown key 'train.epoch'. Did you mean 'epochs'?" in said


def test_a_key_that_does_not_exist_in_a_file(program: Any, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("[model]\nchanels = [4]\n", encoding="utf-8")
    said = _refused(program, tmp_path, 2, "train", "--config", "mine.toml")
    assert "unknown key 'model.chanels'. Did you mean 'channels'?" in said


def test_an_unknown_chip(program: Any, tmp_path: Path, packed: Path) -> None:
    said = _refused(program, tmp_path, 2, "run", "--data", f"npz:{packed}", "--set", 'chips.names=["speck2g"]')
    assert "unknown chip 'speck2g'" in said
    assert "Did you mean 'speck2f'?" in said


def test_an_unknown_technology_profile_is_found_before_the_training(program: Any, tmp_path: Path) -> None:
    said = _refused(program, tmp_path, 2, "run", "--set", 'energy_profile="horowitz45"')
    assert "Did you mean 'horowitz45-fp32'?" in said


def test_an_unknown_source(program: Any, tmp_path: Path) -> None:
    assert "Did you mean 'gestures'?" in _refused(program, tmp_path, 2, "run", "--data", "gesture")


def test_an_unreadable_recording(program: Any, tmp_path: Path, packed: Path) -> None:
    whole = (packed / "train.npz").read_bytes()
    (packed / "train.npz").write_bytes(whole[: len(whole) // 2])
    said = _refused(program, tmp_path, 6, "run", "--data", f"npz:{packed}", "--out", str(tmp_path / "out"))
    assert "E-DATA: cannot read packed recordings" in said
    assert str(packed / "train.npz") in said


def test_unreadable_recordings_and_an_empty_class_in_a_folder_are_named_together(
    program: Any, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    for name in ("left", "right", "none"):
        (data / name).mkdir(parents=True)
    for index, recording in enumerate(_recordings(4)):
        save_packed(data / ("left" if index % 2 else "right") / f"{index}.npz", [recording])
    (data / "left" / "bad.npz").write_bytes(b"no archive")
    said = _refused(program, tmp_path, 6, "run", "--data", f"folder:{data}")
    assert str(data / "left" / "bad.npz") in said
    assert f"{data / 'none'}: recordings in a class: got 0, limit at least 2" in said


def test_a_recording_larger_than_the_sensor_of_the_network(program: Any, tmp_path: Path, packed: Path) -> None:
    run = tmp_path / "runs" / "small"
    sets = ("data.steps=3", "model.channels=[2]", "model.strides=[2]", "train.epochs=1", "train.baseline=false")
    done = program("train", "--data", f"npz:{packed}", "--out", str(run), *(a for s in sets for a in ("--set", s)))
    assert done.returncode == 0, done.stderr
    save_packed(packed / "test.npz", _recordings(4, sensor=(64, 64)))
    done = program("fold", str(run))
    assert done.returncode == 6, done.stderr
    assert "larger than the network's sensor 34x34, the first is 64x64" in done.stderr
    assert not (run / "5_simulate").exists()
    assert not list(run.glob(".5_simulate*"))


def test_a_folder_that_is_no_run(program: Any, tmp_path: Path) -> None:
    assert "no run there" in _refused(program, tmp_path, 6, "export", str(tmp_path))


def test_a_usage_error_has_the_code_of_the_configuration(program: Any, tmp_path: Path) -> None:
    assert "No such option" in _refused(program, tmp_path, 2, "run", "--nonsense")


def test_a_bug_has_a_code_of_its_own(tmp_path: Path) -> None:
    code = (
        "import sys, spikefold.pipeline as p, spikefold.config as configuration\n"
        "def broken(*a, **k): raise ZeroDivisionError('planted')\n"
        "configuration.load_config = broken\nsys.argv = ['spikefold', 'config']\np.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 5
    assert "ZeroDivisionError: planted" in done.stderr
    assert "this is a bug" in done.stderr


def test_every_issue_is_printed_with_what_to_do() -> None:
    issues = [Issue("rule", f"place{i}", "7", "3", "shrink it") for i in range(2)]
    text = str(DataError("two problems", where="file", hint="mend them", issues=issues))
    assert text == (
        "E-DATA: two problems\n  where: file\n  - place0: rule: got 7, limit 3. shrink it\n"
        "  - place1: rule: got 7, limit 3. shrink it\n  to do: mend them"
    )


def test_the_nearest_name_is_suggested_or_all_are_listed() -> None:
    assert nearest("epoch", ("epochs", "lr")) == "Did you mean 'epochs'?"
    assert nearest("zzz", ("b", "a")) == "Known: a, b."
    assert ConfigError.exit_code != DataError.exit_code
