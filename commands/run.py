# SPDX-License-Identifier: Apache-2.0
"""``spikefold run``: all stages of a run that are not done yet, and its report."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spikefold.commands.gates import Gates, check_gates, read_gates
from spikefold.commands.interrupted import exit_code, what_is_kept
from spikefold.commands.options import (
    Budget,
    Chips,
    ConfigFile,
    Data,
    Json,
    Out,
    Quiet,
    Sets,
    Tensorboard,
    budgeted,
    configured,
)
from spikefold.commands.report import written_report
from spikefold.commands.screen import Screen, guarded
from spikefold.commands.summary import say_report
from spikefold.errors import ConfigError, MismatchError, nearest
from spikefold.provenance.lock import locked
from spikefold.provenance.manifest import note_stage
from spikefold.provenance.same_run import config_of, same_run
from spikefold.session import CONFIG, Session, keep_config, new_session, point_latest
from spikefold.stage_table import ADAPT, REPORTS, STAGES, TRAIN, VALIDATE, Stage
from spikefold.train.processes.main_process import is_main_process, world
from spikefold.train.processes.pool import worker_context

if TYPE_CHECKING:
    from spikefold.config import Config

_RUNS = Path("runs")
Force = Annotated[bool, typer.Option("--force", help="Do every stage again, whatever is done.")]
From = Annotated[str | None, typer.Option("--from", help="Do this stage and those behind it again.")]


def run(
    config: ConfigFile = None,
    sets: Sets = None,
    data: Data = None,
    chip: Chips = None,
    out: Out = None,
    force: Force = False,
    from_: From = None,
    gate: Gates = None,
    as_json: Json = False,
    quiet: Quiet = False,
    tensorboard: Tensorboard = False,
    synops_budget: Budget = None,
) -> None:
    """Everything: train, fold, adapt, export to both chips, simulate, compare every spike, count energy, report.

    A stage is skipped where its settings, inputs, data and code are those of the last time. Without --out the run of
    the same configuration is gone on with, or a new one begins. For example: spikefold run --data npz:recordings
    """
    with guarded(quiet or not is_main_process()) as screen:
        gates = read_gates(gate)
        overrides = [*(sets or []), *budgeted(synops_budget)]
        chosen, again = _configuration(config, overrides, data, chip, out), _again(force, from_)
        folder = out or (None if force else same_run(_RUNS, chosen))
        if folder is None and from_ is not None:
            raise ConfigError("there is no run of this configuration", where="--from", hint="name it with --out")
        session = new_session(chosen, folder, screen, tensorboard=tensorboard)
        if not is_main_process():
            TRAIN.load()(session)  # torchrun's other processes are for the training alone
            return
        with locked(session.folder):
            failed = _stages(session, again, screen)
            with _told_what_is_kept("report", session.folder):
                content = written_report(session, screen)
            point_latest(session)
        say_report(content, session.folder, as_json=as_json)
        if failed is not None:
            raise failed
        check_gates(gates, session, screen)


def _configuration(
    file: Path | None, overrides: list[str], data: str | None, chips: list[str] | None, out: Path | None
) -> Config:
    """What the user asked for; of a run that exists its own, where nothing is asked for."""
    asked = file or overrides or data is not None or chips
    if out is not None and not asked and (found := config_of(out)) is not None:
        return found
    return configured(file, overrides, data, chips)


def _again(force: bool, from_: str | None) -> tuple[Stage, ...]:
    """The stages that are done again whatever is there."""
    stages = tuple(stage for stage in STAGES if stage.in_run)
    if force and from_ is not None:
        raise ConfigError("--force and --from", where="run", hint="--force is --from train")
    if force:
        return stages
    if from_ is None:
        return ()
    names = [stage.name for stage in stages]
    if from_ not in names:
        raise ConfigError(f"--from {from_}", where="run", hint=nearest(from_, names))
    return stages[names.index(from_) :]


@dataclass(frozen=True)
class _Standing:
    """A stage, and why it must be done; no reason where it is unchanged."""

    stage: Stage
    why: tuple[str, ...]


def _standing(session: Session, again: tuple[Stage, ...]) -> Iterator[_Standing]:
    """Each stage of the run; what reads files of a stage that is done again must be done again too."""
    from spikefold.provenance.origin import why_again

    redone: set[str] = set()
    for stage in STAGES:
        if not stage.in_run:
            continue
        why = ["asked for"] if stage in again else why_again(stage, session.config, session.folder)
        if not why and (changed := redone.intersection(stage.reads)):
            why = [f"{name} is made again" for name in sorted(changed)]
        if why:
            redone.add(stage.name)
        yield _Standing(stage, tuple(why))


def _stages(session: Session, again: tuple[Stage, ...], screen: Screen) -> MismatchError | None:
    """Do what is to be done; a comparison that failed comes back, for the run must have its report all the same."""
    standing = list(_standing(session, again))
    to_do = [one for one in standing if one.why]
    if to_do and not again and all((session.folder / name).is_file() for name in REPORTS):
        issues = [f"{one.stage.name}: {'; '.join(one.why)}" for one in to_do]
        raise ConfigError(
            "a finished run lies there and would be overwritten, for " + ", ".join(issues),
            where=str(session.folder),
            hint=f"--from {to_do[0].stage.name} does that, --force everything; or choose another --out",
        )
    if (session.folder / TRAIN.folder).is_dir() and to_do[:1] != standing[:1]:
        session = Session(session.folder, session.config, session.reporter, trained=True)
    if world() == 1 and {TRAIN, ADAPT} & {one.stage for one in to_do}:
        worker_context()  # the imports of workers take as long as what comes before they are needed
    failed = None
    for one in standing:
        if not one.why:
            screen.line(f"{one.stage.name}: unchanged")
            continue
        with _told_what_is_kept(one.stage.name, session.folder):
            failed = _do(one.stage, session, screen) or failed
    if to_do and (session.folder / CONFIG).is_file():
        keep_config(session)
    return failed


@contextmanager
def _told_what_is_kept(doing: str, run: Path) -> Iterator[None]:
    """An interruption within the block is told with what of the run is kept, and ends the program."""
    try:
        yield
    except KeyboardInterrupt as interruption:
        typer.echo(what_is_kept(doing, run), err=True)
        raise typer.Exit(exit_code(interruption)) from None


def _do(stage: Stage, session: Session, screen: Screen) -> MismatchError | None:
    started = time.monotonic()
    failed = None
    try:
        stage.load()(session)
    except MismatchError as error:
        if stage is not VALIDATE or not (session.folder / stage.folder).is_dir():
            raise
        failed = error  # its evidence was written before
    seconds = time.monotonic() - started
    note_stage(session.folder, stage.name, seconds)
    screen.line(f"{stage.name} took {seconds:.1f} s")
    return failed
