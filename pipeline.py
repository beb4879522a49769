# SPDX-License-Identifier: Apache-2.0
"""The command line: ``spikefold run`` from events to two chips, or one stage at a time.

``python pipeline.py`` in a checkout and ``spikefold`` after an installation are the same program.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperGroup

from spikefold.commands import about, run
from spikefold.commands.chips import chips
from spikefold.commands.diff import diff
from spikefold.commands.energy import energy
from spikefold.commands.export import export
from spikefold.commands.fit import fit
from spikefold.commands.inspect import inspect
from spikefold.errors import SpikefoldError

COMMANDS: dict[str, Callable[..., None] | typer.Typer] = {
    "run": run.run,
    "train": run.train,
    "fold": run.fold,
    "adapt": run.adapt,
    "export": export,
    "simulate": run.simulate,
    "validate": run.validate,
    "energy": energy,
    "report": run.report,
    "analyse": run.analyse,
    "diff": diff,
    "chips": chips,
    "inspect": inspect,
    "fit": fit,
    "config": about.config,
    "version": about.version,
}
"""In the order of ``spikefold --help``: the way of a network first."""


class _InOrder(TyperGroup):
    """Commands and groups of commands as `COMMANDS` lists them; typer's own order puts groups last."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)


app = typer.Typer(
    cls=_InOrder, no_args_is_help=True, add_completion=True, pretty_exceptions_enable=False, help=__doc__
)
for _name, _command in COMMANDS.items():
    if isinstance(_command, typer.Typer):
        app.add_typer(_command, name=_name)
    else:
        app.command(_name)(_command)


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
