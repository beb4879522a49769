# SPDX-License-Identifier: Apache-2.0
"""A run in a process of its own that ends itself by SIGKILL: ``dying_run.py FINISHED OUT STAGE MOMENT``.

Stages take their folders from a finished run, so nothing heavy is loaded, and no process for workers is started.
``MOMENT`` is ``writing``, half-way through the files of the stage, or ``renaming``, before its scratch folder takes
its place.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

from spikefold.commands import report as report_room
from spikefold.commands import run as run_room
from spikefold.pipeline import main
from spikefold.provenance.origin import ORIGIN
from spikefold.session import CONFIG, Session
from spikefold.stage_table import REPORTS, TRAIN, Stage

FINISHED, OUT, DIES_IN, MOMENT = sys.argv[1:]


def _die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _loaded(stage: Stage) -> Any:
    return lambda session: _play(stage, session)


def _play(stage: Stage, session: Session) -> None:
    from_ = Path(FINISHED) / stage.folder
    with session.writing(stage) as folder:
        if stage.name == DIES_IN and MOMENT == "writing":
            first = sorted(path for path in from_.rglob("*") if path.is_file())[0]
            shutil.copy(first, folder / first.name)
            _die()
        shutil.copytree(from_, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(ORIGIN))
        if stage.name == DIES_IN:
            Path.rename = _die  # type: ignore[method-assign,assignment]
    if stage is TRAIN:
        shutil.copy(Path(FINISHED) / CONFIG, session.folder / CONFIG)


def _report(session: Session) -> Any:
    if DIES_IN == "report":
        shutil.copy(Path(FINISHED) / REPORTS[0], session.folder / REPORTS[0])
        _die()


Stage.load = _loaded  # type: ignore[method-assign,assignment]
report_room._write = _report
run_room.keep_config = lambda session: None  # type: ignore[attr-defined]
run_room.worker_context = lambda: None  # type: ignore[attr-defined]
sys.argv = ["spikefold", "run", "--config", str(Path(FINISHED) / CONFIG), "--out", OUT]
main()
