# SPDX-License-Identifier: Apache-2.0
"""``spikefold report``: the report of a finished run, or the page of a network trained elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from spikefold.commands.importing.export_own import export_own
from spikefold.commands.importing.own_network import Adapt, OwnNetwork, takes_own_network
from spikefold.commands.options import LATEST_RUN, Json, Quiet, Sets
from spikefold.commands.screen import Screen, guarded
from spikefold.commands.summary import comparisons as comparisons
from spikefold.commands.summary import say_report
from spikefold.errors import ConfigError
from spikefold.files import read_json
from spikefold.provenance.lock import locked
from spikefold.provenance.manifest import note_report, report_is_current
from spikefold.session import Session, keep_config, open_session
from spikefold.stage_table import REPORT_SETTINGS, REPORTS, STAGES


@takes_own_network()
def report(
    own: OwnNetwork,
    source: Annotated[str, typer.Argument(help="A run folder, or a FILE.nir or FILE.net.")] = str(LATEST_RUN),
    sets: Sets = None,
    out: Annotated[Path | None, typer.Option(help="A network of your own: folder for its page and files.")] = None,
    adapt: Adapt = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write report.json and report.html of a run whose stages are done; or the page of a network of your own.

    For example: spikefold report runs/latest --set chips.accuracy_loss=0.01
    """
    with guarded(quiet) as screen:
        foreign = own.source(source, str(LATEST_RUN))
        if foreign is not None:
            if own.data is None:
                hint = "recordings of its classes, as npz:DIR"
                raise ConfigError("a page shows what recordings made of it", where="--data", hint=hint)
            if out is None:
                raise ConfigError("no folder for the page", where="--out", hint="for example --out page")
            export_own(foreign, own, out, screen, adapt=adapt, page=True, sets=sets or [], as_json=as_json)
            return
        own.refuse_for_a_run(out=out, adapt=adapt)
        session = open_session(Path(source), screen, tuple(sets or []), REPORT_SETTINGS)
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
