# SPDX-License-Identifier: Apache-2.0
"""``spikefold validate``: compare the runners of each chip, or a board with its simulator."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
from spikefold.commands.options import LATEST_RUN, Json, Quiet, Sets
from spikefold.commands.report import comparisons, refreshed_report
from spikefold.commands.screen import Screen, guarded
from spikefold.commands.stage_command import again, say_run
from spikefold.errors import ConfigError, MismatchError
from spikefold.provenance.lock import locked
from spikefold.session import Session, open_session
from spikefold.stage_table import VALIDATE, may_change

if TYPE_CHECKING:
    import numpy as np

    from spikefold.export.network import Network


def validate(
    source: Annotated[str, typer.Argument(help="A run folder, or a FILE.nir or FILE.net.")] = str(LATEST_RUN),
    on: Annotated[str | None, typer.Option(help="A board instead, as speck2fdevkit:0.")] = None,
    clips: Annotated[int, typer.Option(min=1, help="--on: test clips.")] = 10,
    repeats: Annotated[int, typer.Option(min=1, help="--on: runs of every clip, for their spread.")] = 3,
    reduce: Annotated[Path | None, typer.Option(help="Folder for the smallest case that differs.")] = None,
    sets: Sets = None,
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
            if on is not None or sets:
                raise ConfigError(
                    "--on and --set belong to a run", where="validate", hint="export it, then ask a board"
                )
            said = asked(convention, steps, dt_us, classes, input_shape, nir, no_input_bias)
            _validate_own(own, said, chip, data, screen, reduce)
            return
        refuse_for_a_run(
            chip=chip, data=data, convention=convention, steps=steps, dt_us=dt_us, classes=classes,
            input_shape=input_shape, nir=nir, no_input_bias=no_input_bias,
        )  # fmt: skip
        folder = Path(source)
        if reduce is not None:
            _reduce_run(open_session(folder, screen, tuple(sets or []), may_change(VALIDATE)), reduce, on, screen)
            return
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


def _reduce_run(session: Session, out: Path, on: str | None, screen: Screen) -> None:
    from spikefold.stages.validate import networks_of

    if on is not None:
        raise ConfigError("--on and --reduce", where="validate", hint="what a board did is in 6_validate/board.json")
    config = session.config.chips
    clips = session.clips_over_classes("test", config.parity_clips)
    _reduced(networks_of(session), clips.frames, config.vendor_clips, out, screen)


def _reduced(
    networks: Mapping[str, tuple[Network, Network]], frames: np.ndarray, vendor_clips: int, out: Path, screen: Screen
) -> None:
    """Write the smallest case that differs; exit code 1 where there is one."""
    from spikefold.stages.verbs.reduce_mismatch import reduce_mismatches

    found = reduce_mismatches(networks, frames, vendor_clips, out, screen)
    if not found:
        typer.echo("every spike is equal: nothing to reduce, and nothing was written")
        return
    for key, left in found.items():
        typer.echo(f"{out / key}: {left.describe()}")
    raise MismatchError(
        f"{', '.join(found)} differ from the reference",
        where=str(out),
        hint="`load_case` of spikefold.stages.verbs.reduce_mismatch runs one again",
    )


def _validate_own(
    source: str, said: object, chips: list[str] | None, data: str | None, screen: Screen, reduce: Path | None
) -> None:
    from spikefold.stages.exchange.compare import compare_network, networks_to_compare
    from spikefold.stages.exchange.export_network import CHECKS
    from spikefold.stages.exchange.foreign import Asked, opened

    if data is None or not isinstance(said, Asked):
        raise ConfigError("nothing to compare it on", where="--data", hint="recordings of its classes, as npz:DIR")
    found, clips = opened(source, said, screen, data)
    if found.chip is not None:
        refuse_other_chips(found.chip, chips)
    if clips is not None and reduce is not None:
        networks, _ = networks_to_compare(found, chips_of(chips), clips)
        _reduced(networks, clips.test.first(CHECKS.parity_clips).frames, CHECKS.vendor_clips, reduce, screen)
    elif clips is not None:
        content = {"parity": compare_network(found, chips_of(chips), clips, screen), "not_run": []}
        for line in comparisons(content):
            typer.echo(line)
