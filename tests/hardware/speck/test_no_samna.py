# SPDX-License-Identifier: Apache-2.0
"""With the PyPI stub of samna installed, nothing ever runs it: a stub in front of the path, and a pip that tells.

The stub here does what the one on PyPI does: its import runs ``sys.executable -m pip install --force-reinstall``. In
the same folder lies a ``pip`` that leaves a mark and fails, and on the ``PATH`` programs of that kind do. The last
test springs the trap, so that the others show something.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

STUB = """
import os, pathlib, subprocess, sys
PYPI_SAMNA = True
pathlib.Path(os.environ["STUB_MARKS"], "samna").touch()
def install_real_samna():
    command = [sys.executable, "-m", "pip", "install", "--force-reinstall", "samna==0.48.6", "--no-index"]
    subprocess.check_call(command)
install_real_samna()
"""
PIP = """
import os, pathlib, sys
pathlib.Path(os.environ["STUB_MARKS"], "pip").touch()
sys.exit("pip must not run")
"""
PROGRAM = """#!/bin/sh
touch "$STUB_MARKS/$(basename "$0")"
exit 1
"""
SPRUNG = ["pip", "samna"]

EVERY_MODULE = """
import importlib, pkgutil, sys
import spikefold
done = 0
for module in pkgutil.walk_packages(spikefold.__path__, "spikefold."):
    if module.name.split(".")[1] in ("tests", "benchmarks", "build"):
        continue
    try:
        importlib.import_module(module.name)
        done += 1
    except ModuleNotFoundError as error:  # a library that is not installed; lava lives in an interpreter of its own
        if error.name.split(".")[0] in ("spikefold", "samna", "samnagui"):
            raise
print(done)
print(sorted(name for name in sys.modules if name.split(".")[0] in ("samna", "samnagui", "pip")))
"""
CONVERT_AND_RUN = """
import json, pathlib, sys
import numpy as np
from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Neuron
from spikefold.export.ops import Conv2d
from spikefold.export.passes.quantise import quantise
from spikefold.hardware.simulators import clocked
from spikefold.hardware.speck.events import simulate as event_driven
from spikefold.hardware.simulators import reference
from spikefold.hardware.speck.board.samna_probe import samna_status
from spikefold.hardware.speck.chip import NUMBERS, SPECK2F
layers = (Layer("a", Conv2d(np.ones((1, 1, 1, 1)))), Layer("n", Neuron(np.array(1.0))))
network = Network(InputSpec((1, 4, 4), 1000, 2, 1), layers, 1)
integer, _ = quantise(network, NUMBERS)
frames = np.ones((2, 1, 1, 4, 4), np.int64)
folder = pathlib.Path(sys.argv[1])
written = SPECK2F.lower(network, integer, folder).files
runs = [reference.run, clocked.run, event_driven.run]
spikes = [run(integer, frames).spikes for run in runs] + [SPECK2F.vendor_simulator(network, integer)(frames).spikes]
print(samna_status(), json.loads((folder / written[0]).read_text())["layer2core"], spikes)
print(sorted(name for name in sys.modules if name.split(".")[0] in ("samna", "samnagui", "pip")))
"""

Trapped = Callable[..., "tuple[subprocess.CompletedProcess[str], list[str]]"]


@pytest.fixture
def trapped(tmp_path: Path) -> Trapped:
    """Runs Python with these arguments inside the trap; what it did, and which marks it left."""
    site, programs, marks = (tmp_path / name for name in ("site", "bin", "marks"))
    for folder in (site / "samna", site / "pip", programs, marks):
        folder.mkdir(parents=True)
    (site / "samna" / "__init__.py").write_text(STUB)
    (site / "pip" / "__init__.py").touch()
    (site / "pip" / "__main__.py").write_text(PIP)
    for name in ("pip", "pip3", "uv", "conda"):
        (programs / name).write_text(PROGRAM)
        (programs / name).chmod(0o755)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(site), *sys.path]),
        "PATH": os.pathsep.join([str(programs), os.environ["PATH"]]),
        "STUB_MARKS": str(marks),
    }

    def run(*arguments: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
        command = [sys.executable, *arguments]
        done = subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=200
        )
        return done, sorted(mark.name for mark in marks.iterdir())

    return run


def test_importing_every_module(trapped: Trapped) -> None:
    done, marks = trapped("-c", EVERY_MODULE)
    assert done.returncode == 0, done.stderr
    count, loaded = done.stdout.splitlines()
    assert marks == []
    assert loaded == "[]"
    assert int(count) > 60


def test_a_conversion_and_every_simulation(trapped: Trapped, tmp_path: Path) -> None:
    done, marks = trapped("-c", CONVERT_AND_RUN, str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert marks == []
    assert done.stdout.splitlines() == ["stub {'n': 7} [32, 32, 32, 32]", "[]"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(("chips", "speck2f"), "memory of the cores"), (("chips",), "speck2f"), (("--help",), "usage")],
    ids=["chips speck2f", "chips", "help"],
)
def test_the_command_line(trapped: Trapped, arguments: tuple[str, ...], said: str) -> None:
    done, marks = trapped("-m", "spikefold.pipeline", *arguments)
    assert done.returncode == 0, done.stderr
    assert said in done.stdout.lower()
    assert marks == []


def test_the_trap_is_armed(trapped: Trapped) -> None:
    done, marks = trapped("-c", "import samna")
    assert done.returncode != 0
    assert "CalledProcessError" in done.stderr
    assert "pip must not run" in done.stderr
    assert marks == SPRUNG
    # and it stands on the path of the library that would spring it
    done, marks = trapped("-c", "import sinabs.backend.dynapcnn")
    assert "CalledProcessError" in done.stderr
