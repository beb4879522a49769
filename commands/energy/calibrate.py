# SPDX-License-Identifier: Apache-2.0
"""``spikefold energy calibrate``: power measurements of a board become a technology profile."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spikefold.commands.options import Json
from spikefold.commands.screen import guarded
from spikefold.commands.tables import say_json
from spikefold.errors import ConfigError

_PROFILE = "The profile that the measured numbers go into; by default the one that is published of the default chip."
_SOURCES = "Run folders that a board ran, their board.json, or CSV files with synops_per_s and power_mw."


def calibrate(
    sources: Annotated[list[Path], typer.Argument(help=_SOURCES)],
    out: Annotated[Path, typer.Option(help="The profile to write, for --set chips.power.speck2f=FILE.toml.")],
    device: Annotated[str, typer.Option(help="What was measured, for the profile.")],
    chip: Annotated[str | None, typer.Option(help=_PROFILE)] = None,
    as_json: Json = False,
) -> None:
    """Fit power = rest + running + pJ per synaptic operation x rate to measurements of a board, as a profile.

    For example: spikefold energy calibrate runs/mine --device 'board 3' --out mine.toml
    """
    with guarded():
        from datetime import UTC, datetime

        from spikefold.config import ChipsConfig
        from spikefold.energy.prices.calibrate import fit_terms, write_profile
        from spikefold.energy.prices.calibration_data import read_measurements
        from spikefold.hardware.registry import chip_named

        if out.exists():
            raise ConfigError("something is there, and would be lost", where=str(out), hint="choose another --out")
        profile = chip or chip_named(ChipsConfig().names[0]).published.own
        if profile is None:
            raise ConfigError("nothing is published of the default chip", where="--chip", hint="name a profile")
        given = read_measurements(sources)
        found = fit_terms(given.points)
        when = datetime.now(UTC).date()
        write_profile(found, out, device=device, when=when, offset_mw=given.offset_mw, chip=profile)
        if as_json:
            say_json({"profile": str(out), "found": found.describe()})
            return
        typer.echo(found.describe())
        typer.echo(out)
