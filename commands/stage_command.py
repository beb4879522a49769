# SPDX-License-Identifier: Apache-2.0
"""The command that runs one stage of a run again, made from the stage's record."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import typer

from spikefold.commands.options import LATEST_RUN, Quiet, RunFolder, Sets
from spikefold.commands.screen import Screen, guarded
from spikefold.session import keep_config, open_session
from spikefold.stage_table import Stage, may_change


def again(stage: Stage, folder: Path, overrides: list[str], screen: Screen) -> None:
    """Run one stage of a run, with settings that nothing depends on but this stage and those behind it."""
    session = open_session(folder, screen, tuple(overrides), may_change(stage))
    stage.load()(session)
    if overrides:
        keep_config(session)
    typer.echo(session.folder)


def stage_command(stage: Stage) -> Callable[..., None]:
    """The command of a stage that takes nothing but a run folder and settings."""

    def command(folder: RunFolder = LATEST_RUN, sets: Sets = None, quiet: Quiet = False) -> None:
        with guarded(quiet) as screen:
            again(stage, folder, sets or [], screen)

    return command
