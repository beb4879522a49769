# SPDX-License-Identifier: Apache-2.0
"""``spikefold train``: the first stage, into a new run folder, or where it was interrupted."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from spikefold.commands.interrupted import exit_code, what_is_kept
from spikefold.commands.options import Chips, ConfigFile, Data, Json, Out, Quiet, Sets, Tensorboard, configured
from spikefold.commands.screen import guarded
from spikefold.commands.stage_command import say_run
from spikefold.errors import ConfigError
from spikefold.provenance.lock import locked
from spikefold.provenance.manifest import note_stage
from spikefold.session import new_session, point_latest
from spikefold.stage_table import TRAIN
from spikefold.train.processes.main_process import is_main_process


def train(
    config: ConfigFile = None,
    sets: Sets = None,
    data: Data = None,
    chip: Chips = None,
    out: Out = None,
    resume: Annotated[Path | None, typer.Option(help="A run whose training was interrupted.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
    tensorboard: Tensorboard = False,
) -> None:
    """Train into a new run folder, or go on with the training of one; under torchrun, on several processes.

    For example: spikefold train --data npz:recordings --out runs/mine
    """
    with guarded(quiet or not is_main_process()) as screen:
        if resume is None:
            session = new_session(configured(config, sets or [], data, chip), out, screen, tensorboard=tensorboard)
        else:
            from spikefold.stages.train import unfinished

            if config or sets or data or chip or out:
                raise ConfigError("--resume goes alone", where="train", hint="the run has its own configuration")
            session = new_session(unfinished(resume), resume, screen, tensorboard=tensorboard)
        if not is_main_process():
            TRAIN.load()(session)
            return
        with locked(session.folder):
            started = time.monotonic()
            try:
                TRAIN.load()(session)
            except KeyboardInterrupt as interruption:
                typer.echo(what_is_kept(TRAIN.name, session.folder), err=True)
                raise typer.Exit(exit_code(interruption)) from None
            note_stage(session.folder, TRAIN.name, time.monotonic() - started)
            point_latest(session)
        say_run(TRAIN, session.folder, as_json=as_json)
