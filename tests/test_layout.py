# SPDX-License-Identifier: Apache-2.0
"""The house keeps its walls: who imports whom, what the wheel holds, what ``--help`` loads."""

from __future__ import annotations

import ast
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(
    path
    for path in ROOT.rglob("*.py")
    if not any(
        part.startswith(".") or part in ("tests", "benchmarks", "build", "runs")
        for part in path.relative_to(ROOT).parts
    )
)
# a module may import from its own floor and below
FLOORS = [
    ("errors", "files", "npz"),
    ("config", "session"),
    (
        "export.network",
        "export.neuron",
        "export.neuron_support",
        "export.ops",
        "export.numbers",
        "export.io",
        "export.fanout",
    ),
    ("export.passes", "export.from_torch", "hardware.simulators.trace", "hardware.chip"),
    ("report_style", "train", "export", "hardware"),
    ("energy",),
    ("stages", "report"),
    ("commands",),
    ("pipeline",),
]
ONLY_IN = {
    "torch": (
        "train/",
        "stages/inspect.py",
        "energy/live/",
        "export/from_torch.py",
        "hardware/simulators/clocked.py",
        "hardware/speck/sinabs.py",
        "hardware/speck/sinabs_runner.py",
    ),
    "spikingjelly": ("train/", "stages/inspect.py", "export/from_torch.py"),
    "sinabs": ("hardware/speck/sinabs.py",),
    "samna": ("hardware/speck/board/device.py",),
    "lava": ("hardware/loihi/lava/worker.py",),
    # from_nir needs no `nir`: it reads the file itself, see export/nir/hdf5.py
    "nir": ("export/nir/to_nir.py",),
    "onnx": ("export/to_onnx.py",),
    "h5py": ("hardware/loihi/to_netx.py", "export/nir/hdf5.py", "train/data/formats/hdf5_file.py"),
}


def _name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def _floor(module: str) -> int:
    matching = [
        (len(prefix), floor)
        for floor, prefixes in enumerate(FLOORS)
        for prefix in prefixes
        if module == prefix or module.startswith(prefix + ".")
    ]
    assert matching, f"{module} stands on no floor"
    return max(matching)[1]


def _imports(path: Path) -> list[tuple[str, bool]]:
    """Every imported module, and whether only for type checking."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) in typing_only) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [(f"{node.module}.{alias.name}", id(node) in typing_only) for alias in node.names]
    return found


def _ours(name: str) -> str | None:
    """``export.network`` for ``spikefold.export.network.Network``; None for other packages."""
    parts = name.split(".")
    if parts[0] != "spikefold":
        return None
    parts = parts[1:]
    while parts and not ((ROOT / Path(*parts)).with_suffix(".py").exists() or (ROOT / Path(*parts)).is_dir()):
        parts.pop()
    return ".".join(parts) or None


def test_imports_go_down_only() -> None:
    checked, wrong = 0, []
    for path in SOURCES:
        if path.name == "__init__.py":
            continue
        for name, typing_only in _imports(path):
            ours = _ours(name)
            if ours is None or typing_only:
                continue
            checked += 1
            # `session` loads the data of a run on demand, inside a method
            if _name(path) == "session" and ours.startswith("train."):
                continue
            if _floor(ours) > _floor(_name(path)):
                wrong.append(f"{_name(path)} -> {ours}")
    assert checked > 150
    assert not wrong


@pytest.mark.parametrize("package", ONLY_IN)
def test_a_package_is_imported_only_in_the_files_named_for_it(package: str) -> None:
    users = {
        path.relative_to(ROOT).as_posix()
        for path in SOURCES
        for name, _ in _imports(path)
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
        "report.html.jinja",
        "analysis.html.jinja",
        "energy/report.html.jinja",
        "energy/prices/profiles/horowitz45-fp32.toml",
    ):
        assert f"spikefold/{needed}" in inside
    assert not any("test" in name.split("/")[1] for name in inside)
