# SPDX-License-Identifier: Apache-2.0
"""``spikefold validate``: compare the runners of each chip, or a board with its simulator."""

from __future__ import annotations

from typing import Annotated

import typer

from spikefold.commands.options import LATEST_RUN, Json, Quiet, RunFolder, Sets
from spikefold.commands.report import refreshed_report
from spikefold.commands.screen import guarded
from spikefold.commands.stage_command import again, say_run
from spikefold.provenance.lock import locked
from spikefold.session import Session, open_session
from spikefold.stage_table import VALIDATE, may_change


def validate(
    folder: RunFolder = LATEST_RUN,
    on: Annotated[str | None, typer.Option(help="A board instead, as speck2fdevkit:0.")] = None,
    clips: Annotated[int, typer.Option(min=1, help="--on: test clips.")] = 10,
    repeats: Annotated[int, typer.Option(min=1, help="--on: runs of every clip, for their spread.")] = 3,
    sets: Sets = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run the stage, or the clips on a board; exit code 1 where spikes differ.

    For example: spikefold validate runs/latest --on speck2fdevkit:0
    """
    with guarded(quiet) as screen:
        if on is None:
            again(VALIDATE, folder, sets or [], screen)
        else:
            _on_board(open_session(folder, screen, tuple(sets or []), may_change(VALIDATE)), on, clips, repeats)
        say_run(VALIDATE, folder, as_json=as_json)


def _on_board(session: Session, on: str, clips: int, repeats: int) -> None:
    """The report shows what the board did, agreed or not."""
    from spikefold.stages.on_board import validate_on

    with locked(session.folder):
        try:
            validate_on(session, on, clips, repeats)
        finally:
            refreshed_report(session)
