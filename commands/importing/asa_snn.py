# SPDX-License-Identifier: Apache-2.0
"""``spikefold import asa-snn CHECKPOINT``: a state dict of the paper's published code as a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spikefold.commands.options import ConfigFile, Data, Json, Quiet, Sets, configured
from spikefold.commands.screen import guarded
from spikefold.commands.stage_command import say_run
from spikefold.stage_table import TRAIN


def asa_snn(
    checkpoint: Annotated[Path, typer.Argument(help="FILE.pth with a state dict; tensors alone are read.")],
    arch: Annotated[str, typer.Option(help="a | b | c | d of BICLab/ASA-SNN, or sew18 of SpikingJelly.")],
    out: Annotated[Path, typer.Option(help="Run folder.")],
    data: Data = None,
    reduction: Annotated[
        int | None, typer.Option(min=1, help="-reduction of the training, to be held against the tensors.")
    ] = None,
    config: ConfigFile = None,
    sets: Sets = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write RUN/1_train from the authors' weights and your recordings; then `spikefold fold RUN` and the rest.

    For example: spikefold import asa-snn gait.pth --arch a --data gait-day:DIR --out runs/gait
    """
    with guarded(quiet) as screen:
        from spikefold.stages.exchange.import_checkpoint import import_asa_snn

        session = import_asa_snn(checkpoint, arch, out, configured(config, sets or [], data), screen, reduction)
        say_run(TRAIN, session.folder, as_json=as_json)
