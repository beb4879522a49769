# SPDX-License-Identifier: Apache-2.0
"""``spikefold fit --arch``: whether the folded network of an architecture fits a chip."""

from __future__ import annotations

from spikefold.hardware.chip import Chip
from spikefold.hardware.fit import FitReport, fit_report
from spikefold.train.models.architectures import Architecture, network


def fit_architecture(architecture: Architecture, chip: Chip) -> FitReport:
    """Whether the folded network of an architecture fits; its weights are random and say nothing."""
    return fit_report(network(architecture), chip, architecture.name)
