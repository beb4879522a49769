# SPDX-License-Identifier: Apache-2.0
"""``spikefold export``: a run's artefacts, or those of a network trained elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from spikefold.commands.options import LATEST_RUN, Quiet
from spikefold.commands.report import comparisons
from spikefold.commands.screen import Screen, guarded
from spikefold.config import ChipsConfig
from spikefold.errors import ConfigError
from spikefold.session import open_session
from spikefold.stage_table import EXPORT


def export(
    source: Annotated[Path, typer.Argument(help="A run folder, or a FILE.nir or FILE.net.")] = LATEST_RUN,
    from_: Annotated[str | None, typer.Option("--from", help="Instead: net:FILE (lava-dl) or nir:FILE.")] = None,
    chip: Annotated[list[str] | None, typer.Option(help="FILE.nir: a target, as often as you like.")] = None,
    out: Annotated[Path | None, typer.Option(help="FILE.nir: folder for the files.")] = None,
    data: Annotated[str | None, typer.Option(help="FILE.nir: recordings to prove it on, as npz:DIR.")] = None,
    convention: Annotated[str | None, typer.Option(help="FILE.nir: spikefold | sinabs | snntorch wrote it.")] = None,
    steps: Annotated[int | None, typer.Option(help="FILE.nir: time steps of a clip.")] = None,
    dt_us: Annotated[int | None, typer.Option(help="FILE.nir: microseconds of a step.")] = None,
    classes: Annotated[int | None, typer.Option(help="FILE.net: groups of output neurons.")] = None,
    nir: Annotated[list[str] | None, typer.Option(help="FILE.nir: what else it does not say, as reset=zero.")] = None,
    quiet: Quiet = False,
) -> None:
    """Quantise and write every artefact of an adapted run; or of a network trained elsewhere, from its .nir file."""
    given: dict[str, Any] = {"convention": convention, "steps": steps, "dt_us": dt_us}
    with guarded(quiet) as screen:
        kind, file = _kind(source, from_)
        if kind == "nir":
            _refuse({"classes": classes}, "FILE.net")
            _export_file(file, chip, out, data, (given, nir or []), screen)
            return
        if kind == "net":
            _refuse({"chip": chip, "convention": convention, "nir": nir}, "FILE.nir")
            _export_net(file, out, data, {"steps": steps, "dt_us": dt_us, "classes": classes}, screen)
            return
        _refuse(
            given | {"chip": chip, "out": out, "data": data, "nir": nir, "classes": classes}, "FILE.nir or FILE.net"
        )
        session = open_session(source, screen)
        EXPORT.load()(session)
        typer.echo(session.folder)


def _kind(source: Path, from_: str | None) -> tuple[str, Path]:
    """``nir``, ``net`` or ``run``, and the path."""
    if from_ is None:
        suffix = source.suffix.lower().removeprefix(".")
        return (suffix if suffix in ("nir", "net") else "run"), source
    kind, _, name = from_.partition(":")
    if kind not in ("nir", "net") or not name or source != LATEST_RUN:
        raise ConfigError(f"--from {from_}", where="export", hint="net:FILE or nir:FILE, and no other source")
    return kind, Path(name)


def _refuse(given: dict[str, Any], belongs: str) -> None:
    if wrong := [key for key, value in given.items() if value is not None]:
        raise ConfigError(
            f"{', '.join(wrong)} go with {belongs}", where="export", hint="a run folder has its own configuration"
        )


def _export_net(path: Path, out: Path | None, data: str | None, settings: dict[str, Any], screen: Screen) -> None:
    from spikefold.stages.exchange.export_net import export_net, imported

    network, clips = imported(path, data, screen, **settings)
    _tell(export_net(path, _folder(out, path), network, screen, clips), out)


def _folder(out: Path | None, path: Path) -> Path:
    if out is None:
        raise ConfigError("no folder for the files", where="--out", hint=f"for example --out {path.stem}_chips")
    return out


def _export_file(
    path: Path,
    chips: list[str] | None,
    out: Path | None,
    data: str | None,
    settings: tuple[dict[str, Any], list[str]],
    screen: Screen,
) -> None:
    from spikefold.export.nir.options import nir_options
    from spikefold.stages.exchange.export_nir import clips_of, export_file

    options, clips, calibration = nir_options(settings[1], **settings[0]), None, None
    if data is not None:
        options, clips, calibration = clips_of(data, path, options, screen)
    folder = _folder(out, path)
    _tell(export_file(path, chips or ChipsConfig().names, folder, options, screen, clips, calibration), out)


def _tell(content: dict[str, Any], out: Path | None) -> None:
    for name, found in content["accuracy"].items():
        low, high = found["interval"]
        typer.echo(f"{name:>10}  accuracy {found['accuracy']:.3f} ({low:.2f} to {high:.2f})")
    for line in comparisons(content):
        typer.echo(line)
    typer.echo(out)
