# SPDX-License-Identifier: Apache-2.0
"""``spikefold fit``: whether a run or a network from elsewhere fits a chip. Architectures: `check_architecture`."""

from __future__ import annotations

from pathlib import Path

from spikefold.errors import ConfigError
from spikefold.export.io import load_network
from spikefold.export.network import Network
from spikefold.export.passes.fold import fold
from spikefold.export.passes.uniform_thresholds import uniform_thresholds
from spikefold.hardware.chip import Chip
from spikefold.hardware.fit import FitReport, fit_report
from spikefold.session import Session
from spikefold.stage_table import ADAPT, FOLD


def fit_network(network: Network, chip: Chip, name: str, *, folded: bool = False) -> FitReport:
    """Whether a network trained elsewhere fits, after the passes that an export applies.

    Args:
        network: real, or in the integers of a chip.
        chip: the target.
        name: for people.
        folded: whether it is as it would be exported.

    Raises:
        UnsupportedError: it cannot be folded.
    """
    return fit_report(network if folded else uniform_thresholds(fold(network)), chip, name, as_it_is=True)


def fit_run(session: Session, chip: Chip) -> FitReport:
    """Whether a run's network for the chip fits: the adapted one, or the fold's where none is.

    Raises:
        ConfigError: the run was not folded for this chip.
        DataError: the run was not folded, or its files are damaged.
    """
    target = target_of(session, chip)
    adapted = session.folder / ADAPT.folder / chip.name / "adapted"
    found = load_network(adapted if adapted.with_suffix(".json").is_file() else target)
    return fit_report(found, chip, session.folder.name, as_it_is=True)


def target_of(session: Session, chip: Chip) -> Path:
    """The file of a run's network for a chip, as the fold wrote it.

    Raises:
        ConfigError: the run was not folded for this chip.
        DataError: the run was not folded.
    """
    path = session.path(FOLD) / chip.name / "target"
    if chip.name not in session.config.chips.names or not path.with_suffix(".json").is_file():
        names = ", ".join(session.config.chips.names)
        raise ConfigError(
            f"this run was not folded for {chip.name}, but for {names}",
            where=str(session.folder),
            hint=f"spikefold fold {session.folder} --set 'chips.names=[\"{chip.name}\"]'",
        )
    return path
