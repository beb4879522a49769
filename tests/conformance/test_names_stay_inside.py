# SPDX-License-Identifier: Apache-2.0
"""A chip's name as a literal stands in its room and in the default only; who enters a room: `test_layout`."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import spikefold
from spikefold.hardware.registry import chips

ROOT = Path(spikefold.__file__).parent
ROOMS = ("hardware/speck", "hardware/loihi")
DEFAULT = "config_sections.py"
SKIPPED = ("tests", "benchmarks", "build", "runs")


def _sources() -> Iterator[tuple[str, ast.Module]]:
    """Every module outside the rooms, by its path."""
    for path in sorted(ROOT.rglob("*.py")):
        place = path.relative_to(ROOT)
        if place.parts[0] in SKIPPED or place.parts[0].startswith(".") or place.as_posix().startswith(ROOMS):
            continue
        yield place.as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def _literals(tree: ast.Module, names: set[str]) -> Iterator[int]:
    """Lines on which one of the names stands as a whole string: compared, looked up or given."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node.value in names:
            yield node.lineno


def test_no_name_of_a_chip_stands_outside_its_room() -> None:
    names = {name for name in chips() if "madeup" not in name}
    families = {room.rpartition("/")[2] for room in ROOMS}
    boards = {board.name for chip in chips().values() for board in chip.boards}
    assert len(names) == 5
    found = {
        place: lines
        for place, tree in _sources()
        if place != DEFAULT and (lines := list(_literals(tree, names | families | boards)))
    }
    assert found == {}


def test_the_check_sees_a_name() -> None:
    names = set(chips())
    source = 'if chip == "loihi2" or chip.startswith("speck2f"):\n    pass\n'
    assert len(list(_literals(ast.parse(source), names))) == 2
    default = dict(_sources())[DEFAULT]
    assert list(_literals(default, names))


def test_the_registry_loads_no_simulator_and_no_vendors_package() -> None:
    code = (
        "import sys\nfrom spikefold.hardware.registry import chips\nassert len(chips()) >= 5\n"
        "heavy = {'torch', 'sinabs', 'samna', 'lava', 'h5py', 'numba', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd="/", check=False)
    assert done.returncode == 0, done.stderr


def test_no_room_imports_another() -> None:
    checked = 0
    for room in ROOMS:
        others = tuple("spikefold." + other.replace("/", ".") for other in ROOMS if other != room)
        for path in (ROOT / room).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            checked += 1
            assert not any(other in text for other in others), path
    assert checked > 40
