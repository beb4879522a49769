# SPDX-License-Identifier: Apache-2.0
"""Every dependency has a bound, and the pinned versions lie within them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

from tests.versions import lowest

ROOT = Path(__file__).parents[1]


def test_each_dependency_has_a_bound_and_its_pin_keeps_it() -> None:
    declared = [
        Requirement(text)
        for text in tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    ]
    pins = dict(
        line.lower().split("==")
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").split()
        if "==" in line
    )
    assert len(declared) > 15
    for requirement in declared:
        assert requirement.specifier, requirement.name
        pinned = pins[requirement.name.lower()]
        assert requirement.specifier.contains(pinned), f"{requirement} and {pinned}"


def test_the_lowest_versions_are_those_declared() -> None:
    assert list(lowest(["torch>=2.6", "nir<=1.0.4", "numpy>=2,<3"])) == ["torch==2.6", "numpy==2"]
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert len(re.findall(r'"[a-z0-9]+>=', text)) > 15
