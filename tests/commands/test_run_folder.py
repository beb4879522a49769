# SPDX-License-Identifier: Apache-2.0
"""A run folder that is asked for again: unchanged stages, a finished run, interruptions, two processes, reports."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from spikefold.commands.options import on_chips
from spikefold.config import load_config
from spikefold.pipeline import app
from spikefold.provenance.digests import of_data, of_folder
from spikefold.provenance.lock import LOCK, locked
from spikefold.provenance.manifest import report_is_current
from spikefold.provenance.origin import ORIGIN, origin_now, why_again
from spikefold.provenance.same_run import CONFIG, same_run
from spikefold.stage_table import ENERGY, FOLD, STAGES, TRAIN, Stage
from spikefold.stages import chip_files
from spikefold.stages import validate as validate_room

IN_RUN = [stage.name for stage in STAGES if stage.in_run]


def _call(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, list(arguments))
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Path:
    """A copy of the small run, which the test may write into, under its own name."""
    folder = tmp_path / "runs" / finished_run.name
    shutil.copytree(finished_run, folder)
    return folder


def test_chips_are_named_one_by_one(tmp_path: Path) -> None:
    assert load_config(None, tuple(on_chips(["loihi2", "speck2f"]))).chips.names == ("loihi2", "speck2f")
    assert load_config(None, tuple(on_chips(None))).chips.names == ("speck2f", "loihi2")
    code, _, told = _call("train", "--resume", str(tmp_path), "--chip", "loihi2", "--chip", "speck2f")
    assert code == 2
    assert "--resume goes alone" in told


def test_an_unchanged_run_is_told_so_and_nothing_heavy_is_loaded(run: Path) -> None:
    before = of_folder(run)
    code = (
        "import sys\nfrom spikefold.pipeline import app\n"
        f"try:\n    app(['run', '--out', {str(run)!r}])\nexcept SystemExit as end:\n    assert not end.code\n"
        "assert not {'torch', 'numpy', 'sinabs', 'matplotlib'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if "unchanged" in line] == [
        f"{name}: unchanged" for name in (*IN_RUN, "report")
    ]
    assert "accuracy" in done.stdout
    assert of_folder(run) == before, "no byte is changed"


def test_a_finished_run_is_not_overwritten_without_a_word(run: Path) -> None:
    before = of_folder(run)
    sets = ["--set", "energy_profile=jouppi7-fp32", "--config", str(run / CONFIG)]
    code, _, err = _call("run", "--out", str(run), *sets)
    assert code == 2
    assert "a finished run lies there" in err
    assert "energy: energy_profile: horowitz45-fp32 -> jouppi7-fp32" in err
    assert "--from energy" in err
    assert of_folder(run) == before
    code, _, err = _call("run", "--out", str(run), *sets, "--from", "energy")
    assert code == 0, err
    assert err.splitlines()[: len(IN_RUN) - 1] == [f"{name}: unchanged" for name in IN_RUN[:-1]]
    assert json.loads((run / "report.json").read_text())["energy"]["profile"]["name"] == "jouppi7-fp32"
    assert load_config(run / CONFIG).energy_profile == "jouppi7-fp32"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--from", "flod"), "Did you mean 'fold'?"),
        (("--from", "analyse"), "Known: adapt"),
        (("--force", "--from", "fold"), "--force is --from train"),
    ],
)
def test_stages_to_do_again_are_named_rightly(run: Path, arguments: tuple[str, ...], said: str) -> None:
    code, _, err = _call("run", "--out", str(run), *arguments)
    assert (code, said in err) == (2, True), err


def test_what_a_stage_is_made_from_decides_and_nothing_else(run: Path) -> None:
    config = load_config(run / CONFIG)
    for stage in STAGES:
        if stage.in_run:
            assert why_again(stage, config, run) == []
    quicker = config.model_copy(update={"adapt": config.adapt.model_copy(update={"lr": 1e-5})})
    assert why_again(FOLD, quicker, run) == []
    (why,) = why_again(ENERGY, quicker, run)
    assert why == f"adapt.lr: {config.adapt.lr} -> 1e-05"
    scales = run / "2_fold" / "fold.json"
    scales.write_text(scales.read_text() + " ")
    assert why_again(FOLD, config, run) == ["its files were edited"]
    assert why_again(ENERGY, config, run) == ["fold was made again"]
    origin = json.loads((run / "1_train" / ORIGIN).read_text())
    (run / "1_train" / ORIGIN).write_text(json.dumps(origin | {"code": "0" * 64}))
    assert why_again(TRAIN, config, run) == ["the code changed"]
    (run / "1_train" / ORIGIN).write_text("{}")
    assert why_again(TRAIN, config, run) == ["nothing says what it was made from"]


def test_data_and_profiles_of_the_users_own_are_inputs(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "train.npz").write_bytes(b"one")
    before = of_data(f"npz:{folder}")
    assert of_data(f"npz:{folder}") == before != of_data("digits")
    (folder / "mine.toml").write_text("a run and a configuration may lie beside packed recordings")
    assert of_data(f"npz:{folder}") == before
    assert of_data(f"folder:{folder}") != of_data(f"folder:{tmp_path / 'nowhere'}")
    assert of_data(f"npz:{folder / 'train.npz'}") != before
    (folder / "train.npz").write_bytes(b"other")
    os.utime(folder / "train.npz", ns=(1, 1))
    assert of_data(f"npz:{folder}") != before
    profile = tmp_path / "mine.toml"
    profile.write_text("a = 1")
    config = load_config(run / CONFIG, (f"energy_profile={profile}",))
    first = origin_now(ENERGY, config, run)
    profile.write_text("a = 2")
    assert origin_now(ENERGY, config, run).settings != first.settings


def _without_energy(run: Path) -> dict[str, str]:
    """As after an interruption in the last stage; digests of the stages before it."""
    shutil.rmtree(run / ENERGY.folder)
    for name in ("report.json", "report.html"):
        (run / name).unlink()
    return {stage.folder: of_folder(run / stage.folder) for stage in STAGES if (run / stage.folder).is_dir()}


def test_an_interruption_says_what_is_kept_and_the_same_command_goes_on(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = (run / "report.json").read_bytes()
    kept = _without_energy(run)
    (run / f".{ENERGY.folder}.123.part").mkdir()  # what kill -9 leaves
    load = Stage.load

    def stopped(session: Any) -> None:
        with session.writing(ENERGY):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Stage, "load", lambda stage: stopped if stage is ENERGY else load(stage))
        code, _, err = _call("run", "--out", str(run))
    assert code == 130
    assert err.splitlines()[-1] == (
        "interrupted in energy: train, fold, adapt, export, simulate, validate are kept; "
        f"`spikefold run --out {run}` goes on"
    )
    assert not (run / ENERGY.folder).exists()
    assert not list(run.glob(".7_energy*"))
    assert not (run / LOCK).exists()
    code, _, err = _call("run", "--out", str(run))
    assert code == 0, err
    assert err.splitlines()[:6] == [f"{name}: unchanged" for name in IN_RUN[:-1]]
    assert {folder: of_folder(run / folder) for folder in kept} == kept
    assert (run / "report.json").read_bytes() == report


def test_an_interrupted_report_says_that_every_stage_is_kept(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (run / "report.html").unlink()

    def stopped(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("spikefold.commands.run.written_report", stopped)
    code, _, err = _call("run", "--out", str(run))
    assert code == 130
    assert err.splitlines()[-1] == (
        f"interrupted in report: {', '.join(IN_RUN)} are kept; `spikefold run --out {run}` goes on"
    )
    assert not (run / LOCK).exists()


def test_a_full_disk_in_a_stage_leaves_the_run_as_it_was(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = of_folder(run)
    load = Stage.load

    def full(session: Any) -> None:
        with session.writing(ENERGY) as folder:
            (folder / "layers.csv").write_text("half a file")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder / "energy.json"))

    monkeypatch.setattr(Stage, "load", lambda stage: full if stage is ENERGY else load(stage))
    for command in (("energy", str(run)), ("run", "--out", str(run), "--from", "energy")):
        code, _, err = _call(*command, "-q")
        assert code == 4
        assert "E-ENVIRONMENT" in err
        assert "the disk is full: make room" in err
        assert "energy.json" in err
        assert of_folder(run, leave_out=[LOCK]) == before, (
            "the stage, the report and the rest are there, and nothing else"
        )


def test_one_process_at_a_time_and_the_other_is_named(run: Path) -> None:
    before = of_folder(run)
    with locked(run):
        for command in (("run", "--out"), ("energy",), ("report",)):
            code, _, err = _call(*command, str(run))
            assert code == 4
            assert f"another process works in this run: process {os.getpid()} on " in err
    assert of_folder(run) == before
    (run / LOCK).write_text("left by a process that was killed")
    assert _call("run", "--out", str(run))[0] == 0


def test_energy_and_gates_never_leave_a_run_without_its_report(run: Path) -> None:
    config = load_config(run / CONFIG)
    code, _, err = _call("energy", str(run), "--gate", "speck2f.events.accuracy>=float+0.5")
    assert code == 1
    assert "speck2f.events: accuracy: got" in err
    assert report_is_current(run, config)
    assert _call("energy", str(run), "--gate", "speck2f.events.accuracy>=float-1", "-q", "--json")[0] == 0
    code, _, err = _call("fold", str(run), "-q")
    assert code == 0, err
    assert not (run / "report.json").exists(), "its stages are gone, so there is nothing to report"


def test_spikes_that_differ_end_with_a_page_and_exit_code_1(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("6_validate", "7_energy"):
        shutil.rmtree(run / folder)
    for name in ("report.json", "report.html"):
        (run / name).unlink()
    honest = chip_files.compare_runners

    def planted(*arguments: Any, **options: Any) -> Any:
        found = honest(*arguments, **options)
        first = found["speck2f"].comparisons
        wrong = (replace(first[0], mismatches=3), *first[1:])
        return found | {"speck2f": replace(found["speck2f"], comparisons=wrong)}

    monkeypatch.setattr(validate_room, "compare_runners", planted)
    code, out, err = _call("run", "--out", str(run), "--json")
    assert code == 1
    assert "E-MISMATCH" in err
    told = json.loads(out)
    assert told["verdicts"]["spikes"]["word"] == "MISMATCH"
    assert told["findings"][0]["what"].startswith("speck2f: 3 mismatches in")
    page = (run / "report.html").read_text(encoding="utf-8")
    assert page.index("speck2f: 3 mismatches in") < page.index('id="verdicts"'), "it is said first"


def test_without_a_folder_the_run_of_the_same_configuration_is_found(run: Path) -> None:
    config = load_config(run / CONFIG)
    assert same_run(run.parent, config) == run
    open_ones = config.model_copy(
        update={"data": config.data.model_copy(update={"dt_us": None, "downsample": None, "max_count": None})}
    )
    assert same_run(run.parent, open_ones) == run, "what the data decides is no other configuration"
    assert same_run(run.parent, config.model_copy(update={"seed": 1})) is None
    assert same_run(run.parent / "nowhere", config) is None
    (run / "1_train" / ORIGIN).unlink()
    assert same_run(run.parent, config) is None
