# SPDX-License-Identifier: Apache-2.0
"""What the tests of the whole program share: the command line in a process of its own, and one small finished run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import Phase, settings

# a shared machine may stall any example; time is measured in benchmarks, never asserted in a test
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
# for the planted faults: a failing example is enough there, the smallest one is not needed
settings.register_profile("planted", deadline=None, phases=[Phase.explicit, Phase.generate])

_TESTS = Path(__file__).parent
_SHARES_A_RUN = (
    "stages/test_run.py",
    "stages/test_adapt.py",
    "test_browser.py",
    "stages/test_on_board.py",
    "stages/files/test_damaged_runs.py",
    "commands/test_energy_commands.py",
    "stages/evaluate/test_on_recordings.py",
    "stages/test_simulate.py",
    "commands/test_run_folder.py",
    "stages/report/test_bad_network.py",
    "stages/verbs/test_pace_of.py",
    "stages/exchange/test_own_nir.py",
    "api/test_deploy_a_run.py",
    "stages/verbs/test_reduce_mismatch.py",
    "docs/test_pages.py",
    "commands/test_kill_in_each_stage.py",
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where tests run in parallel, those of a file stay together, and so do the files that read the finished run."""
    for item in items:
        place = item.path.relative_to(_TESTS).as_posix()
        group = "run" if place in _SHARES_A_RUN else place
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """The weights that a test lets PyTorch draw depend on no other test of its process."""
    torch.manual_seed(0)


Program = Callable[..., "subprocess.CompletedProcess[str]"]
SMALL = (
    "data.train=160", "data.test=30", "data.steps=5", "model.channels=[6,8]", "model.strides=[2,2]",
    "model.neuron=lif", "model.keep=0.8", "train.epochs=5", "train.batch=10",
    "train.augment=none", "train.shift=1", "train.lr=2e-3", "train.gain=20", "train.synops_penalty=0",
    "adapt.by=steps", "adapt.epochs=2", "chips.parity_clips=6", "chips.vendor_clips=2",
)  # fmt: skip
"""A run of seconds: every stage and runner, neurons that Speck has not; no claim about accuracy."""


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Generated data and lava's private folder go to a cache of this test session, made once and never the user's.

    Processes of pytest that run beside each other share it, as those of a user do.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache"
    folder.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPIKEFOLD_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def program(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """Runs ``spikefold ARGUMENTS`` in a process and a folder of its own."""
    home, outputs = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("outputs")
    files = {"stdout": outputs / "stdout", "stderr": outputs / "stderr"}
    server = subprocess.Popen(
        [sys.executable, _TESTS / "program_server.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

    def run(*arguments: str, cwd: Path = home) -> subprocess.CompletedProcess[str]:
        order = {"arguments": arguments, "cwd": str(cwd), "environment": dict(os.environ)}
        order |= {key: str(file) for key, file in files.items()}
        server.stdin.write(json.dumps(order) + "\n")
        server.stdin.flush()
        code = int(server.stdout.readline())  # pytest's time limit ends a hang
        said = {key: file.read_text(encoding="utf-8") for key, file in files.items()}
        return subprocess.CompletedProcess(["spikefold", *arguments], code, **said)

    yield run
    server.stdin.close()
    server.wait(60)
    server.stdout.close()


@pytest.fixture(scope="session")
def finished_run(program: Program, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one small run on digits, all stages done."""
    folder = tmp_path_factory.mktemp("project") / "runs" / "small"
    sets = [part for key in SMALL for part in ("--set", key)]
    done = program("run", "--data", "digits", "--out", str(folder), *sets)
    assert done.returncode == 0, done.stderr
    return folder
