# SPDX-License-Identifier: Apache-2.0
"""``spikefold run`` and its stages one at a time, on run folders."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from spikefold.commands.options import LATEST_RUN, Budget, ConfigFile, Data, Out, Quiet, RunFolder, Sets
from spikefold.commands.screen import Screen, guarded
from spikefold.config import Config, load_config
from spikefold.errors import ConfigError
from spikefold.session import Session, keep_config, new_session, open_session, point_latest
from spikefold.train.processes.main_process import is_main_process

_DEPENDS_ON = {
    "fold": ("gates", "adapt", "chips"),
    "adapt": ("adapt",),
    "validate": ("chips",),
    "energy": ("energy_profile", "energy_rule", "chips.power", "chips.core_limit"),
}
"""For each stage the sections of the configuration that may still change when it runs again."""
STAGES = ("train", "fold", "adapt", "export", "simulate", "validate", "energy")


def _configured(config: Path | None, sets: list[str] | None, data: str | None, budget: float | None = None) -> Config:
    found = load_config(config, (*(sets or []), *_budgeted(budget)))
    if data is None:
        return found
    # set as it is: a path may hold quotes and line ends, which TOML would read in its own way
    return found.model_copy(update={"data": found.data.model_copy(update={"source": data})})


def _budgeted(budget: float | None) -> list[str]:
    return [] if budget is None else [f"adapt.synops_budget={budget}"]


def run(
    config: ConfigFile = None,
    sets: Sets = None,
    data: Data = None,
    out: Out = None,
    quiet: Quiet = False,
    synops_budget: Budget = None,
) -> None:
    """Everything: train, fold, adapt, export to both chips, simulate, compare every spike, count energy, report."""
    with guarded(quiet or not is_main_process()) as screen:
        session = new_session(_configured(config, sets, data, synops_budget), out, screen)
        for name in STAGES:
            if name != "train" and not is_main_process():
                return  # torchrun's other processes are for the training alone
            started = time.monotonic()
            stage(name)(session)
            screen.line(f"{name} took {time.monotonic() - started:.1f} s")
        _report(session)
        point_latest(session)


def train(
    config: ConfigFile = None,
    sets: Sets = None,
    data: Data = None,
    out: Out = None,
    resume: Annotated[Path | None, typer.Option(help="A run whose training was interrupted.")] = None,
    quiet: Quiet = False,
) -> None:
    """Train the network and its vanilla baseline into a new run folder; under torchrun, on several processes."""
    with guarded(quiet or not is_main_process()) as screen:
        if resume is None:
            session = new_session(_configured(config, sets, data), out, screen)
        else:
            from spikefold.stages.train import unfinished

            if config or sets or data or out:
                raise ConfigError("--resume goes alone", where="train", hint="the run has its own configuration")
            session = new_session(unfinished(resume), resume, screen)
        stage("train")(session)
        if is_main_process():
            point_latest(session)
            typer.echo(session.folder)


def stage(name: str) -> Callable[[Session], None]:
    """A stage's function; the module is loaded on demand, for ``--help`` must start without PyTorch."""
    found: Callable[[Session], None] = getattr(import_module(f"spikefold.stages.{name}"), f"{name}_stage")
    return found


def again(name: str, folder: Path, overrides: list[str], screen: Screen) -> None:
    """Run one stage of a run, with settings that only it and later stages depend on."""
    session = open_session(folder, screen, tuple(overrides), _DEPENDS_ON.get(name, ()))
    stage(name)(session)
    if overrides:
        keep_config(session)
    typer.echo(session.folder)


def stage_command(name: str, summary: str) -> Callable[..., None]:
    """The command that runs one stage again."""

    def command(folder: RunFolder = LATEST_RUN, sets: Sets = None, quiet: Quiet = False) -> None:
        with guarded(quiet) as screen:
            again(name, folder, sets or [], screen)

    command.__doc__ = summary
    return command


def adapt(
    folder: RunFolder = LATEST_RUN, sets: Sets = None, synops_budget: Budget = None, quiet: Quiet = False
) -> None:
    """Fine-tune the folded network in each chip's own integers, within a budget of operations if you like."""
    with guarded(quiet) as screen:
        again("adapt", folder, list(sets or []) + _budgeted(synops_budget), screen)


fold = stage_command("fold", "Calibrate the attention, choose its static form, fold, and give each chip its neurons.")
simulate = stage_command("simulate", "Run every network of an exported run over the test set.")


_ANALYSE = "Firing rates, spike features and potentials of the network and its baseline, as the paper measures them."
analyse = stage_command("analyse", _ANALYSE)


def validate(
    folder: RunFolder = LATEST_RUN,
    on: Annotated[str | None, typer.Option(help="A board instead, as speck2fdevkit:0.")] = None,
    clips: Annotated[int, typer.Option(min=1, help="--on: test clips.")] = 10,
    repeats: Annotated[int, typer.Option(min=1, help="--on: runs of every clip, for their spread.")] = 3,
    sets: Sets = None,
    quiet: Quiet = False,
) -> None:
    """Compare all runners of each chip spike for spike, or a board with its simulator; exit 1 where they differ."""
    with guarded(quiet) as screen:
        if on is None:
            again("validate", folder, sets or [], screen)
            return
        from spikefold.stages.on_board import validate_on

        validate_on(open_session(folder, screen, tuple(sets or []), _DEPENDS_ON["validate"]), on, clips, repeats)
        typer.echo(folder)


def report(folder: RunFolder = LATEST_RUN, quiet: Quiet = False) -> None:
    """Write report.json and report.html of a run whose stages are done."""
    with guarded(quiet) as screen:
        _report(open_session(folder, screen))


def _report(session: Session) -> None:
    from spikefold.report import report_stage

    content = report_stage(session)
    for line in _summary(content):
        typer.echo(line)
    typer.echo(session.folder / "report.html")


def _summary(content: dict[str, Any]) -> Iterator[str]:
    for step in content["accuracy_ladder"]:
        low, high = step["interval"]
        spikes = f"spikes/clip {step['spikes_per_clip']:,.0f}"
        yield f"{step['name']:>10}  accuracy {step['accuracy']:.3f} ({low:.2f} to {high:.2f})  {spikes}"
        if step["voted"]:
            voted = step["voted"]
            yield f"{'':>10}  {voted['accuracy']:.3f} by the vote of {voted['clips']} clips a recording"
    yield from comparisons(content)


def comparisons(content: dict[str, Any]) -> Iterator[str]:
    """Lines on what was held against each other, and on what was not run."""
    for chip, parity in content["parity"].items():
        yield (
            f"{chip:>10}  {' = '.join(parity['runners'])}: {parity['mismatches']} mismatches in "
            f"{parity['spikes']:,} spikes of {parity['neurons']:,} neurons"
        )
    for item in content["not_run"]:
        yield f"   NOT RUN  {item['what']}: {item['why']}"
