# SPDX-License-Identifier: Apache-2.0
"""``spikefold export``: a run's artefacts, or those of a network trained elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

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
from spikefold.commands.options import LATEST_RUN, Json, Quiet
from spikefold.commands.report import comparisons
from spikefold.commands.screen import Screen, guarded
from spikefold.commands.stage_command import again, say_run
from spikefold.commands.tables import say_json
from spikefold.errors import ConfigError
from spikefold.stage_table import EXPORT


def export(
    source: Annotated[str, typer.Argument(help="A run folder, or a FILE.nir or FILE.net.")] = str(LATEST_RUN),
    from_: From = None,
    chip: OnChips = None,
    out: Annotated[Path | None, typer.Option(help="A network of your own: folder for the files.")] = None,
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
    """Quantise and write every artefact of an adapted run; or of a network trained elsewhere, from its .nir file.

    For example: spikefold export model.nir --chip speck2f --out chips --data npz:DIR
    """
    with guarded(quiet) as screen:
        own = foreign_source(source, from_, str(LATEST_RUN))
        if own is not None:
            said = asked(convention, steps, dt_us, classes, input_shape, nir, no_input_bias)
            _export_own(own, said, chip, out, data, screen, as_json=as_json)
            return
        refuse_for_a_run(
            chip=chip, out=out, data=data, convention=convention, steps=steps, dt_us=dt_us, classes=classes,
            input_shape=input_shape, nir=nir, no_input_bias=no_input_bias,
        )  # fmt: skip
        again(EXPORT, Path(source), [], screen)
        say_run(EXPORT, Path(source), as_json=as_json)


def _export_own(
    source: str, said: Any, chips: list[str] | None, out: Path | None, data: str | None, screen: Screen, *,
    as_json: bool,
) -> None:  # fmt: skip
    from spikefold.stages.exchange.export_net import export_net
    from spikefold.stages.exchange.export_network import export_network
    from spikefold.stages.exchange.foreign import opened

    if out is None:
        raise ConfigError("no folder for the files", where="--out", hint="for example --out chips")
    found, clips = opened(source, said, screen, data)

    def tell(content: dict[str, Any]) -> None:
        if as_json:
            say_json({"folder": str(out), **content})
        else:
            _tell(content, out)

    if found.chip is not None:
        refuse_other_chips(found.chip, chips)
        path = Path(source.removeprefix("net:"))
        export_net(path, out, found.network, screen, None if clips is None else clips.test, tell)
        return
    test, calibration = (None, None) if clips is None else (clips.test, clips.calibration)
    export_network(found, chips_of(chips), out, screen, test, calibration, tell)


def refuse_other_chips(only: str, chips: list[str] | None) -> None:
    """Refuse other targets for a network that is in one chip's integers.

    Raises:
        ConfigError: another chip was named.
    """
    if others := [name for name in chips or () if name != only]:
        raise ConfigError(
            f"the file holds the integers of {only}, which {', '.join(others)} cannot take",
            where="--chip", hint="leave --chip out, or bring the network before it was quantised",
        )  # fmt: skip


def _tell(content: dict[str, Any], out: Path) -> None:
    for name, found in content["accuracy"].items():
        low, high = found["interval"]
        typer.echo(f"{name:>10}  accuracy {found['accuracy']:.3f} ({low:.2f} to {high:.2f})")
    for name, chip in content["chips"].items():
        for note in chip["notes"]:
            typer.echo(f"{name:>10}  {note}")
    for line in comparisons(content):
        typer.echo(line)
    typer.echo(out)
