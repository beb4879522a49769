# SPDX-License-Identifier: Apache-2.0
"""Runs the command line again and again, each time in a process of its own that is forked with everything loaded.

A process that starts from nothing takes seconds of a core to import PyTorch, and the tests start dozens. The parent
writes one line of JSON with arguments, folder, environment, and the files for both outputs; the answer is the exit
code.
"""

from __future__ import annotations

import json
import os
import sys
from multiprocessing import forkserver
from typing import Any


def _load() -> None:
    """What every program imports, here and in the server that forks its workers: one for all programs."""
    import spikefold.pipeline
    import spikefold.stages.adapt
    import spikefold.stages.report.write
    import spikefold.train.baseline  # noqa: F401
    from spikefold.train.processes.pool import worker_context

    worker_context()


def _runs() -> None:
    """Nothing has to be started."""


def _run(order: dict[str, Any]) -> None:
    """Become the program; does not return."""
    # it runs, but is no child of this process, which would ask the system for it
    for owner in (forkserver, forkserver._forkserver):  # type: ignore[attr-defined, unused-ignore]
        setattr(owner, "ensure_running", _runs)  # noqa: B010  types of a method forbid the assignment
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["environment"])
    # what Python does with it at its start
    sys.path[:0] = [
        path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path not in (*sys.path, "")
    ]
    for number, key in ((1, "stdout"), (2, "stderr")):
        file = os.open(order[key], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.argv = ["spikefold", *order["arguments"]]
    from spikefold.pipeline import main

    code: Any = 0
    try:
        main()
    except SystemExit as end:
        code = end.code
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 0 if code is None else 1)


def serve() -> None:
    """Answer orders until there are no more."""
    _load()
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _run(json.loads(line))
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
