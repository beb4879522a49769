# SPDX-License-Identifier: Apache-2.0
"""``spikefold validate``: compare the runners of each chip, or a board with its simulator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spikefold.commands.importing.own_network import OwnNetwork, refuse_other_chips, takes_own_network
from spikefold.commands.options import LATEST_RUN, Address, Json, Quiet, Sets, Workers
from spikefold.commands.report import refreshed_report
from spikefold.commands.screen import Screen, guarded
from spikefold.commands.stage_command import again, say_run
from spikefold.commands.summary import comparisons
from spikefold.commands.tables import say_json
from spikefold.errors import ConfigError, MismatchError
from spikefold.provenance.lock import locked
from spikefold.session import Session, open_session
from spikefold.stage_table import VALIDATE, may_change

if TYPE_CHECKING:
    import numpy as np

    from spikefold.export.network import Network


@takes_own_network()
def validate(
    own: OwnNetwork,
    source: Annotated[str, typer.Argument(help="A run folder, or a FILE.nir or FILE.net.")] = str(LATEST_RUN),
    on: Annotated[str | None, typer.Option(help="A board instead, as speck2fdevkit:0.")] = None,
    clips: Annotated[int, typer.Option(min=1, help="--on: test clips.")] = 10,
    repeats: Annotated[int, typer.Option(min=1, help="--on: runs of every clip, for their spread.")] = 3,
    reduce: Annotated[Path | None, typer.Option(help="Folder for the smallest case that differs.")] = None,
    sets: Sets = None,
    workers: Workers = None,
    address: Address = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run the stage, or clips on a board, or compare runners on your own network; exit code 1 where spikes differ.

    For example: spikefold validate runs/latest --on speck2fdevkit:0
    """
    with guarded(quiet) as screen:
        foreign = own.source(source, str(LATEST_RUN))
        if foreign is not None:
            if on is not None or sets or workers or address:
                raise ConfigError(
                    "--on, --set and --workers belong to a run", where="validate", hint="export it, then ask a board"
                )
            _validate_own(foreign, own, screen, reduce, as_json=as_json)
            return
        own.refuse_for_a_run()
        folder = Path(source)
        if reduce is not None:
            _reduce_run(open_session(folder, screen, tuple(sets or []), may_change(VALIDATE)), reduce, on, screen)
            return
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


def _validate_own(source: str, own: OwnNetwork, screen: Screen, reduce: Path | None, *, as_json: bool) -> None:
    from spikefold.stages.exchange.compare import compare_network, networks_to_compare
    from spikefold.stages.exchange.fitted import CHECKS
    from spikefold.stages.exchange.foreign import opened

    if own.data is None:
        raise ConfigError("nothing to compare it on", where="--data", hint="recordings of its classes, as npz:DIR")
    found, clips = opened(source, own.asked(), screen, own.data)
    if found.chip is not None:
        refuse_other_chips(found.chip, own.chip)
    if clips is None:
        return
    if reduce is not None:
        networks, _ = networks_to_compare(found, own.chips, clips)
        _reduced(networks, clips.test.first(CHECKS.parity_clips).frames, CHECKS.vendor_clips, reduce, screen)
        return

    def tell(parity: dict[str, Any]) -> None:
        content = {"parity": parity, "not_run": []}
        if as_json:
            say_json(content)
            return
        for line in comparisons(content):
            typer.echo(line)

    compare_network(found, own.chips, clips, screen, tell)
