# SPDX-License-Identifier: Apache-2.0
"""``spikefold energy --gate``, ``diff`` and ``calibrate`` as a user calls them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from spikefold.energy.budget import load_profile
from spikefold.energy.outputs import read_energy
from spikefold.pipeline import app


def _call(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, list(arguments))
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Path:
    """A copy of the small run, which the test may write into."""
    shutil.copytree(finished_run, tmp_path / "run")
    return tmp_path / "run"


def test_a_gate_decides_the_exit_code(run: Path) -> None:
    found = read_energy(run / "7_energy" / "energy.json")["networks"]["speck2f"]
    spikes = sum(layer["spikes"] for layer in found["counts"]["layers"]) / found["counts"]["clips"]
    assert spikes > 10
    code, _, err = _call("energy", str(run), "--gate", f"speck2f.spikes<{spikes + 1}", "--gate", "uncounted==0")
    assert code == 0, err
    code, _, err = _call("energy", str(run), "--gate", f"speck2f.spikes<{spikes - 1}")
    assert code == 1
    assert "speck2f: spikes" in err
    code, _, err = _call("energy", str(run), "--gate", "spikse<3")
    assert code == 2
    assert "spikes" in err


def test_the_energy_of_a_run_has_every_rule_and_its_sources(run: Path) -> None:
    found = read_energy(run / "7_energy" / "energy.json")
    assert found["profile"]["energy_pj"]["mac"]["where"].startswith("horowitz45-fp32.toml:")
    for name, network in found["networks"].items():
        assert set(network["rules"]) == {"mixed", "chip", "paper", "rate-flops", "ann", "qnn"}, name
        assert network["rules"]["ann"]["ac"] == 0
        layers = network["budget"]["layers"]
        assert sum(layer["ac_per_clip"] for layer in layers) == network["budget"]["ac_per_clip"]
        assert network["uncertainty"]["spikes"]["worst"] >= network["uncertainty"]["spikes"]["mean"] > 0
        assert network["counts"]["coverage"]
    assert (run / "7_energy" / "layers.csv").read_text(encoding="utf-8").count("\n") > len(found["networks"])
    assert "| speck2f |" in (run / "7_energy" / "energy.md").read_text(encoding="utf-8")


def test_a_run_differs_from_itself_in_nothing(run: Path, finished_run: Path) -> None:
    code, out, err = _call("diff", str(finished_run), str(run), "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["paired"]
    assert {network["spikes"]["difference"] for network in found["networks"].values()} == {0}
    assert len(found["networks"]) > 5
    code, out, _ = _call("diff", str(finished_run), str(run))
    assert code == 0
    assert out.startswith("paired")
    shutil.rmtree(run / "7_energy")
    code, _, err = _call("diff", str(finished_run), str(run))
    assert code == 6
    assert "spikefold energy" in err


def test_a_calibration_becomes_a_profile(tmp_path: Path) -> None:
    points = [(0.0, 0.42), (1e6, 0.44), (2e6, 0.46), (5e6, 0.52)]  # 20 pJ an operation above 0.42 mW
    csv = tmp_path / "board.csv"
    csv.write_text("synops_per_s,power_mw\n" + "".join(f"{x},{y}\n" for x, y in points), encoding="utf-8")
    out = tmp_path / "mine.toml"
    code, said, err = _call("calibrate", str(csv), "--out", str(out), "--device", "speck2f no. 7")
    assert code == 0, err
    assert str(out) in said
    assert load_profile(str(out)).energy_pj.ac.amount == pytest.approx(20.0)
    code, _, err = _call("calibrate", str(csv), "--out", str(out), "--device", "x")
    assert code == 2
    assert "would be lost" in err


def test_an_unknown_price_is_told_before_training(program: Any, tmp_path: Path) -> None:
    done = program("run", "--data", "digits", "--out", str(tmp_path / "r"), "--set", "energy_profile=speck",
                   "--set", "data.train=20", "--set", "data.test=10", cwd=tmp_path)  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "calibrate" in done.stderr
    assert not (tmp_path / "r").exists()
