# SPDX-License-Identifier: Apache-2.0
"""Finds the run that a configuration made before, or began: asked for again without a folder, it goes on there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from spikefold.errors import ConfigError
from spikefold.stage_table import TRAIN

if TYPE_CHECKING:  # `spikefold --help` must load no models of pydantic
    from spikefold.config import Config

CONFIG = "config.toml"
STATES = f".{TRAIN.folder}.state"
"""Folder of a training that goes on, in the run folder."""


def config_of(run: Path) -> Config | None:
    """The configuration of a run, or of the training that was begun there; None where neither is."""
    from spikefold.config import load_config

    for path in (run / CONFIG, run / STATES / CONFIG):
        if path.is_file():
            return load_config(path)
    return None


def same_run(runs: Path, config: Config) -> Path | None:
    """The latest run of this very configuration, code and data in a folder of runs, done or begun; None for none."""
    from spikefold.provenance.origin import changes, flat, why_again

    if not runs.is_dir():
        return None
    found = [run for run in runs.iterdir() if run.is_dir() and not run.is_symlink()]
    for run in sorted(found, key=lambda one: one.stat().st_mtime, reverse=True):
        try:
            its = config_of(run)
        except ConfigError:  # of another version
            continue
        if its is None or any(changes(flat(its), flat(config))):
            continue
        if (run / TRAIN.folder).is_dir() and why_again(TRAIN, config, run):
            continue
        return run
    return None
