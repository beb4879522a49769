# SPDX-License-Identifier: Apache-2.0
"""``spikefold import``: the group of checkpoints by the code that they come from."""

from __future__ import annotations

import typer

from spikefold.commands.groups.whole_help import WholeHelpGroup
from spikefold.commands.importing.asa_snn import asa_snn

_HELP = "A checkpoint trained elsewhere as a run, which fold, adapt, export, simulate, validate, energy, report take."
imports = typer.Typer(cls=WholeHelpGroup, no_args_is_help=True, help=_HELP, rich_markup_mode=None)
imports.callback()(lambda: None)
imports.command("asa-snn")(asa_snn)
