# SPDX-License-Identifier: Apache-2.0
"""The house keeps its walls: who imports whom, what the wheel holds, what ``--help`` loads."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import zipfile
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from spikefold.hardware.registry import chips

ROOT = Path(__file__).parents[1]
SOURCES = sorted(
    path
    for path in ROOT.rglob("*.py")
    if not any(
        part.startswith(".") or part in ("tests", "benchmarks", "build", "runs")
        for part in path.relative_to(ROOT).parts
    )
)
# A module may import from its own floor and from those below it. The floor of a room is that of its longest prefix.
FLOORS = (
    ("compiled", "errors", "event_dtype", "files", "npz", "toml", "visible"),
    ("config", "config_sections", "report_style", "pages", "stage_table"),
    ("export",),
    ("hardware.simulators", "hardware.chip", "hardware.board", "hardware.event_engine", "hardware.core_work"),
    ("hardware.speck", "hardware.loihi"),
    ("hardware",),
    ("train",),
    ("session", "provenance"),
    ("energy",),
    ("stages",),
    ("commands", "api"),
    ("pipeline",),
)
ENTERS = (
    "hardware.registry",
    "stages.silicon",  # the stage file of chips that were measured: published points name the chip
)
"""Who may import from a chip's room, besides the room itself."""
CHIP_ROOMS = ("hardware.speck", "hardware.loihi")
MODULES_IN_A_FOLDER = 15
CROWDED = {"export/passes": "a pass is one file with one function, and there are as many as there are exact rewrites"}
"""Folders that may hold more modules flat, each with its reason."""
MOST_CROWDED = 2
ONLY_IN = {
    "torch": (
        "train/",
        "api/loading.py",  # the type of what may be given, and no more
        "api/recordings.py",
        "stages/verbs/layer_table.py",
        "stages/verbs/installation.py",
        "energy/live/",
        "export/from_torch.py",
        "export/pytorch/",
        "hardware/simulators/clocked.py",
        "hardware/speck/lowering/sinabs.py",
        "hardware/speck/lowering/sinabs_runner.py",
    ),
    "spikingjelly": ("train/", "stages/verbs/layer_table.py", "export/from_torch.py"),
    "sinabs": ("hardware/speck/lowering/sinabs.py",),
    "samna": ("hardware/speck/board/device.py",),
    "lava": ("hardware/loihi/lava/worker.py",),
    # from_nir needs no `nir`: it reads the file itself, see export/nir/hdf5.py
    "nir": ("export/nir/to_nir.py",),
    "onnx": ("export/to_onnx.py",),
    "h5py": ("hardware/loihi/to_netx.py", "export/nir/hdf5.py", "train/data/formats/hdf5_"),
}


def _name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def _within(module: str, room: str) -> bool:
    return module == room or module.startswith(room + ".")


def _floor(module: str) -> int:
    matching = [(len(room), floor) for floor, rooms in enumerate(FLOORS) for room in rooms if _within(module, room)]
    assert matching, f"{module} stands on no floor"
    return max(matching)[1]


