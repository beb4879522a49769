# SPDX-License-Identifier: Apache-2.0
"""``spikefold energy``: the group of what counts, prices and explains energy."""

from __future__ import annotations

import typer

from spikefold.commands.energy.calibrate import calibrate
from spikefold.commands.energy.count import count
from spikefold.commands.energy.profiles import profiles
from spikefold.commands.energy.silicon import silicon
from spikefold.commands.energy.table3 import table3
from spikefold.commands.groups.default_command import DefaultCommandGroup
from spikefold.stage_table import ENERGY

energy = typer.Typer(
    cls=DefaultCommandGroup, subcommand_metavar="[COMMAND] [ARGS]...", help=ENERGY.help, rich_markup_mode=None
)
for _command in (count, calibrate, table3, profiles, silicon):
    energy.command(_command.__name__)(_command)
