# SPDX-License-Identifier: Apache-2.0
"""The command line: ``spikefold run`` from events to two chips, or one stage at a time.

``python pipeline.py`` in a checkout and ``spikefold`` after an installation are the same program.
"""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from spikefold import __version__
from spikefold.config import ChipsConfig, Config, load_config, to_toml
from spikefold.errors import ConfigError, SpikefoldError
from spikefold.session import LATEST, Session, keep_config, new_session, open_session, point_latest

if TYPE_CHECKING:
    from spikefold.hardware.chip import Table

app = typer.Typer(no_args_is_help=True, add_completion=True, pretty_exceptions_enable=False, help=__doc__)

ConfigFile = Annotated[Path | None, typer.Option("--config", help="TOML file; `spikefold config` prints one.")]
Sets = Annotated[list[str] | None, typer.Option("--set", help="Override one key, as --set train.epochs=3.")]
Data = Annotated[str | None, typer.Option("--data", help="gestures | digits | npz:DIR | folder:DIR")]
Out = Annotated[Path | None, typer.Option("--out", help="Run folder; by default a new one under runs/.")]
RunFolder = Annotated[Path, typer.Argument(help="A run folder.")]
Budget = Annotated[
    float | None,
    typer.Option(help="Most synaptic operations a clip that adaptation may leave, input events included."),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress.")]
_LATEST = Path("runs") / LATEST
_DEPENDS_ON = {
    "fold": ("gates", "adapt", "chips"),
    "adapt": ("adapt",),
    "validate": ("chips",),
    "energy": ("energy_profile",),
}
"""For each stage the sections of the configuration that may still change when it runs again."""
STAGES = ("train", "fold", "adapt", "export", "simulate", "validate", "energy")


class Screen:
    """Progress for people: bars on a terminal, plain lines elsewhere. Results go to stdout, progress to stderr."""

    def __init__(self, quiet: bool) -> None:
        self._console = Console(stderr=True, quiet=quiet, highlight=False, soft_wrap=True)
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}

    def line(self, text: str) -> None:
        """One finished fact."""
        self._console.print(text, markup=False)

    def progress(self, task: str, done: int, of: int, note: str = "") -> None:
        """A step of long work."""
        if not self._console.is_terminal:
            self.line(f"{task}: {done}/{of} {note}".rstrip())
            return
        if self._bars is None:
            columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"),
                       TimeElapsedColumn(), TextColumn("{task.fields[note]}"))  # fmt: skip
            self._bars = Progress(*columns, console=self._console)
            self._bars.start()
        if task not in self._tasks:
            self._tasks[task] = self._bars.add_task(task, total=of, note=note)
        self._bars.update(self._tasks[task], completed=done, note=note)

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._bars is not None:
            self._bars.stop()
            self._bars = None


@contextmanager
def _guarded(quiet: bool = False) -> Iterator[Screen]:
    """Turn errors a user can cause into a message on stderr and their exit code."""
    screen = Screen(quiet)
    try:
        yield screen
    except SpikefoldError as error:
        screen.close()
        typer.echo(str(error), err=True)
        raise typer.Exit(error.exit_code) from error
    finally:
        screen.close()


def _configured(config: Path | None, sets: list[str] | None, data: str | None, budget: float | None = None) -> Config:
    overrides = list(sets or []) + _budgeted(budget)
    if data is not None:
        overrides.append(f'data.source="{data}"')
    return load_config(config, tuple(overrides))


def _budgeted(budget: float | None) -> list[str]:
    return [] if budget is None else [f"adapt.synops_budget={budget}"]


@app.command()
def run(
    config: ConfigFile = None, sets: Sets = None, data: Data = None, out: Out = None, quiet: Quiet = False,
    synops_budget: Budget = None,
) -> None:  # fmt: skip
    """Everything: train, fold, adapt, export to both chips, simulate, compare every spike, count energy, report."""
    with _guarded(quiet) as screen:
        session = new_session(_configured(config, sets, data, synops_budget), out, screen)
        for name in STAGES:
            started = time.monotonic()
            _stage(name)(session)
            screen.line(f"{name} took {time.monotonic() - started:.1f} s")
        _report(session)
        point_latest(session)


