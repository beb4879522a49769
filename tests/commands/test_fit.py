# SPDX-License-Identifier: Apache-2.0
"""``spikefold fit`` as a user calls it: exit codes, JSON, and files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from spikefold.config import load_config
from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Fire, Neuron, Overflow
from spikefold.export.ops import Conv2d
from spikefold.export.passes.quantise import quantise
from spikefold.hardware.loihi.chip import LOIHI2
from spikefold.hardware.loihi.to_netx import write_net
from spikefold.pipeline import app


def _fit(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["fit", *arguments])
    return done.exit_code, done.stdout, done.stderr


def test_the_papers_network_does_not_fit_speck_and_every_rule_says_what_to_do() -> None:
    code, out, _ = _fit("--arch", "a", "--chip", "speck2f", "--json")
    found = json.loads(out)
    assert (code, found["fits"], found["placement"]) == (3, False, {})
    assert all(set(issue) == {"rule", "layer", "used", "allowed", "hint"} for issue in found["violations"])
    assert all(issue["hint"] for issue in found["violations"])
    used = {issue["layer"]: issue["used"] for issue in found["violations"]}
    assert "kernel 2097152" in used["fc4"]
    assert "kernel 262144" in used["conv3"]
    assert used["sn1"] == "leak 0.3"
    code, out, _ = _fit("--arch", "a")
    assert code == 3
    assert "a does not fit speck2f: 7 rules broken" in out


def test_one_that_fits_has_a_placement() -> None:
    code, out, _ = _fit("--arch", "speck-s", "--attention", "asa1", "--json")
    found = json.loads(out)
    assert (code, found["fits"], found["violations"], found["estimate"]) == (0, True, [], False)
    assert len(set(found["placement"].values())) == found["cores"] == 4
    code, out, _ = _fit("--arch", "speck-s")
    assert code == 0
    assert "4 cores on 1 chip (exact)" in out


def test_loihi_counts_cores_and_says_that_it_estimates() -> None:
    code, out, _ = _fit("--arch", "a", "--chip", "loihi2", "--json")
    found = json.loads(out)
    assert (code, found["estimate"], found["chips"]) == (0, True, 2)
    assert sum(layer["cores"] for layer in found["layers"]) == found["cores"] > 100
    assert found["limited_by"]
    assert "estimated" in _fit("--arch", "a", "--chip", "loihi2")[1]


def test_applied_it_writes_a_configuration_that_loads(tmp_path: Path) -> None:
    file = tmp_path / "d.toml"
    code, out, _ = _fit("--arch", "d", "--apply", "--out", str(file))
    assert code == 0
    assert "neuron: lif -> if" in out
    assert f"next: spikefold run --config {file} --data YOUR_RECORDINGS" in out
    config = load_config(file)
    assert (config.model.neuron, config.chips.names) == ("if", ("speck2f",))
    code, _, err = _fit("--arch", "d", "--apply", "--out", str(file))
    assert code == 6
    assert "would be lost" in err


def test_the_change_is_sized_to_the_recordings_sensor(tmp_path: Path) -> None:
    small, large = tmp_path / "small.toml", tmp_path / "large.toml"
    code, out, _ = _fit("--arch", "a", "--sensor", "34x34", "--apply", "--out", str(small))
    assert code == 0
    assert "fits speck2f" in out
    assert "input summed over squares of side: 1 -> 2" in out
    assert load_config(small).data.downsample == 2, "of a DVS128 it were squares of 4, and these halved"
    code, out, _ = _fit("--arch", "a", "--sensor", "260X346", "--apply", "--out", str(large))
    assert code == 0
    found = load_config(large)
    assert found.data.downsample is not None
    assert found.data.downsample == 11, "346 pixels are 32 columns, of 24 rows, which fit without halving"
    code, out, _ = _fit("--arch", "speck-s", "--sensor", "34x34")
    assert (code, "speck-s fits speck2f" in out) == (0, True)


def test_a_net_file_is_asked_in_its_own_integers(tmp_path: Path) -> None:
    one = Neuron(np.array(1.0), fire=Fire.GE, overflow=Overflow.FORBID)
    weight = np.random.default_rng(0).normal(0.1, 0.2, (4, 2, 3, 3))
    real = Network(InputSpec((2, 8, 8), 1000, 4, 1), (Layer("c", Conv2d(weight)), Layer("n", one)), 4)
    write_net(quantise(real, LOIHI2.numbers)[0], tmp_path / "n.net")
    code, out, _ = _fit(f"net:{tmp_path / 'n.net'}", "--chip", "loihi2", "--json")
    assert (code, json.loads(out)["cores"]) == (0, 1)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 2, "name one network"),
        (("x", "--arch", "a"), 2, "name one network"),
        (("--arch", "aa"), 2, "no architecture"),
        (("--arch", "a", "--chip", "speck3"), 2, "unknown chip"),
        (("nowhere",), 6, "no run there"),
        (("x.nir", "--apply"), 2, "no data to fine-tune"),
        (("--arch", "a", "--sensor", "34"), 2, "rows x columns in pixels, as 34x34"),
        (("runs/x", "--sensor", "34x34"), 2, "--sensor goes with --arch"),
    ],
)
def test_what_cannot_be_asked(arguments: Any, code: int, said: str) -> None:
    got, out, err = _fit(*arguments)
    assert (got, out) == (code, "")
    assert said in err
