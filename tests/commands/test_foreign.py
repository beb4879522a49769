# SPDX-License-Identifier: Apache-2.0
"""Verbs on networks that were not trained here: a function of the user's, files, and what is not said of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from spikefold.pipeline import app
from spikefold.train.data.events import Recording, pack_events, save_packed
from tests.hardware.loihi.netx_cases import slayer_layers, write

MODULE = """
import torch
from spikingjelly.activation_based import layer, neuron
from torch import nn
from spikefold.export.network import InputSpec

def net(several=False):
    torch.manual_seed(0)
    module = nn.Sequential(layer.Conv2d(2, 4, 3, stride=2, bias=False), neuron.IFNode(v_threshold=0.4),
                           layer.MaxPool2d(2), layer.Flatten(), layer.Linear(36, 4, bias=False),
                           neuron.IFNode(v_threshold=0.1))
    return module, InputSpec((2, 14, 14), 1000, 5)

def bare():
    return net()[0]

def soft():
    parts = net()[0]
    for part in parts:
        if isinstance(part, neuron.IFNode):
            part.v_reset = None
    return parts

def fails():
    return [][3]

def text():
    return "a network"
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    rng = np.random.default_rng(0)
    (tmp_path / "doorway.py").write_text(MODULE, encoding="utf-8")
    (tmp_path / "data").mkdir()
    for split in ("train", "test"):
        made = []
        for index in range(4):
            t = np.sort(rng.integers(0, 50_000, 900))
            y, x, p = (rng.integers(0, limit, 900) for limit in (14, 14, 2))
            made.append(Recording(pack_events(t, x, y, p), (14, 14), index, f"r{index}"))
        save_packed(tmp_path / "data" / f"{split}.npz", made)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    sys.modules.pop("doorway", None)


def _run(*arguments: str) -> Any:
    return CliRunner().invoke(app, [*arguments])


SHAPED = ("--from", "torch:doorway:net")
BARE = ("--from", "torch:doorway:bare", "--input-shape", "2,14,14", "--steps", "5")


def test_a_function_is_counted_inspected_and_fitted(place: Path) -> None:
    told = _run("inspect", *SHAPED, "--json")
    assert told.exit_code == 0, told.output
    assert [layer["kind"] for layer in json.loads(told.stdout)["layers"]] == [
        "Conv2d", "Neuron", "MaxPool2d", "Dense", "Neuron"
    ]  # fmt: skip
    for chip in ("speck2f", "loihi2"):
        found = _run("fit", *SHAPED, "--chip", chip)
        assert found.exit_code == 0, found.output
    priced = _run("energy", *BARE, "--data", "npz:data", "--out", "energy.json", "--gate", "speck2f.synops>1000")
    assert priced.exit_code == 0, priced.output
    content = json.loads((place / "energy.json").read_text(encoding="utf-8"))
    assert set(content["networks"]) == {"folded", "speck2f", "loihi2"}
    for name in ("speck2f", "loihi2"):
        network = content["networks"][name]
        assert network["budget"]["energy_pj_per_clip"] > 0
        assert network["chip"]
        assert sum(layer["spikes"] for layer in network["counts"]["layers"]) > 100
    refused = _run("energy", *BARE, "--data", "npz:data", "--gate", "folded.synops<1")
    assert (refused.exit_code, "1 gate does not hold" in refused.output) == (1, True)


@pytest.mark.lava
def test_what_one_chip_refuses_the_other_gets(place: Path) -> None:
    soft = ("--from", "torch:doorway:soft", "--input-shape", "2,14,14", "--steps", "5")
    done = _run("export", *soft, "--data", "npz:data", "--out", "chips")
    assert done.exit_code == 3
    assert "loihi2: 1: reset" in done.output
    assert "written: speck2f" in done.output
    content = json.loads((place / "chips" / "export.json").read_text(encoding="utf-8"))
    assert list(content["chips"]) == ["speck2f"]
    assert content["parity"]["speck2f"]["mismatches"] == 0
    assert content["parity"]["speck2f"]["spikes"] > 100
    assert content["source"] == {"function": "doorway:soft"}
    compared = _run("validate", *soft, "--chip", "speck2f", "--data", "npz:data")
    assert compared.exit_code == 0, compared.output
    assert "0 mismatches in" in compared.output


@pytest.mark.usefixtures("place")
def test_what_cannot_be_meant_is_a_configuration_error() -> None:
    for said, arguments in (
        ("the function fails: IndexError", ("export", "--from", "torch:doorway:fails", "--out", "x")),
        ("doorway.py, line", ("export", "--from", "torch:doorway:fails", "--out", "x")),
        ("it returns str", ("inspect", "--from", "torch:doorway:text")),
        ("No module named 'nowhere'", ("inspect", "--from", "torch:nowhere:net")),
        ("--input-shape C,H,W", ("inspect", "--from", "torch:doorway:bare")),
        ("is no shape", ("inspect", "--from", "torch:doorway:bare", "--input-shape", "2,14")),
        ("--from pickle:x", ("export", "--from", "pickle:x", "--out", "y")),
        ("says nothing of this source", ("export", *SHAPED, "--convention", "sinabs", "--out", "y")),
        ("nothing to compare it on", ("validate", *SHAPED)),
        ("operations follow from spikes", ("energy", *SHAPED)),
        ("name one network", ("inspect", "--arch", "a", *SHAPED)),
        ("cannot be changed here", ("fit", *SHAPED, "--apply")),
        ("no folder for the files", ("export", *SHAPED)),
    ):
        done = _run(*arguments)
        assert done.exit_code == 2, (arguments, done.output)
        assert said in done.output, (said, done.output)


def test_a_net_file_takes_its_own_chip_alone(place: Path) -> None:
    write(place / "a.net", slayer_layers())
    done = _run("export", "a.net", "--chip", "speck2f", "--out", "chips")
    assert (done.exit_code, "holds the integers of loihi2" in done.output) == (2, True)
    told = _run("inspect", "a.net")
    assert told.exit_code == 0, told.output
    assert "fires > " in told.output
