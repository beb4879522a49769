# SPDX-License-Identifier: Apache-2.0
"""The notebooks of ``examples/`` run from top to bottom; cells are executed here, without a server of notebooks."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


def _shown(cell: str, names: dict[str, Any]) -> object:
    """Run a cell as a notebook does: the value of a last expression is what is shown."""
    tree = ast.parse(cell)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "<cell>", "exec"), names)  # noqa: S102  the notebooks are ours
    if not isinstance(last, ast.Expr):
        return None
    return eval(compile(ast.Expression(last.value), "<cell>", "eval"), names)  # noqa: S307


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_runs_and_shows_tables(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4
    names: dict[str, Any] = {"__name__": "__main__"}
    tables = 0
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [], "outputs are not kept: they would grow old"
            shown = _shown("".join(cell["source"]), names)
            if shown is not None and hasattr(shown, "_repr_html_"):
                tables += shown._repr_html_().count("<table>")
    assert tables >= 1


def test_there_are_two() -> None:
    assert [path.name for path in NOTEBOOKS] == ["deploy.ipynb", "energy.ipynb"]
