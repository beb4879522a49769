# SPDX-License-Identifier: Apache-2.0
"""``spikefold adapt``: fine-tune a folded run again, within a budget of operations if one is given."""

from __future__ import annotations

from spikefold.commands.options import LATEST_RUN, Budget, Json, Quiet, RunFolder, Sets, budgeted
from spikefold.commands.screen import guarded
from spikefold.commands.stage_command import again, say_run
from spikefold.stage_table import ADAPT


def adapt(
    folder: RunFolder = LATEST_RUN,
    sets: Sets = None,
    synops_budget: Budget = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run the stage; a budget is the setting ``adapt.synops_budget``.

    For example: spikefold adapt runs/latest --synops-budget 2.5e6
    """
    with guarded(quiet) as screen:
        again(ADAPT, folder, [*(sets or []), *budgeted(synops_budget)], screen)
        say_run(ADAPT, folder, as_json=as_json)
