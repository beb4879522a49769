# SPDX-License-Identifier: Apache-2.0
"""What a user is told after Ctrl-C: what of the run is kept, and the command that goes on."""

from __future__ import annotations

from pathlib import Path

from spikefold.provenance.same_run import config_of
from spikefold.stage_table import STAGES, TRAIN, Stage


def what_is_kept(stage: Stage, run: Path) -> str:
    """One line after an interruption: what is kept, and the command that goes on."""
    done = [one.name for one in STAGES if one.in_run and (run / one.folder).is_dir()]
    what = f"{', '.join(done)} {'is' if len(done) == 1 else 'are'} kept" if done else "no stage is done"
    if config_of(run) is None:
        return f"interrupted in {stage.name}: nothing is kept; the same command begins again"
    if stage is TRAIN:
        what += ", and the epochs of the training so far"
    return f"interrupted in {stage.name}: {what}; `spikefold run --out {run}` goes on"
