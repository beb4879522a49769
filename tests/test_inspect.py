# SPDX-License-Identifier: Apache-2.0
"""``spikefold inspect`` prints the modules that would be trained, and their parameters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from spikefold.stages.inspect import inspect
from spikefold.train.architectures import architecture

PUBLISHED = [
    # the paper's Table 3 and the published code, see ../shared/facts/asa_snn.md 1
    ("a", "none", 11, 2_323_531), ("a", "none", 20, 2_325_844), ("a", "sa", 11, 2_323_531 + 294),
    ("a", "tcsa", 11, 2_323_531 + 24_126), ("a", "asa1", 11, 2_323_531 + 10_914), ("a", "asa2", 11, 2_323_531 + 114),
    ("b", "none", 11, 1_698_933), ("d", "none", 20, 548_980),
]  # fmt: skip


@pytest.mark.parametrize(("arch", "attention", "classes", "parameters"), PUBLISHED)
def test_parameters_of_the_paper(arch: str, attention: str, classes: int, parameters: int) -> None:
    found = inspect(architecture(arch, classes, attention))
    assert found["parameters"] == parameters == sum(layer["parameters"] for layer in found["layers"])
    assert (found["attention"], found["classes"]) == (attention, classes)
    assert len([layer for layer in found["layers"] if layer["name"].startswith("conv")]) in (3, 5)
    gates = [layer for layer in found["layers"] if layer["kind"] in ("ASA", "SA", "TCSA")]
    assert len(gates) == (0 if attention == "none" else 3)


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
