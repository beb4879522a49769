# SPDX-License-Identifier: Apache-2.0
"""Starts `worker` once in a subprocess: a job directory goes in, arrays come out, and nothing is left running."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spikefold.errors import EnvironmentLacksError

WORKER = Path(__file__).with_name("worker.py")
GRACE_S = 1.0
_TAIL_CHARS = 4000
_KEPT = ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "TEMP", "TMP", "LANG")


@dataclass(frozen=True, eq=False)
class Job:
    """One network file and its clips.

    Attributes:
        net: name of the ``.net`` file inside the job directory.
        frames: event counts ``(T, N, C, H, W)``.
        potentials: record the states too.
    """

    net: str
    frames: np.ndarray
    potentials: bool = False

    @property
    def bits(self) -> int:
        """Width of lava's graded input spikes; 0 for plain ones."""
        highest = int(self.frames.max(initial=0))
        return 0 if highest <= 1 else highest.bit_length()


def run_worker(
    home: Path, jobs: Sequence[Job], library: Path, *, interpreter: str | None = None, timeout_s: float = 600
) -> dict[str, np.ndarray]:
    """Run jobs whose ``.net`` files already lie in ``home``.

    Args:
        home: the job directory; everything is written here.
        jobs: what to run, in one start.
        library: the provisioned directory that holds lava.
        interpreter: Python to run it with; this one by default. It needs numpy, scipy, h5py and networkx.
        timeout_s: wall clock for all jobs; then every process of the worker is ended.

    Returns:
        Arrays as `worker` describes them.

    Raises:
        EnvironmentLacksError: lava failed, was killed or took too long; its traceback is in the message.
    """
    entries = [{"net": job.net, "bits": job.bits, "potentials": job.potentials} for job in jobs]
    (home / "job.json").write_text(json.dumps({"jobs": entries}), encoding="utf-8")
    arrays: dict[str, Any] = {str(index): job.frames for index, job in enumerate(jobs)}
    np.savez(home / "in.npz", **arrays)
    log = home / "worker.log"
    command = [interpreter or sys.executable, str(WORKER), str(home)]
    try:
        with log.open("wb") as output:
            code = _run_group(command, _environment(library), output.fileno(), timeout_s)
    except subprocess.TimeoutExpired as error:
        raise EnvironmentLacksError(
            f"lava's simulator did not finish within {timeout_s:g} s",
            hint="give it more time, fewer clips or a smaller network; it takes about 15 ms a clip and step",
        ) from error
    except OSError as error:
        raise EnvironmentLacksError(f"cannot start {command[0]}: {error.strerror or error}") from error
    return _collect(home, code, log)


def _environment(library: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    # safe path: this folder holds a trace.py that would shadow the standard library's
    python = {"PYTHONPATH": str(library), "PYTHONSAFEPATH": "1", "PYTHONNOUSERSITE": "1", "PYTHONUTF8": "1"}
    return kept | threads | python


def _run_group(command: list[str], environment: dict[str, str], output: int, timeout_s: float) -> int:
    # a group of its own: lava forks a dozen processes, which must end with the worker
    worker = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    code = 1
    try:
        code = worker.wait(timeout_s)
    finally:
        if code != 0:  # failed, timed out or interrupted: whatever it forked still runs
            _end_group(worker)
    return code


def _end_group(worker: subprocess.Popen[bytes]) -> None:
    """End every process of the worker's group: asked first, so that shared memory is given back; then killed."""
    deadline = time.monotonic() + GRACE_S
    while _signal_group(worker, signal.SIGTERM) and time.monotonic() < deadline:
        time.sleep(0.05)
        worker.poll()  # reaps the worker, which would stay in its group as a zombie
    _signal_group(worker, signal.SIGKILL)
    worker.wait()


def _signal_group(worker: subprocess.Popen[bytes], number: int) -> bool:
    """Whether there is anybody left in the group to hear it."""
    try:
        os.killpg(worker.pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _collect(home: Path, code: int, log: Path) -> dict[str, np.ndarray]:
    path = home / "result.json"
    result = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    if result is None or not result["ok"]:
        ended = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        said = log.read_text(encoding="utf-8", errors="replace")
        detail = result["error"] if result is not None else f"it {ended} without a result\n{said}"
        raise EnvironmentLacksError(
            f"lava's simulator failed:\n{detail[-_TAIL_CHARS:].rstrip()}",
            hint="the last lines above name the cause; a broken installation is made anew once its folder is deleted",
        )
    with np.load(home / "out.npz") as arrays:
        return dict(arrays)
