# SPDX-License-Identifier: Apache-2.0
"""The site's list of pages and its reference name what is there; everything public has a docstring to show."""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from pathlib import Path

import pytest

import spikefold as sf

ROOT = Path(__file__).parents[2]
NAMED = [
    name
    for page in sorted((ROOT / "docs" / "reference").glob("*.md"))
    for name in re.findall(r"^::: ([\w.]+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
]


def test_the_list_of_pages_is_that_of_the_folder() -> None:
    listed = re.findall(r": ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    there = sorted(path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md"))
    assert sorted(listed) == there


@pytest.mark.parametrize("name", NAMED)
def test_what_the_reference_names_is_there_and_documented(name: str) -> None:
    try:
        found: object = import_module(name)
    except ModuleNotFoundError:
        module, _, attribute = name.rpartition(".")
        found = getattr(import_module(module), attribute)
    assert inspect.getdoc(found)


def test_every_public_function_says_shapes_and_errors() -> None:
    for function in (sf.load, sf.deploy, sf.profile):
        text = inspect.getdoc(function) or ""
        assert "Args:" in text
        assert "Raises:" in text
    assert "(T, N, C, H, W)" in (inspect.getdoc(sf.deploy) or "")
    for named in (sf.Deployed, sf.Net, sf.PricedProfile):
        for method, value in vars(named).items():
            if not method.startswith("_") and callable(value):
                assert inspect.getdoc(value), f"{named.__name__}.{method}"