@app.command()
def train(
    config: ConfigFile = None, sets: Sets = None, data: Data = None, out: Out = None, quiet: Quiet = False
) -> None:
    """Train the network and its vanilla twin into a new run folder."""
    with _guarded(quiet) as screen:
        session = new_session(_configured(config, sets, data), out, screen)
        _stage("train")(session)
        point_latest(session)
        typer.echo(session.folder)


def _stage(name: str) -> Callable[[Session], None]:
    """A stage's function; the module is loaded on demand, for ``--help`` must start without PyTorch."""
    found: Callable[[Session], None] = getattr(import_module(f"spikefold.stages.{name}"), f"{name}_stage")
    return found


def _again(name: str, folder: Path, overrides: list[str], screen: Screen) -> None:
    """Run one stage of a run, with settings that only it and later stages depend on."""
    session = open_session(folder, screen, tuple(overrides), _DEPENDS_ON.get(name, ()))
    _stage(name)(session)
    if overrides:
        keep_config(session)
    typer.echo(session.folder)


def _stage_command(name: str, summary: str) -> Callable[..., None]:
    def command(folder: RunFolder = _LATEST, sets: Sets = None, quiet: Quiet = False) -> None:
        with _guarded(quiet) as screen:
            _again(name, folder, sets or [], screen)

    command.__doc__ = summary
    return app.command(name)(command)


@app.command()
def adapt(folder: RunFolder = _LATEST, sets: Sets = None, synops_budget: Budget = None, quiet: Quiet = False) -> None:
    """Fine-tune the folded network in each chip's own integers, within a budget of operations if you like."""
    with _guarded(quiet) as screen:
        _again("adapt", folder, list(sets or []) + _budgeted(synops_budget), screen)


_stage_command("fold", "Calibrate the attention, choose its static form, fold, and give each chip its neurons.")


@app.command()
def export(
    source: Annotated[Path, typer.Argument(help="A run folder, or FILE.nir, a network trained elsewhere.")] = _LATEST,
    chip: Annotated[list[str] | None, typer.Option(help="FILE.nir: a target, as often as you like.")] = None,
    out: Annotated[Path | None, typer.Option(help="FILE.nir: folder for the files.")] = None,
    data: Annotated[str | None, typer.Option(help="FILE.nir: recordings to prove it on, as npz:DIR.")] = None,
    convention: Annotated[str | None, typer.Option(help="FILE.nir: spikefold | sinabs | snntorch wrote it.")] = None,
    steps: Annotated[int | None, typer.Option(help="FILE.nir: time steps of a clip.")] = None,
    dt_us: Annotated[int | None, typer.Option(help="FILE.nir: microseconds of a step.")] = None,
    nir: Annotated[list[str] | None, typer.Option(help="FILE.nir: what else it does not say, as reset=zero.")] = None,
    quiet: Quiet = False,
) -> None:
    """Quantise and write every artefact of an adapted run; or of a network trained elsewhere, from its .nir file."""
    given: dict[str, Any] = {"convention": convention, "steps": steps, "dt_us": dt_us}
    with _guarded(quiet) as screen:
        if source.suffix.lower() == ".nir":
            _export_file(source, chip, out, data, (given, nir or []), screen)
            return
        given |= {"chip": chip, "out": out, "data": data, "nir": nir}
        if wrong := [key for key, value in given.items() if value is not None]:
            raise ConfigError(f"{', '.join(wrong)} go with FILE.nir, {source} is none", where="export",
                              hint="a run folder has its own configuration")  # fmt: skip
        session = open_session(source, screen)
        _stage("export")(session)
        typer.echo(session.folder)


