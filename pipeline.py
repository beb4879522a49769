# SPDX-License-Identifier: Apache-2.0
"""The command line: ``spikefold run`` from events to two chips, or one stage at a time.

``python pipeline.py`` in a checkout and ``spikefold`` after an installation are the same program.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from typing import Annotated, Any

import typer

from spikefold.commands.adapt import adapt
from spikefold.commands.energy.group import energy
from spikefold.commands.evaluation.evaluate import evaluate
from spikefold.commands.export import export
from spikefold.commands.fit import fit
from spikefold.commands.groups.on_demand import OnDemand, Recipe
from spikefold.commands.groups.whole_help import WholeHelpGroup
from spikefold.commands.importing.group import imports
from spikefold.commands.look.about import config, version
from spikefold.commands.look.chips import chips
from spikefold.commands.look.diff import diff
from spikefold.commands.look.doctor import doctor
from spikefold.commands.look.inspect import inspect
from spikefold.commands.report import report
from spikefold.commands.run import run
from spikefold.commands.stage_command import stage_command
from spikefold.commands.sweeping.sweep import sweep
from spikefold.commands.train import train
from spikefold.commands.validate import validate
from spikefold.errors import SpikefoldError
from spikefold.stage_table import STAGES

Command = Callable[..., None] | typer.Typer
_OF_THEIR_OWN: dict[str, Command] = {
    "train": train,
    "adapt": adapt,
    "export": export,
    "validate": validate,
    "energy": energy,
}
"""Commands of stages that take more than a run folder and settings."""
_STAGES = {stage.name: stage for stage in STAGES}


def _of_stages(*, in_run: bool) -> dict[str, Command]:
    return {
        stage.name: _OF_THEIR_OWN.get(stage.name) or stage_command(stage)
        for stage in STAGES
        if stage.in_run is in_run
    }


COMMANDS: dict[str, Command] = {
    "run": run,
    **_of_stages(in_run=True),
    "report": report,
    **_of_stages(in_run=False),
    "import": imports,
    "evaluate": evaluate,
    "sweep": sweep,
    "diff": diff,
    "chips": chips,
    "inspect": inspect,
    "fit": fit,
    "config": config,
    "doctor": doctor,
    "version": version,
}
"""In the order of ``spikefold --help``: first the stages, in the order in which they run."""


_EXAMPLES = {
    "train": "train --data npz:recordings --set train.epochs=30 --out runs/mine",
    "fold": "fold runs/mine --set gates.tolerance=0.1",
    "adapt": "adapt runs/mine --synops-budget 2.5e6",
    "export": "export model.nir --convention sinabs --data npz:recordings --out chips",
    "simulate": "simulate runs/mine",
    "validate": "validate runs/mine --reduce smallest",
    "analyse": "analyse runs/mine",
    "import": "import asa-snn net.pth --arch a --data npz:recordings --out runs/asa",
    "evaluate": "evaluate runs/mine --data npz:recordings",
    "inspect": "inspect model.nir --convention sinabs",
    "version": "version --json",
}
"""Of the commands whose own help has no example; read behind ``spikefold``."""
_RECIPES = {
    name: Recipe(
        command,
        _STAGES[name].help if name in _STAGES and not isinstance(command, typer.Typer) else None,
        f"For example: spikefold {_EXAMPLES[name]}" if name in _EXAMPLES else None,
    )
    for name, command in COMMANDS.items()
}
_HELP = {"help_option_names": ["-h", "--help"]}


class _Commands(WholeHelpGroup):
    """The commands of `COMMANDS`, in that order."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands: Any = OnDemand(_RECIPES)


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # panels of rich would double the time of --help
    context_settings=_HELP,
    help=__doc__,
)


def _tell_version(asked: bool) -> None:
    if asked:
        version()
        raise typer.Exit


@app.callback()
def _options(
    told: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """The command line: ``spikefold run`` from events to two chips, or one stage at a time."""


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
