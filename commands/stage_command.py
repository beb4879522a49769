# SPDX-License-Identifier: Apache-2.0
"""The command that runs one stage of a run again, made from the stage's record."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from spikefold.commands.options import LATEST_RUN, Json, Quiet, RunFolder, Sets
from spikefold.commands.report import refreshed_report
from spikefold.commands.screen import Screen, guarded
from spikefold.commands.tables import say_json
from spikefold.errors import MismatchError
from spikefold.provenance.lock import locked
from spikefold.provenance.manifest import note_stage
from spikefold.session import Session, keep_config, open_session
from spikefold.stage_table import STAGES, Stage, computed_from, may_change


def again(
    stage: Stage, folder: Path, overrides: list[str], screen: Screen, run: Callable[[Session], object] | None = None
) -> None:
    """Run one stage of a run, with settings that nothing depends on but this stage and those behind it.

    The stage's own function does it, where no other way to ``run`` it is given.

    A run that had every stage keeps its report: it is written anew, also where spikes turn out to differ.
    """
    session = open_session(folder, screen, tuple(overrides), may_change(stage))
    with locked(session.folder):
        stale = [one.name for one in computed_from(stage) if (folder / one.folder).is_dir()]
        started = time.monotonic()
        try:
            (run or stage.load())(session)
        except MismatchError:
            if (session.folder / stage.folder).is_dir():
                _kept(session, overrides)
            raise
        note_stage(session.folder, stage.name, time.monotonic() - started)
        _kept(session, overrides)
    if stale := [name for name in stale if not _has(folder, name)]:
        screen.line(
            f"made from the old {stage.name}, so removed: {', '.join(stale)}; next: spikefold run --out {folder}"
        )


def _kept(session: Session, overrides: list[str]) -> None:
    if overrides:
        keep_config(session)
    refreshed_report(session)


def _has(folder: Path, name: str) -> bool:
    return any((folder / stage.folder).is_dir() for stage in STAGES if stage.name == name)


def say_run(stage: Stage, folder: Path, *, as_json: bool, **more: Any) -> None:
    """Where the stage wrote its files, and what else is told of it."""
    if not as_json:
        typer.echo(folder)
        return
    written = folder / stage.folder
    files = sorted(path.relative_to(folder).as_posix() for path in written.rglob("*") if path.is_file())
    say_json({"run": str(folder), "stage": stage.name, "folder": str(written), "files": files, **more})


def stage_command(stage: Stage) -> Callable[..., None]:
    """The command of a stage that takes nothing but a run folder and settings."""

    def command(
        folder: RunFolder = LATEST_RUN, sets: Sets = None, as_json: Json = False, quiet: Quiet = False
    ) -> None:
        with guarded(quiet) as screen:
            again(stage, folder, sets or [], screen)
            say_run(stage, folder, as_json=as_json)

    return command
