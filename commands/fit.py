# SPDX-License-Identifier: Apache-2.0
"""``spikefold fit``: does a network fit a chip, what does it take, what would make it fit, and what faster?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spikefold.commands.importing.own_network import OwnNetwork, takes_own_network
from spikefold.commands.options import Attention, Classes, Json, Out
from spikefold.commands.screen import Screen, guarded
from spikefold.commands.tables import say_json, show
from spikefold.errors import ConfigError, UnsupportedError
from spikefold.provenance.lock import locked
from spikefold.session import open_session

if TYPE_CHECKING:
    from spikefold.hardware.chip import Chip
    from spikefold.hardware.fit import FitReport
    from spikefold.stages.exchange.source import Asked
    from spikefold.stages.verbs.pace_of import Pace

_CHIP = "One of `spikefold chips`; by default the first of a run's."
_APPLY = "Make it fit: a configuration to train (--arch), or fewer channels in the run's folded network."


@takes_own_network("chip", "data", "classes")
def fit(
    own: OwnNetwork,
    model: Annotated[str | None, typer.Argument(help="A run folder, FILE.nir or FILE.net.")] = None,
    arch: Annotated[str | None, typer.Option(help="Instead: a network by name; `spikefold inspect`.")] = None,
    chip: Annotated[str | None, typer.Option(help=_CHIP)] = None,
    attention: Attention = None,
    classes: Classes = None,
    sensor: Annotated[str | None, typer.Option(help="--arch: ROWSxCOLUMNS of your recordings, as 34x34.")] = None,
    apply: Annotated[bool, typer.Option("--apply", help=_APPLY)] = False,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Every rule of the chip that a network breaks, or what it takes of it. Exit code 3 where it does not fit.

    For example: spikefold fit --arch a --chip speck2f --sensor 34x34 --apply
    """
    with guarded(quiet=as_json) as screen:
        from spikefold.config import ChipsConfig
        from spikefold.hardware.registry import chip_named

        foreign = own.source(model)
        if [model or own.from_, arch].count(None) != 1:
            hint = "a run folder, FILE.nir, net:FILE, --from torch:... or --arch NAME"
            raise ConfigError("name one network", where="fit", hint=hint)
        target, pace, pixels = chip_named(chip or ChipsConfig().names[0]), None, _pixels(sensor, arch)
        if foreign is not None:
            if apply:
                hint = "there is no data to fine-tune it on: train a network that fits, see `fit --arch`"
                raise ConfigError(f"{foreign} cannot be changed here", where="--apply", hint=hint)
            report, pace = _asked_own(foreign, own.asked(classes), target, screen)
            content = report.to_json() | {"pace": None if pace is None else pace.to_json()}
        elif apply:
            content, report = _applied(model, arch, attention, classes, target, out, screen, pixels)
        else:
            own.refuse_for_a_run()
            report, pace = _asked(model, arch, attention, classes, target, screen, pixels)
            content = report.to_json() | {"pace": None if pace is None else pace.to_json()}
        if as_json:
            say_json(content)
        else:
            _tell(report, content)
            if pace is not None:
                typer.echo(pace.describe())
        if not report.fits:
            raise typer.Exit(UnsupportedError.exit_code)


def _asked(
    model: str | None,
    arch: str | None,
    attention: str | None,
    classes: int | None,
    chip: Chip,
    screen: Screen,
    sensor: tuple[int, int] | None,
) -> tuple[FitReport, Pace | None]:
    """Whether it fits, and what sets its pace where its spikes are known."""
    if arch is not None:
        from spikefold.stages.verbs.check_architecture import fit_architecture
        from spikefold.train.deploy.fit_model import sized
        from spikefold.train.models.architectures import architecture

        named = architecture(arch, classes, attention)
        return fit_architecture(named if sensor is None else sized(named, sensor), chip), None
    from spikefold.stages.verbs.check_fit import fit_run

    session = open_session(Path(str(model)), screen)
    report = fit_run(session, chip)
    if not report.fits or chip.core_work is None:
        return report, None  # without what runs spikes, which takes longer to load than this
    from spikefold.stages.verbs.pace_of import pace_of_run

    return report, pace_of_run(session, chip)


