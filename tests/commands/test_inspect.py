# SPDX-License-Identifier: Apache-2.0
"""``spikefold inspect`` prints the modules that would be trained, and their parameters."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from spikefold.stages.verbs.layer_table import layer_table as inspect
from spikefold.train.models.architectures import architecture

PUBLISHED = [
    # the paper's Table 3 and the published code, see ../shared/facts/asa_snn.md 1
    ("a", "none", 11, 2_323_531),
    ("a", "none", 20, 2_325_844),
    ("a", "sa", 11, 2_323_531 + 294),
    ("a", "tcsa", 11, 2_323_531 + 24_126),
    ("a", "asa1", 11, 2_323_531 + 10_914),
    ("a", "asa2", 11, 2_323_531 + 114),
    ("b", "none", 11, 1_698_933),
    ("d", "none", 20, 548_980),
    ("sew18", "none", 300, 11_330_412),
]


@pytest.mark.parametrize(("arch", "attention", "classes", "parameters"), PUBLISHED)
def test_parameters_of_the_paper(arch: str, attention: str, classes: int, parameters: int) -> None:
    found = inspect(architecture(arch, classes, attention))
    assert found["parameters"] == parameters == sum(layer["parameters"] for layer in found["layers"])
    assert (found["attention"], found["classes"]) == (attention, classes)
    assert len([layer for layer in found["layers"] if layer["kind"] == "Conv2d"]) in (3, 5, 20)
    assert len([layer for layer in found["layers"] if layer["kind"].endswith("Node") or "LIF" in layer["kind"]]) > 4
    gates = [layer for layer in found["layers"] if layer["kind"] in ("ASA", "SA", "TCSA")]
    assert len(gates) == (0 if attention == "none" else 3)


def test_layers_inside_blocks_are_named_by_their_branch_and_stand_in_the_order_in_which_they_run() -> None:
    found = inspect(architecture("sew18", attention="asa1"))
    assert found["parameters"] == sum(layer["parameters"] for layer in found["layers"])
    by_name = {layer["name"]: layer for layer in found["layers"]}
    names = list(by_name)
    assert names[:8] == [
        "conv1",
        "bn1",
        "sn1",
        "pool1",
        *(f"block1a.main.{part}1" for part in ("conv", "bn", "asa", "sn")),
    ]
    assert names[-4:] == ["mean", "flatten", "fc", "out"]
    assert by_name["block1a.main.asa1"] == {
        "name": "block1a.main.asa1",
        "kind": "ASA",
        "shape": [64, 56, 56],
        "parameters": 2 + 8 * 8 + 36,
    }
    assert by_name["block4a.shortcut.conv"]["shape"] == [512, 7, 7]
    polarities = replace(architecture("sew18"), shape=(2, 128, 128))
    assert inspect(polarities)["parameters"] == 11_327_276


def test_the_command_prints_the_same_as_json(program: Any, tmp_path: Path) -> None:
    done = program("inspect", "--arch", "a", "--attention", "asa1", "--classes", "20", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found == inspect(architecture("a", 20, "asa1"))
    assert found["parameters"] == 2_325_844 + 10_914


def test_a_table_for_people_and_an_unknown_name(program: Any, tmp_path: Path) -> None:
    done = program("inspect", "--arch", "speck-s", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "47,776" in done.stdout
    assert "conv1" in done.stdout
    wrong = program("inspect", "--arch", "spekc-s", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "speck-s" in wrong.stderr
