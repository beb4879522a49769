# SPDX-License-Identifier: Apache-2.0
"""``spikefold sweep``: many designs, each a run, and the front of accuracy against energy against cores."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spikefold.commands.interrupted import exit_code
from spikefold.commands.options import Address, Json, Quiet, Workers
from spikefold.commands.screen import guarded
from spikefold.commands.tables import say_json, show
from spikefold.provenance.lock import locked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spikefold.stages.sweep.point import Point

SWEEPS = Path("sweeps")
_SPACE = "TOML: [base] for all designs, [axes] with a list of values for each key; docs/scale.md."
_OUT = "Folder of the designs, the table and the picture; sweeps/NAME of the space by default."
_WORST_FIRST = (5, 4, 1, 6, 2)
"""Exit codes of designs: the first of these that occurred is that of the sweep."""


def sweep(
    space: Annotated[Path, typer.Argument(help=_SPACE)],
    out: Annotated[Path | None, typer.Option("--out", help=_OUT)] = None,
    workers: Workers = None,
    address: Address = None,
    retry: Annotated[bool, typer.Option("--retry", help="Make those that failed again.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Many designs from one file: each a run of its own, with a table and a picture of the best.

    A design whose report stands is not made again, and one that was begun goes on, so an interrupted sweep goes on
    by the same command. One that fails is a row with its message. Exit code 0 where every design has a report or does
    not fit its chip, else that of the worst. For example: spikefold sweep space.toml --workers 4
    """
    with guarded(quiet) as screen:
        from spikefold.commands.sweeping.one_design import made_apart
        from spikefold.stages.spread.engine import cluster_of
        from spikefold.stages.sweep.make import make_designs, points
        from spikefold.stages.sweep.space import read_space
        from spikefold.stages.sweep.write import write_sweep

        designs, cluster = read_space(space), cluster_of(workers, address)
        folder = out or SWEEPS / space.stem
        interruption = None
        with locked(folder):
            try:
                make_designs(designs, folder, made_apart, screen, cluster, retry=retry)
            except KeyboardInterrupt as stopped:
                interruption = stopped
            found = points(designs, folder)
            content = write_sweep(found, folder, space.stem)
        _say(content, found, folder, as_json=as_json)
        if interruption is not None:
            made = sum(point.code is not None for point in found)
            typer.echo(f"interrupted: {made} of {len(found)} designs are made; the same command goes on", err=True)
            raise typer.Exit(exit_code(interruption))
    codes = {point.code for point in found}
    if code := next((one for one in _WORST_FIRST if one in codes), 0):
        raise typer.Exit(code)


def _say(content: dict[str, Any], found: Sequence[Point], folder: Path, *, as_json: bool) -> None:
    from spikefold.hardware.chip import Table
    from spikefold.stages.sweep.write import PAGE

    if as_json:
        say_json({"folder": str(folder), **content})
        return
    rows = [
        (
            point["name"],
            chip,
            "front" if one["on_front"] else "",
            f"{one['accuracy']:.3f}",
            f"{one['energy_uj']:,.3f}",
            "" if one["cores"] is None else str(one["cores"]),
            _values(point["values"]),
        )
        for point in content["designs"]
        for chip, one in point["chips"].items()
    ]
    columns = ("design", "chip", "", "accuracy", "uJ/clip", "cores", "values")
    if rows:
        show(Table(f"{len(found)} designs", columns, tuple(rows)))
    for point in found:
        if point.error:
            typer.echo(f"failed: {point.name} ({_values(point.values)}): {point.error.splitlines()[0]}")
    typer.echo(folder / PAGE)


def _values(values: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in values.items())