def _asked_own(foreign: str, said: Asked, chip: Chip, screen: Screen) -> tuple[FitReport, Pace | None]:
    """The same of a network trained elsewhere, which has no spikes but those of its biases."""
    from spikefold.stages.exchange.foreign import opened
    from spikefold.stages.verbs import check_fit, pace_of

    # how long a clip is does not matter here, and a .net file may not say it
    found, _ = opened(foreign, replace(said, steps=said.steps or pace_of.FILE_STEPS), screen)
    report = check_fit.fit_network(found.network, chip, found.name, folded=found.chip is not None)
    if found.chip is None or not report.fits:
        return report, None
    return report, pace_of.pace_of_network(found.network, chip)


def _applied(
    model: str | None,
    arch: str | None,
    attention: str | None,
    classes: int | None,
    chip: Chip,
    out: Path | None,
    screen: Screen,
    sensor: tuple[int, int] | None,
) -> tuple[dict[str, Any], FitReport]:
    from spikefold.stages.verbs import narrow_run
    from spikefold.train.models.architectures import architecture

    if arch is not None:
        file = out or Path(f"{arch}-{chip.name}.toml")
        proposal = narrow_run.apply_to_architecture(architecture(arch, classes, attention), chip, file, sensor)
        told = {"written": str(file), "next": f"spikefold run --config {file} --data YOUR_RECORDINGS"}
        return proposal.to_json() | told, proposal.report
    name = str(model)
    session = open_session(Path(name), screen)
    with locked(session.folder):
        narrowed = narrow_run.narrow_run(session, chip)
    told = {"written": name, "next": f"spikefold adapt {name} && spikefold run --out {name}"}
    return narrowed.to_json() | told, narrowed.after


def _pixels(sensor: str | None, arch: str | None) -> tuple[int, int] | None:
    """Rows and columns of ``--sensor``.

    Raises:
        ConfigError: they cannot be read, or no architecture is asked about.
    """
    if sensor is None:
        return None
    rows, _, columns = sensor.lower().partition("x")
    if not (rows.isdecimal() and columns.isdecimal() and int(rows) and int(columns)):
        raise ConfigError(f"{sensor!r} is no size", where="--sensor", hint="rows x columns in pixels, as 34x34")
    if arch is None:
        raise ConfigError("--sensor goes with --arch", where="--sensor", hint="a run and a file know their input")
    return int(rows), int(columns)


def _tell(report: FitReport, content: dict[str, Any]) -> None:
    from spikefold.hardware.chip import Table

    for change in content.get("changes", ()):
        typer.echo(f"{change['what']}: {change['before']} -> {change['after']}, or else")
        for why in change["why"]:
            typer.echo(f"    {why}")
    for layer, (kept, of) in content.get("channels", {}).items():
        typer.echo(f"{layer}: {kept} of {of} channels kept")
    if "written" in content:
        typer.echo(f"written: {content['written']}")
        typer.echo(f"next: {content['next']}")
    if not report.fits:
        typer.echo(f"{report.network} does not fit {report.chip}: {len(report.violations)} rules broken")
        for rule in dict.fromkeys(issue.rule for issue in report.violations):
            typer.echo(f"  {rule}")
            for issue in [issue for issue in report.violations if issue.rule == rule]:
                typer.echo(f"    {issue.where}: {issue.got}; allowed: {issue.limit}. To do: {issue.hint}")
    else:
        typer.echo(f"{report.network} fits {report.chip}")
    if report.resources is None:
        return
    found = report.resources
    rows = [
        (
            use.layer,
            str(use.cores),
            use.limited_by,
            ", ".join(f"{name} {used:,} of {allowed:,}" for name, (used, allowed) in use.memory.items()),
        )
        for use in found.layers
    ]
    how = "estimated: the vendor's own placement is not public" if found.estimate else "exact"
    title = f"{found.cores} cores on {found.chips} chip{'s' * (found.chips != 1)} ({how})"
    show(Table(title, ("layer", "cores", "limited by", "used of a core"), tuple(rows)))
    for name, core in found.placement.items():
        typer.echo(f"  {name} on core {core}")
