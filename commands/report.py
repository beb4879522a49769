# SPDX-License-Identifier: Apache-2.0
"""``spikefold report``: the report of a finished run, and its main figures as lines."""

from __future__ import annotations

from typing import Any

from spikefold.commands.options import LATEST_RUN, Json, Quiet, RunFolder, Sets
from spikefold.commands.screen import Screen, guarded
from spikefold.commands.summary import comparisons as comparisons
from spikefold.commands.summary import say_report
from spikefold.files import read_json
from spikefold.provenance.lock import locked
from spikefold.provenance.manifest import note_report, report_is_current
from spikefold.session import Session, keep_config, open_session
from spikefold.stage_table import REPORT_SETTINGS, REPORTS, STAGES


def report(folder: RunFolder = LATEST_RUN, sets: Sets = None, as_json: Json = False, quiet: Quiet = False) -> None:
    """Write report.json and report.html of a run whose stages are done.

    For example: spikefold report runs/latest --set chips.accuracy_loss=0.01
    """
    with guarded(quiet) as screen:
        session = open_session(folder, screen, tuple(sets or []), REPORT_SETTINGS)
        with locked(session.folder):
            content = _write(session)
            if sets:
                keep_config(session)
        say_report(content, session.folder, as_json=as_json)


def written_report(session: Session, screen: Screen) -> dict[str, Any]:
    """The content of a run's report, written where anything that it shows has changed."""
    if report_is_current(session.folder, session.config):
        screen.line("report: unchanged")
        found: dict[str, Any] = read_json(session.folder / REPORTS[0])
        return found
    return _write(session)


def refreshed_report(session: Session) -> None:
    """Write the report anew after a stage, where the run has every stage; else there is none to write yet."""
    if all((session.folder / stage.folder).is_dir() for stage in STAGES if stage.in_run):
        _write(session)


def _write(session: Session) -> dict[str, Any]:
    from spikefold.stages.report.write import write_report

    content = write_report(session)
    note_report(session.folder, session.config)
    return content
