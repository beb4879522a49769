# SPDX-License-Identifier: Apache-2.0
"""A chip that nobody built goes the whole way, from a package of its own: not a line of spikefold knows its name."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikefold.export.io import load_network
from spikefold.export.neuron import Neuron
from spikefold.export.ops import Conv2d, Dense
from spikefold.hardware.simulators.trace import load_trace
from tests.conformance.plugged import MADEUP
from tests.conftest import SMALL, Program

NAMES = ("madeup", "madeup-bare")


@pytest.fixture(scope="module")
def madeup(program: Program) -> Iterator[Program]:
    """Runs the command line where the made-up chip's package is installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(MADEUP), os.environ.get("PYTHONPATH")))))
        yield program


@pytest.fixture(scope="module")
def run(madeup: Program, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("madeup") / "run"
    sets = [
        part
        for key in (*SMALL, "train.baseline=false", f"chips.names={json.dumps(NAMES)}")
        for part in ("--set", key)
    ]
    done = madeup("run", "--data", "digits", "--out", str(folder), *sets)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def report(run: Path) -> dict[str, Any]:
    return json.loads((run / "report.json").read_text(encoding="utf-8"))


def test_without_its_package_nobody_knows_it(program: Program) -> None:
    done = program("chips")
    assert done.returncode == 0
    assert "madeup" not in done.stdout


def test_every_spike_is_right(report: dict[str, Any]) -> None:
    parity = report["parity"]["madeup"]
    assert parity["mismatches"] == 0
    assert parity["runners"] == ["reference", "torch", "made-up simulator"]
    assert [c["clips"] for c in parity["comparisons"]] == [6, 2]
    assert all(c["spikes"] > 300 and c["mismatches"] == 0 for c in parity["comparisons"])
    assert parity["simulated"]["spikes"] > 300
    bare = report["parity"]["madeup-bare"]
    assert (bare["runners"], bare["mismatches"], bare["simulated"]) == (["reference", "torch"], 0, None)
    assert bare["spikes"] > 1000


def test_its_integers_are_unlike_those_of_the_built_in_chips(run: Path, report: dict[str, Any]) -> None:
    network = load_network(run / "4_export" / "madeup" / "network")
    weights = [layer.op.weight for layer in network if isinstance(layer.op, Conv2d | Dense)]
    assert all(layer.op.bias is None for layer in network if isinstance(layer.op, Conv2d | Dense))
    assert min(weight.min() for weight in weights) >= -8
    assert max(weight.max() for weight in weights) <= 7
    assert all(isinstance(la.op, Neuron) and la.op.max_spikes == 3 and la.op.leak is None for la in network.neurons)
    trace = load_trace(run / "5_simulate" / "trace.madeup.npz")
    assert max(layer.raster.max() for layer in trace.layers.values()) in (2, 3)
    # what it was trained with and the chip lacks was replaced, and that is said
    replaced = {entry["layer"]: entry["what"] for entry in report["replaced_neurons"]["madeup"]}
    assert len(replaced) == 3
    assert all("leak -> none" in what and "spikes a step -> up to 3" in what for what in replaced.values())
    assert sum("bias -> none" in what for what in replaced.values()) >= 2
    (exported,) = (run / "4_export" / "madeup").glob("madeup.json")
    assert len(json.loads(exported.read_text(encoding="utf-8"))["layers"]) == 3


def test_it_is_in_the_report_like_any_other(run: Path, report: dict[str, Any]) -> None:
    ladder = {step["name"]: step for step in report["accuracy_ladder"]}
    assert {"madeup.target", "madeup.adapted", "madeup", "madeup.simulated", "madeup-bare"} <= set(ladder)
    assert "madeup-bare.simulated" not in ladder
    assert ladder["madeup"]["what"] == "4-bit integers of Made-up M4, clocked simulation"
    assert ladder["madeup"]["accuracy"] > 0.15  # ten classes
    assert report["chips"]["madeup"]["notes"] == ["nobody built this chip"]
    assert "madeup/madeup.json" in report["artefacts"]
    assert report["environment"]["madeup"] == "on the desk"
    assert report["adapted"]["madeup"]["epochs"] == 2
    assert {line["what"] for line in report["not_run"]} == {
        "made-up silicon",
        "vendor's simulator of Made-up M4 without its tools",
    }
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "Made-up M4" in page
    assert "made-up simulator" in page


def test_its_energy_is_told_or_what_is_missing(report: dict[str, Any]) -> None:
    budgets = {name: report["energy"]["networks"][name]["chip"] for name in NAMES}
    known = budgets["madeup"]["numbers"]
    assert known["chip_energy_uj"] == pytest.approx(known["static_uj"] + known["event_energy_uj"])
    assert known["event_energy_uj"] > 0
    assert known["step_time_us"] > 0.1
    assert set(budgets["madeup"]["unknown"]) == {name for name, value in known.items() if value is None}
    bare = budgets["madeup-bare"]
    assert bare["numbers"]["chip_energy_uj"] is None
    assert "nobody published" in bare["unknown"]["chip_energy_uj"]


def test_each_verb_knows_it(madeup: Program, run: Path, tmp_path: Path) -> None:
    def answered(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = madeup(*arguments)
        assert done.returncode == code, done.stderr
        return done

    assert "Made-up M4" in answered("chips").stdout
    assert "at most 3" in answered("chips", "madeup").stdout
    fitting = json.loads(answered("fit", str(run), "--chip", "madeup", "--json").stdout)
    assert (fitting["fits"], fitting["chips"]) == (True, 1)
    assert fitting["cores"] == sum(layer["cores"] for layer in fitting["layers"]) > 3
    refused = json.loads(answered("fit", "--arch", "sew18", "--chip", "madeup", "--json", code=3).stdout)
    assert {"few layers", "chain"} & {rule["rule"].split(" ")[0] for rule in refused["violations"]} or len(
        refused["violations"]
    ) > 5


def test_its_board_runs_the_exported_file(madeup: Program, run: Path) -> None:
    done = madeup("validate", str(run), "--on", "madeup-desk:3", "--clips", "3", "--repeats", "2")
    assert done.returncode == 4
    assert "NOT RUN on madeup-desk:3: there is one desk only" in done.stderr
    done = madeup("validate", str(run), "--on", "madeup-desk:0", "--clips", "3", "--repeats", "2")
    assert done.returncode == 0, done.stderr
    board = json.loads((run / "6_validate" / "board.json").read_text(encoding="utf-8"))
    assert (board["target"], board["describe"]) == ("madeup-desk:0", "madeup-desk:0 agrees")
    assert board["spikes"] > 300
    assert np.all(np.array(board["synops"]) > 0)
    done = madeup("report", str(run))
    assert done.returncode == 0, done.stderr
    told = json.loads((run / "report.json").read_text(encoding="utf-8"))
    assert told["board"]["target"] == "madeup-desk:0"
    assert "made-up silicon" not in {line["what"] for line in told["not_run"]}
