# SPDX-License-Identifier: Apache-2.0
"""``spikefold validate``: compare the runners of each chip, or a board with its simulator."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from spikefold.commands.export import refuse_other_chips
from spikefold.commands.importing.options import (
    Convention,
    From,
    Groups,
    InputShape,
    Nir,
    NoInputBias,
    OnChips,
    Recordings,
    Steps,
    StepUs,
    asked,
    chips_of,
    foreign_source,
    refuse_for_a_run,
)
from spikefold.commands.options import LATEST_RUN, Address, Json, Quiet, Sets, Workers
from spikefold.commands.report import comparisons, refreshed_report
from spikefold.commands.screen import Screen, guarded
from spikefold.commands.stage_command import again, say_run
from spikefold.errors import ConfigError
from spikefold.provenance.lock import locked
from spikefold.session import Session, open_session
from spikefold.stage_table import VALIDATE, may_change


def validate(
    source: Annotated[str, typer.Argument(help="A run folder, or a FILE.nir or FILE.net.")] = str(LATEST_RUN),
    on: Annotated[str | None, typer.Option(help="A board instead, as speck2fdevkit:0.")] = None,
    clips: Annotated[int, typer.Option(min=1, help="--on: test clips.")] = 10,
    repeats: Annotated[int, typer.Option(min=1, help="--on: runs of every clip, for their spread.")] = 3,
    sets: Sets = None,
    workers: Workers = None,
    address: Address = None,
    from_: From = None,
    chip: OnChips = None,
    data: Recordings = None,
    convention: Convention = None,
    steps: Steps = None,
    dt_us: StepUs = None,
    classes: Groups = None,
    input_shape: InputShape = None,
    nir: Nir = None,
    no_input_bias: NoInputBias = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run the stage, or clips on a board, or compare runners on your own network; exit code 1 where spikes differ.

    For example: spikefold validate runs/latest --on speck2fdevkit:0
    """
    with guarded(quiet) as screen:
        own = foreign_source(source, from_, str(LATEST_RUN))
        if own is not None:
            if on is not None or sets or workers or address:
                raise ConfigError(
                    "--on, --set and --workers belong to a run", where="validate", hint="export it, then ask a board"
                )
            said = asked(convention, steps, dt_us, classes, input_shape, nir, no_input_bias)
            _validate_own(own, said, chip, data, screen)
            return
        refuse_for_a_run(
            chip=chip, data=data, convention=convention, steps=steps, dt_us=dt_us, classes=classes,
            input_shape=input_shape, nir=nir, no_input_bias=no_input_bias,
        )  # fmt: skip
        folder = Path(source)
        if on is None:
            again(VALIDATE, folder, sets or [], screen, _on_workers(workers, address))
        else:
            _on_board(open_session(folder, screen, tuple(sets or []), may_change(VALIDATE)), on, clips, repeats)
        say_run(VALIDATE, folder, as_json=as_json)


def _on_workers(workers: int | None, address: str | None) -> Callable[[Session], object] | None:
    """The stage by a cluster's workers; None for this process."""
    if workers is None and address is None:
        return None
    from spikefold.stages.spread.engine import cluster_of
    from spikefold.stages.spread.validation import compare_spread
    from spikefold.stages.validate import validate_stage

    cluster = cluster_of(workers, address)
    return None if cluster is None else partial(validate_stage, compare=partial(compare_spread, cluster=cluster))


def _on_board(session: Session, on: str, clips: int, repeats: int) -> None:
    """The report shows what the board did, agreed or not."""
    from spikefold.stages.on_board import validate_on

    with locked(session.folder):
        try:
            validate_on(session, on, clips, repeats)
        finally:
            refreshed_report(session)


def _validate_own(source: str, said: object, chips: list[str] | None, data: str | None, screen: Screen) -> None:
    from spikefold.stages.exchange.compare import compare_network
    from spikefold.stages.exchange.foreign import Asked, opened

    if data is None or not isinstance(said, Asked):
        raise ConfigError("nothing to compare it on", where="--data", hint="recordings of its classes, as npz:DIR")
    found, clips = opened(source, said, screen, data)
    if found.chip is not None:
        refuse_other_chips(found.chip, chips)
    if clips is not None:
        content = {"parity": compare_network(found, chips_of(chips), clips, screen), "not_run": []}
        for line in comparisons(content):
            typer.echo(line)
