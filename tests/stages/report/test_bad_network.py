# SPDX-License-Identifier: Apache-2.0
"""A run whose chip has a bad network: page and terminal say so first, and a gate decides the exit code."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from spikefold.export.io import load_network, save_network
from spikefold.export.ops import Dense
from spikefold.files import write_text
from spikefold.pipeline import app
from spikefold.session import CONFIG


def _call(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, list(arguments))
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture(scope="module")
def bad(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small run for one chip, whose network tells every class for the next one; all stages behind it done."""
    run = tmp_path_factory.mktemp("bad") / "run"
    shutil.copytree(finished_run, run)
    text = (run / CONFIG).read_text(encoding="utf-8")
    write_text(run / CONFIG, text.replace('names = ["speck2f", "loihi2"]', 'names = ["loihi2"]'))
    path = run / "3_adapt" / "loihi2" / "adapted"
    network = load_network(path)
    place = max(index for index, layer in enumerate(network.layers) if isinstance(layer.op, Dense))
    layers, output = list(network.layers), network.layers[place].op
    assert isinstance(output, Dense)
    voters = len(output.weight) // network.classes
    bias = None if output.bias is None else output.bias.copy()
    weight = output.weight.copy()
    for which in (weight, bias):
        if which is not None:
            which[:] = which.take(range(-voters, len(which) - voters), axis=0, mode="wrap")
    layers[place] = replace(layers[place], op=replace(output, weight=weight, bias=bias))
    save_network(network.rewritten(layers, "planted"), path)
    for verb in ("export", "simulate", "validate", "energy"):
        code, _, err = _call(verb, str(run), "-q")
        assert code == 0, err
    return run


def test_page_and_terminal_say_it_first(bad: Path) -> None:
    code, out, err = _call("report", str(bad))
    assert code == 0, err
    report = json.loads((bad / "report.json").read_text(encoding="utf-8"))
    trained, chip = report["accuracy"]["float"], report["accuracy"]["loihi2"]
    assert chip < trained - 0.2
    assert report["verdicts"]["accuracy"]["word"] == "loses accuracy"
    against = report["on_chip"]["loihi2"]["float"]
    assert against["paired"]
    assert against["difference"] == pytest.approx(chip - trained)
    said = f"loihi2 loses accuracy: {chip:.3f} in clocked steps, {chip - trained:+.3f} to float's {trained:.3f}"
    first = [line for line in out.splitlines() if line.lstrip().startswith("!!")]
    assert any(said in line for line in first)
    assert out.splitlines()[: len(first)] == first
    page = (bad / "report.html").read_text(encoding="utf-8").replace("&#39;", "'")
    assert page.index('class="shout"') < page.index(said) < page.index("<nav")
    assert "adaptation made it worse: loihi2.adapted" in page[: page.index("<nav")]


def test_a_gate_relative_to_the_float_network_sets_the_exit_code(bad: Path) -> None:
    code, _, err = _call("energy", str(bad), "-q", "--gate", "loihi2.accuracy>=float-0.01")
    assert code == 1
    assert "gate 'loihi2.accuracy>=float-0.01'" in err
    assert (bad / "report.html").is_file()
    assert _call("energy", str(bad), "-q", "--gate", "loihi2.accuracy>=float-1")[0] == 0


def test_the_vendors_simulator_says_how_many_clips_and_classes_it_saw(bad: Path) -> None:
    report = json.loads((bad / "report.json").read_text(encoding="utf-8"))
    simulated = report["parity"]["loihi2"]["simulated"]
    assert (simulated["clips"], simulated["classes"]) == (2, 2)
    (line,) = [step for step in report["accuracy_ladder"] if step["name"] == "loihi2.simulated"]
    assert line["what"] == "lava fixed-point, on 2 clips of 2 classes, drawn over all"
