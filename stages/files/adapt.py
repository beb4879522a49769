# SPDX-License-Identifier: Apache-2.0
"""``3_adapt/adapt.json``: what the fine-tuning of each chip's network did; each chip's folder has its part."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from spikefold.config import Config
from spikefold.errors import Issue
from spikefold.stage_table import ADAPT, Stage
from spikefold.stages.files.base import Count, Form, NotNegative, Positive, StageFile, lacking


class AdaptedForm(Form):
    """One chip: epochs done, loss of the last, and with a budget the operations before and the channels kept, of all.

    ``loss`` is null without an epoch, ``synops_before`` without a budget.
    """

    epochs: Count
    loss: float | None
    synops_before: NotNegative | None
    channels: dict[str, tuple[Count, Positive]]


class AdaptFile(StageFile):
    """The whole file."""

    stage: ClassVar[Stage] = ADAPT
    file: ClassVar[str] = "adapt.json"
    chips: dict[str, AdaptedForm]

    def missing(self, config: Config) -> Iterator[Issue]:
        """Each chip was adapted to."""
        yield from lacking("chips", self.chips, config.chips.names)
