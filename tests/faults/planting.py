# SPDX-License-Identifier: Apache-2.0
"""Plants a fault in a copy of the sources and runs the tests that must notice it.

Tests of a copy run in a child of this process, which has loaded the heavy packages before: a fault costs what its
tests cost, and not the start of PyTorch too. The child takes the package from the copy; this process must therefore
not have imported it, and is started by ``python -m tests.faults.planting COPY`` for that.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FAULTS = Path(__file__).with_name("faults.toml")
_PATIENCE_S = 300
_HEAVY = ("numpy", "torch", "numba", "scipy.sparse", "spikingjelly.activation_based.neuron")


@dataclass(frozen=True)
class Fault:
    """One edit in one file, and the tests that must notice."""

    name: str
    file: str
    before: str
    after: str
    tests: str


def faults() -> tuple[Fault, ...]:
    """All of them, in the order of the file."""
    return tuple(Fault(**one) for one in tomllib.loads(FAULTS.read_text(encoding="utf-8"))["fault"])


def copied(folder: Path) -> Path:
    """The sources under the package's name in a folder, so that the copy is imported and not the checkout."""
    home = folder / "spikefold"
    ignore = shutil.ignore_patterns(".*", "runs", "build", "__pycache__", "*.egg-info", "faults", "nightly")
    shutil.copytree(ROOT, home, ignore=ignore)
    return home


class Planter:
    """A process that runs tests of a copy of the sources, see the module."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, tests: Sequence[str]) -> tuple[int, str]:
        """The exit code of pytest on these tests, -9 where they took too long; and what it printed."""
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise RuntimeError("the process has no pipes")
        stdin.write(json.dumps(list(tests)) + "\n")
        stdin.flush()
        answer: dict[str, Any] = json.loads(stdout.readline())
        return answer["code"], Path(answer["output"]).read_text(encoding="utf-8", errors="replace")

    def noticed(self, home: Path, fault: Fault) -> tuple[bool, str]:
        """Whether a test failed with the fault in the copy, and what was printed."""
        path = home / fault.file
        original = path.read_text(encoding="utf-8")
        if fault.before not in original:
            raise ValueError(f"{fault.file} no longer holds {fault.before!r}: {fault.name}")
        path.write_text(original.replace(fault.before, fault.after), encoding="utf-8")
        try:
            code, output = self.run(fault.tests.split())
        finally:
            path.write_text(original, encoding="utf-8")
        # a fault that hangs is noticed too; an error while tests are collected is a failure like any other
        return code in (1, 2, -9), output


@contextmanager
def planter(home: Path) -> Iterator[Planter]:
    """Start the process for one copy of the sources."""
    command = [sys.executable, "-B", str(Path(__file__).resolve()), str(home)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=home) as process:
        try:
            yield Planter(process)
        finally:
            if process.stdin is not None:
                process.stdin.close()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:  # it has given its answers; a loaded machine is slow to end it
                process.kill()


def _serve(home: Path) -> None:
    """Answer one line of tests after the other until there is no more."""
    sys.path[:] = [str(home.parent), *(place for place in sys.path if place and Path(place).resolve() != ROOT)]
    sys.path[:] = [
        place for place in sys.path if not (Path(place) / "spikefold").is_dir() or place == str(home.parent)
    ]
    sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in str(finder).lower()]
    for package in _HEAVY:
        importlib.import_module(package)
    answers = os.fdopen(os.dup(1), "w")
    output = home.parent / "output.txt"
    for line in sys.stdin:
        code = _in_a_child(home, json.loads(line), output)
        answers.write(json.dumps({"code": code, "output": str(output)}) + "\n")
        answers.flush()


def _in_a_child(home: Path, tests: list[str], output: Path) -> int:
    child = os.fork()
    if child == 0:
        signal.alarm(_PATIENCE_S)
        with output.open("w") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        os.chdir(home)
        os._exit(_pytest(home, tests))
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) if not os.WIFSIGNALED(status) else -9


def _pytest(home: Path, tests: list[str]) -> int:
    import pytest

    import spikefold

    if spikefold.__file__ is None or not spikefold.__file__.startswith(str(home)):
        return 99
    options = ["-x", "-q", "-p", "no:cacheprovider", "--hypothesis-profile=planted"]
    try:
        code = int(pytest.main([*options, *tests]))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return code


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