@cache
def _imported(path: Path) -> list[str]:
    """Every imported name, wherever the import stands: in a function and under TYPE_CHECKING too."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def _ours(name: str) -> str | None:
    """``export.network`` for ``spikefold.export.network.Network``; None for other packages and the package itself."""
    parts = name.split(".")
    if parts[0] != "spikefold":
        return None
    parts = parts[1:]
    while parts and not ((ROOT / Path(*parts)).with_suffix(".py").exists() or (ROOT / Path(*parts)).is_dir()):
        parts.pop()
    return ".".join(parts) or None


@cache
def _arrows() -> list[tuple[str, str]]:
    """Importing and imported module, for every import of the package in itself."""
    arrows = []
    for path in SOURCES:
        if path.parent == ROOT and path.name == "__init__.py":
            continue
        arrows += [(_name(path), ours) for name in _imported(path) if (ours := _ours(name)) is not None]
    return arrows


def test_imports_go_down_only() -> None:
    arrows = _arrows()
    assert len(arrows) > 1000
    assert not {f"{module} -> {ours}" for module, ours in arrows if _floor(ours) > _floor(module)}


def test_no_chip_knows_another_chip() -> None:
    inside = [(module, ours, room) for module, ours in _arrows() for room in CHIP_ROOMS if _within(module, room)]
    assert len(inside) > 100
    wrong = {
        f"{module} -> {ours}" for module, ours, room in inside
        for other in CHIP_ROOMS if other != room and _within(ours, other)
    }  # fmt: skip
    assert not wrong


def test_only_the_registry_and_a_chips_own_stage_files_enter_its_room() -> None:
    entered = {
        (module, ours) for module, ours in _arrows()
        for room in CHIP_ROOMS if _within(ours, room) and not _within(module, room)
    }  # fmt: skip
    assert {module for module, _ in entered} >= {"hardware.registry"}
    assert {f"{module} -> {ours}" for module, ours in entered if module not in ENTERS} == set()


def test_names_of_chips_stand_in_their_rooms_and_in_the_default_alone() -> None:
    named = re.compile(rf"^({'|'.join(map(re.escape, chips()))})")
    found, rooms = set(), 0
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and named.match(node.value):
                if any(_within(_name(path), room) for room in CHIP_ROOMS):
                    rooms += 1
                elif " " not in node.value:  # prose may speak of a chip
                    found.add(_name(path))
    assert rooms > 10
    assert found <= {"config_sections"}, found


def test_folders_are_rooms_and_no_card_index() -> None:
    modules = Counter(path.parent.relative_to(ROOT).as_posix() for path in SOURCES if path.name != "__init__.py")
    assert len(modules) > 20
    full = {folder for folder, count in modules.items() if count > MODULES_IN_A_FOLDER}
    assert full == set(CROWDED)
    assert len(CROWDED) <= MOST_CROWDED


def test_no_file_repeats_the_name_of_its_folder() -> None:
    assert not [
        _name(path) for path in SOURCES
        if path.parent != ROOT and path.stem.split("_")[0] == path.parent.name
    ]  # fmt: skip


def test_every_room_says_why_it_is_as_it_is() -> None:
    rooms = {path.parent for path in SOURCES if path.parent != ROOT}
    assert len(rooms) > 20
    assert not sorted(room.relative_to(ROOT).as_posix() for room in rooms if not (room / "README.md").is_file())


@pytest.mark.parametrize("package", ONLY_IN)
def test_a_package_is_imported_only_in_the_files_named_for_it(package: str) -> None:
    users = {
        path.relative_to(ROOT).as_posix()
        for path in SOURCES
        for name in _imported(path)
        if name.split(".")[0] == package
    }
    allowed = ONLY_IN[package]
    assert all(any(user.startswith(place) for place in allowed) for user in users), users
    assert users or not allowed


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["config"]])
def test_the_command_line_answers_without_loading_the_heavy_packages(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom spikefold.pipeline import app\n"
        f"try:\n    app({arguments!r})\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "heavy = {'torch', 'numpy', 'sinabs', 'nir', 'onnx', 'matplotlib', 'spikingjelly', 'samna'}\n"
        f"heavy |= set({['pydantic', 'rich'] if arguments == ['--help'] else []!r})\n"
        "heavy &= set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd="/", check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_running_the_file_and_the_command_are_the_same_program() -> None:
    answers = {
        subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True).stdout
        for command in (
            [sys.executable, "pipeline.py", "version"],
            [sys.executable, "-m", "spikefold.pipeline", "version"],
        )
    }
    assert len(answers) == 1
    assert answers.pop().strip()


def test_the_wheel_holds_the_package_and_nothing_else(tmp_path: Path) -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if tracked.returncode:
        pytest.skip("not a git checkout: the wheel is built from the tracked files")
    copy = tmp_path / "source"
    for name in tracked.stdout.split("\n"):
        if name and (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((ROOT / name).read_bytes())
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(tmp_path),
        ".",
    ]
    built = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    names = zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist()
    tops = {name.split("/")[0] for name in names}
    assert len(tops) == 2
    assert "spikefold" in tops
    inside = {name for name in names if name.startswith("spikefold/")}
    for needed in (
        "pipeline.py",
        "train/loop.py",
        "train/data/formats/aedat3.py",
        "export/passes/quantise.py",
        "py.typed",
        "stages/report/report.html.jinja",
        "stages/report/network.html.jinja",
        "stages/report/parts/floorplan.html.jinja",
        "api/deploying.py",
        "stages/analysis.html.jinja",
        "stages/evaluate/evaluation.html.jinja",
        "energy/report.html.jinja",
        "energy/prices/profiles/horowitz45-fp32.toml",
    ):
        assert f"spikefold/{needed}" in inside
    assert not any("test" in name.split("/")[1] for name in inside)
    assert {f"spikefold/{path.relative_to(ROOT).as_posix()}" for path in SOURCES} <= inside, (
        "pyproject lists packages"
    )


def test_tests_of_one_file_share_a_process(request: pytest.FixtureRequest) -> None:
    """Else each makes every fixture again, which doubled the time: xdist 3.8 loses its groups under pytest 9.2."""
    in_parallel = "PYTEST_XDIST_WORKER" in os.environ
    assert request.node.nodeid.endswith("@test_layout.py") == in_parallel
