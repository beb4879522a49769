# SPDX-License-Identifier: Apache-2.0
"""A ``.nir`` file on the command line: recordings cut for it, the commands of its page, and what is refused."""

from __future__ import annotations

import json
import shlex
from itertools import pairwise
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
from typer.testing import CliRunner

from spikefold.errors import DataError
from spikefold.export.nir.options import NirOptions
from spikefold.pipeline import app
from spikefold.stages.exchange.export_nir import clips_of
from tests.silent import Silent
from tests.stages.exchange.sinabs_file import SIZE, STEPS, recordings

ZERO = NirOptions(convention="sinabs", reset="zero", max_spikes=1, v_min="none", steps=STEPS)


def test_recordings_are_down_sampled_to_the_input_of_the_file(files: Any, tmp_path: Path) -> None:
    _, path = files(single=True, pool=False)
    source = f"npz:{recordings(tmp_path / 'large', (67, 68))}"
    options, made, calibration = clips_of(source, path, ZERO, Silent())
    assert made.frames.shape == (STEPS, 4, *SIZE)
    assert calibration.shape == (STEPS, 6, *SIZE)
    assert 0 < calibration.sum() <= 6 * 3000
    assert options.dt_us is not None
    assert 49_000 < options.dt_us <= 50_001
    assert options.max_count is not None
    assert made.frames.max() <= options.max_count
    chosen, made, _ = clips_of(source, path, ZERO.model_copy(update={"dt_us": 1000, "max_count": 2}), Silent())
    assert (chosen.dt_us, chosen.max_count) == (1000, 2)
    assert made.frames.sum() < 4 * 3000 / 10
    for name, sensor in (("wide", (68, 34)), ("small", (33, 34))):
        with pytest.raises(DataError, match="do not give the network's input") as caught:
            clips_of(f"npz:{recordings(tmp_path / name, sensor)}", path, ZERO, Silent())
        assert f"{sensor[1]}x{sensor[0]} pixels" in str(caught.value)


def _commands(text: str, *words: str) -> list[list[str]]:
    """The commands of a page that hold all these words, as a shell reads them."""
    lines = [line.partition("  #")[0] for line in text.replace("\\\n", " ").splitlines()]
    return [
        shlex.split(line) for line in lines if line.startswith("spikefold") and all(word in line for word in words)
    ]


@pytest.mark.lava
def test_the_commands_of_its_page_run_as_printed(files: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, path = files(single=True, pool=False)
    (tmp_path / "sinabs.nir").write_bytes(path.read_bytes())
    recordings(tmp_path / "recordings", (34, 34))
    monkeypatch.chdir(tmp_path)
    text = (Path(__file__).parents[3] / "docs" / "from-nir.md").read_text(encoding="utf-8")
    exported, counted = _commands(text, "export sinabs.nir"), _commands(text, "energy sinabs.nir")
    assert (len(exported), len(counted)) == (1, 1)
    done = CliRunner().invoke(app, exported[0][1:], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "speck2f  reference = torch = sinabs discretised: 0 mismatches" in done.output
    assert "loihi2  reference = torch = lava fixed-point: 0 mismatches" in done.output
    parity = json.loads((tmp_path / "chips" / "export.json").read_text(encoding="utf-8"))["parity"]
    assert all(parity[chip]["spikes"] > 1000 for chip in ("speck2f", "loihi2"))
    done = CliRunner().invoke(app, counted[0][1:], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "speck2f  0." in done.output
    assert "loihi2 does not take it" in done.output


def test_the_command_exports_a_file(files: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*arguments: str) -> Any:
        return CliRunner().invoke(app, [*arguments])

    _, path = files(single=True, pool=False)
    monkeypatch.chdir(tmp_path)
    common = ("export", str(path), "--chip", "speck2f", "--convention", "sinabs", "--steps", "6")
    zero = ("--nir", "reset=zero", "--nir", "max_spikes=1", "--nir", "v_min=none")
    done = run(*common, *zero, "--out", "bare", "--dt-us", "700")
    assert done.exit_code == 0, done.output
    assert "NOT RUN  parity: no labelled recordings were given (--data)" in done.output

    bad = tmp_path / "bad.nir"
    bad.write_bytes(path.read_bytes()[:5000])
    before = sorted(entry.name for entry in tmp_path.iterdir())
    for code, said, arguments in (
        (2, "--out", common),
        (2, "Did you mean 'reset'?", (*common, "--nir", "resets=zero", "--out", "x")),
        (2, "go with FILE.nir or FILE.net", ("export", str(tmp_path), "--chip", "speck2f")),
        (3, "loihi2: 1: reset", ("export", str(path), "--chip", "loihi2", *common[4:], "--out", "x")),
        (6, "cannot read the NIR graph", ("export", str(bad), "--out", "x")),
        (6, "no run there", ("export", str(tmp_path))),
    ):
        done = run(*arguments)
        assert done.exit_code == code, done.output
        assert said in done.output
        assert "Traceback" not in done.output
    assert sorted(entry.name for entry in tmp_path.iterdir()) == before


def _with_currents(path: Path) -> None:
    """Two layers with biases and currents that last, in the units of snnTorch's ``Synaptic``."""
    rng = np.random.default_rng(0)

    def neurons() -> nir.CubaLIF:
        one, zero = np.float32(1), np.float32(0)
        return nir.CubaLIF(
            tau_syn=2e-4 * one, tau_mem=1e-3 * one, r=10 * one, v_leak=zero, v_threshold=one, w_in=2 * one
        )

    nodes: dict[str, Any] = {
        "in": nir.Input(np.array([72])),
        "fc1": nir.Affine(rng.normal(0.1, 0.3, (16, 72)), rng.uniform(-0.2, 0.3, 16)),
        "lif1": neurons(),
        "fc2": nir.Affine(rng.normal(0.1, 0.4, (4, 16)), rng.uniform(-0.2, 0.3, 4)),
        "lif2": neurons(),
        "out": nir.Output(np.array([4])),
    }
    nir.write(str(path), nir.NIRGraph(nodes, list(pairwise(nodes))))


@pytest.mark.lava
def test_neurons_with_currents_and_biases_go_to_loihi_and_speck_says_why_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _with_currents(Path("cuba.nir"))
    recordings(tmp_path / "data", (6, 6))
    shaped = ("--input-shape", "2,6,6", "--steps", "6", "--nir", "reset=zero", "--nir", "reset_delay=false")
    done = CliRunner().invoke(app, ["export", "cuba.nir", *shaped, "--data", "npz:data", "--out", "chips"])
    assert done.exit_code == 3, done.output
    for said in (
        "convention snntorch (told by",
        "the last 1 inputs of network.net are on in every step",
        "speck2f: lif1: leak: got keeps 0.9 of the state a step",
        "speck2f: lif2: synaptic current: got keeps 0.5 of it a step",
    ):
        assert said in done.output
    parity = json.loads(Path("chips/export.json").read_text(encoding="utf-8"))["parity"]["loihi2"]
    assert parity["runners"] == ["reference", "torch", "lava fixed-point"]
    assert parity["mismatches"] == 0
    assert parity["spikes"] > 100
    fits = CliRunner().invoke(app, ["fit", "cuba.nir", *shaped, "--chip", "loihi2"])
    assert fits.exit_code == 0, fits.output
