# SPDX-License-Identifier: Apache-2.0
"""``spikefold train``: the first stage, into a new run folder, or where it was interrupted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spikefold.commands.options import ConfigFile, Data, Out, Quiet, Sets, configured
from spikefold.commands.screen import guarded
from spikefold.errors import ConfigError
from spikefold.session import new_session, point_latest
from spikefold.stage_table import TRAIN
from spikefold.train.processes.main_process import is_main_process


def train(
    config: ConfigFile = None,
    sets: Sets = None,
    data: Data = None,
    out: Out = None,
    resume: Annotated[Path | None, typer.Option(help="A run whose training was interrupted.")] = None,
    quiet: Quiet = False,
) -> None:
    """Train into a new run folder, or go on with the training of one; under torchrun, on several processes."""
    with guarded(quiet or not is_main_process()) as screen:
        if resume is None:
            session = new_session(configured(config, sets or [], data), out, screen)
        else:
            from spikefold.stages.train import unfinished

            if config or sets or data or out:
                raise ConfigError("--resume goes alone", where="train", hint="the run has its own configuration")
            session = new_session(unfinished(resume), resume, screen)
        TRAIN.load()(session)
        if is_main_process():
            point_latest(session)
            typer.echo(session.folder)