def _export_file(
    path: Path, chips: list[str] | None, out: Path | None, data: str | None,
    settings: tuple[dict[str, Any], list[str]], screen: Screen,
) -> None:  # fmt: skip
    from spikefold.export.nir.options import nir_options
    from spikefold.stages.export_file import clips_of, export_file

    if out is None:
        raise ConfigError("no folder for the files", where="--out", hint=f"for example --out {path.stem}_chips")
    options, clips = nir_options(settings[1], **settings[0]), None
    if data is not None:
        options, clips = clips_of(data, path, options, screen)
    content = export_file(path, chips or ChipsConfig().names, out, options, screen, clips)
    for name, found in content["accuracy"].items():
        low, high = found["interval"]
        typer.echo(f"{name:>10}  accuracy {found['accuracy']:.3f} ({low:.2f} to {high:.2f})")
    for line in _comparisons(content):
        typer.echo(line)
    typer.echo(out)


_stage_command("simulate", "Run every network of an exported run over the test set.")
_stage_command("validate", "Compare all runners of each chip spike for spike; exit code 1 where they differ.")
_stage_command("energy", "Count operations of a simulated run and price them.")


@app.command()
def report(folder: RunFolder = _LATEST, quiet: Quiet = False) -> None:
    """Write report.json and report.html of a run whose stages are done."""
    with _guarded(quiet) as screen:
        _report(open_session(folder, screen))


def _report(session: Session) -> None:
    from spikefold.report import report_stage

    content = report_stage(session)
    for line in _summary(content):
        typer.echo(line)
    typer.echo(session.folder / "report.html")


def _summary(content: dict[str, Any]) -> Iterator[str]:
    for step in content["ladder"]:
        low, high = step["interval"]
        spikes = f"spikes/clip {step['spikes_per_clip']:,.0f}"
        yield f"{step['name']:>10}  accuracy {step['accuracy']:.3f} ({low:.2f} to {high:.2f})  {spikes}"
    yield from _comparisons(content)


def _comparisons(content: dict[str, Any]) -> Iterator[str]:
    for chip, parity in content["parity"].items():
        yield (
            f"{chip:>10}  {' = '.join(parity['runners'])}: {parity['mismatches']} mismatches in "
            f"{parity['spikes']:,} spikes of {parity['neurons']:,} neurons"
        )
    for item in content["not_run"]:
        yield f"   NOT RUN  {item['what']}: {item['why']}"


@app.command()
def config(file: ConfigFile = None, sets: Sets = None) -> None:
    """Print the whole configuration as TOML, each key with its meaning."""
    with _guarded():
        typer.echo(to_toml(load_config(file, tuple(sets or []))), nl=False)


@app.command()
def chips(name: Annotated[str | None, typer.Argument(help="A chip, for its rules and limits.")] = None) -> None:
    """List the chips; with a name, every rule that a network must keep there, its numbers and its memory."""
    with _guarded():
        from spikefold.hardware.chip_tables import details, overview
        from spikefold.hardware.registry import CHIPS, chip_named

        for table in details(chip_named(name)) if name else [overview(CHIPS.values())]:
            _show(table, Console(highlight=False))


def _show(table: Table, console: Console) -> None:
    """A framed table on a terminal; elsewhere one line a row, its cells two spaces or more apart."""
    if console.is_terminal:
        from rich.table import Table as Framed
        from rich.text import Text

        framed = Framed(*table.columns, title=table.title, title_justify="left", show_header=bool(table.columns))
        for row in table.rows:
            framed.add_row(*map(Text, row))
        console.print(framed)
        return
    lines = ([table.columns] if table.columns else []) + list(table.rows)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    typer.echo(f"{table.title}:")
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        typer.echo("  " + "  ".join(cells).rstrip())


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


def main() -> None:
    """Entry point of ``spikefold``."""
    try:
        app()
    except Exception:  # noqa: BLE001  the last resort: whatever is no `SpikefoldError` is a bug, and has its own code
        traceback.print_exc()
        typer.echo("E-INTERNAL: this is a bug in spikefold; please report it with the lines above", err=True)
        sys.exit(SpikefoldError.exit_code)


if __name__ == "__main__":
    # the module that runs as a script is not `spikefold.pipeline`; hand over to the one that is
    from spikefold.pipeline import main as installed_main

    installed_main()
