# SPDX-License-Identifier: Apache-2.0
"""``spikefold run``: all stages of a new run, and its report."""

from __future__ import annotations

import time

from spikefold.commands.options import Budget, ConfigFile, Data, Out, Quiet, Sets, budgeted, configured
from spikefold.commands.report import tell_report
from spikefold.commands.screen import guarded
from spikefold.session import new_session, point_latest
from spikefold.stage_table import STAGES, TRAIN
from spikefold.train.processes.main_process import is_main_process


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
        session = new_session(configured(config, [*(sets or []), *budgeted(synops_budget)], data), out, screen)
        for stage in STAGES:
            if not stage.in_run:
                continue
            if stage is not TRAIN and not is_main_process():
                return  # torchrun's other processes are for the training alone
            started = time.monotonic()
            stage.load()(session)
            screen.line(f"{stage.name} took {time.monotonic() - started:.1f} s")
        tell_report(session)
        point_latest(session)
