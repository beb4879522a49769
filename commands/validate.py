# SPDX-License-Identifier: Apache-2.0
"""``spikefold validate``: compare the runners of each chip, or a board with its simulator."""

from __future__ import annotations

from typing import Annotated

import typer

from spikefold.commands.options import LATEST_RUN, Quiet, RunFolder, Sets
from spikefold.commands.screen import guarded
from spikefold.commands.stage_command import again
from spikefold.session import open_session
from spikefold.stage_table import VALIDATE, may_change


def validate(
    folder: RunFolder = LATEST_RUN,
    on: Annotated[str | None, typer.Option(help="A board instead, as speck2fdevkit:0.")] = None,
    clips: Annotated[int, typer.Option(min=1, help="--on: test clips.")] = 10,
    repeats: Annotated[int, typer.Option(min=1, help="--on: runs of every clip, for their spread.")] = 3,
    sets: Sets = None,
    quiet: Quiet = False,
) -> None:
    """Run the stage, or the clips on a board; exit code 1 where spikes differ."""
    with guarded(quiet) as screen:
        if on is None:
            again(VALIDATE, folder, sets or [], screen)
            return
        from spikefold.stages.on_board import validate_on

        validate_on(open_session(folder, screen, tuple(sets or []), may_change(VALIDATE)), on, clips, repeats)
        typer.echo(folder)
