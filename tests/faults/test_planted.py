# SPDX-License-Identifier: Apache-2.0
"""The tests of the tests: plant a fault in a copy of the sources, and some test must fail.

Each fault is one edit, as a person would slip it in. The copy runs the quick tests that should notice; those that did
are run once more on the restored copy, where they must pass.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Fault:
    """One edit in one file, and the tests that must notice."""

    name: str
    file: str
    before: str
    after: str
    tests: str


CORE = "tests/hardware/simulators/test_reference.py"
ENGINE = "tests/hardware/simulators/test_clocked.py"
FAULTS = (
    Fault("threshold > for >= in the reference", "hardware/simulators/reference.py",
          "(v >= theta) if neuron.fire is Fire.GE",
          "(v > theta) if neuron.fire is Fire.GE", CORE),
    Fault("threshold >= for > in the reference", "hardware/simulators/reference.py", "else (v > theta)",
          "else (v >= theta)", CORE),
    Fault("threshold > for >= in the engine", "hardware/simulators/clocked.py", "((v >= theta) if",
          "((v > theta) if", ENGINE),
    Fault("bias dropped in the reference", "hardware/simulators/reference.py",
          "return y if op.bias is None else y + op.bias[:, None, None]", "return y", CORE),
    Fault("bias dropped in the engine", "hardware/simulators/clocked.py",
          "bias = None if op.bias is None else torch.tensor(op.bias, dtype=dtype)", "bias = None", ENGINE),
    Fault("bias dropped in the batch norm fold", "export/passes/fold_batchnorm.py",
          "bias=bias + norm.beta - scale * norm.mean", "bias=bias + norm.beta", "tests/export/passes/test_folds.py"),
    Fault("bias dropped in quantisation", "export/passes/quantise.py",
          "bias=None if bias is None else _rounded(bias, scale)", "bias=None",
          "tests/export/passes/test_quantise.py"),
    Fault("padding off by one in the reference", "hardware/simulators/reference.py",
          "np.pad(x, ((0, 0), (0, 0), (pad_h, pad_h), (pad_w, pad_w)))",
          "np.pad(x, ((0, 0), (0, 0), (pad_h + 1, pad_h), (pad_w, pad_w)))", CORE),
    Fault("padding off by one in the counts", "export/fanout.py", "np.arange(size)[:, None] + padding",
          "np.arange(size)[:, None] + padding + 1", "tests/export/test_fanout.py"),
    Fault("x and y swapped in the frames", "train/data/frames.py", 'for key in ("p", "y", "x")',
          'for key in ("p", "x", "y")', "tests/train/data/test_frames.py"),
    Fault("leak after the input in the reference", "hardware/simulators/reference.py",
          "else leak(neuron.leak, v) + x", "else leak(neuron.leak, v + x)", CORE),
    Fault("leak after the input in the engine", "hardware/simulators/clocked.py",
          "else _leaked(neuron, v) + current",
          "else _leaked(neuron, v + current)", ENGINE),
    Fault("state kept between samples in evaluation", "train/evaluate.py",
          "        functional.reset_net(model)\n        _, spikes", "        _, spikes", "tests/train/test_loop.py"),
    Fault("state kept between samples in the PyTorch trace", "train/deploy/tracing.py",
          "    functional.reset_net(model)\n", "", "tests/train/deploy/test_tracing.py"),
    Fault("channels of the rasters in another order", "hardware/simulators/trace.py",
          ".reshape(raster.shape[1], classes, -1)",
          ".reshape(raster.shape[1], -1, classes).swapaxes(1, 2)", "tests/hardware/simulators/test_trace.py"),
    Fault("eps left out of batch norm", "export/passes/fold_batchnorm.py", "np.sqrt(norm.var + norm.eps)",
          "np.sqrt(norm.var)", "tests/export/passes/test_folds.py"),
)  # fmt: skip


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's sources under the package's name, so that the copy is imported and not the checkout."""
    home = tmp_path_factory.mktemp("planted") / "spikefold"
    ignore = shutil.ignore_patterns(".*", "runs", "build", "__pycache__", "*.egg-info", "faults")
    shutil.copytree(ROOT, home, ignore=ignore)
    return home


@pytest.fixture(scope="module")
def noticing() -> set[str]:
    """The tests that failed on a planted fault, gathered over this file."""
    return set()


def _run(copy: Path, *tests: str) -> subprocess.CompletedProcess[str]:
    program = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); import spikefold, pytest; "
        "assert spikefold.__file__.startswith(sys.path[0]), spikefold.__file__; sys.exit(pytest.main(sys.argv[1:]))"
    )
    command = [sys.executable, "-B", "-c", program, str(copy.parent), "-x", "-q", "-p", "no:cacheprovider"]
    command += ["--hypothesis-profile=planted", *tests]
    return subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_planted_fault_is_noticed(copy: Path, noticing: set[str], fault: Fault) -> None:
    path = copy / fault.file
    original = path.read_text(encoding="utf-8")
    assert original.count(fault.before) >= 1, f"{fault.file} no longer holds {fault.before!r}"
    path.write_text(original.replace(fault.before, fault.after), encoding="utf-8")
    try:
        done = _run(copy, fault.tests)
    finally:
        path.write_text(original, encoding="utf-8")
    assert done.returncode == 1, f"not noticed by {fault.tests}\n{done.stdout}{done.stderr}"
    failed = re.search(r"^FAILED ([^\[\s]+)", done.stdout, re.MULTILINE)
    assert failed, done.stdout
    noticing.add(failed.group(1))


def test_the_tests_that_noticed_pass_without_the_fault(copy: Path, noticing: set[str]) -> None:
    if not noticing:
        pytest.skip("no fault was planted in this session: run the whole file")
    done = _run(copy, *sorted(noticing))
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
