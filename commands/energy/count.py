# SPDX-License-Identifier: Apache-2.0
"""``spikefold energy RUN``: count and price a run, and hold its numbers against gates."""

from __future__ import annotations

from spikefold.commands.gates import Gates, check_gates, read_gates
from spikefold.commands.options import LATEST_RUN, Json, Quiet, RunFolder, Sets
from spikefold.commands.screen import guarded
from spikefold.commands.stage_command import again, say_run
from spikefold.session import open_session
from spikefold.stage_table import ENERGY


def count(
    folder: RunFolder = LATEST_RUN,
    sets: Sets = None,
    gate: Gates = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Count operations of a simulated run and price them, with gates on any number; meant where none is named.

    For example: spikefold energy runs/latest --gate "speck2f.energy_uj<50"
    """
    with guarded(quiet) as screen:
        gates = read_gates(gate)
        again(ENERGY, folder, sets or [], screen)
        say_run(ENERGY, folder, as_json=as_json)
        check_gates(gates, open_session(folder, screen), screen)
