# SPDX-License-Identifier: Apache-2.0
"""``3_adapt/adapt.json``: what the fine-tuning of each chip's network did; each chip's folder has its part."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from spikefold.config import Config
from spikefold.errors import Issue
from spikefold.stage_table import ADAPT, Stage
from spikefold.stages.files.base import Count, Form, NotNegative, Positive, Share, StageFile, lacking


class CandidateForm(Form):
    """One network that could have been kept: accuracy and spikes a clip on the recordings held out."""

    name: str
    accuracy: Share
    spikes: NotNegative


class SelectionForm(Form):
    """How many training recordings chose among which networks, and the name of the one that was kept."""

    held: Positive
    kept: str
    candidates: list[CandidateForm]


class AdaptedForm(Form):
    """One chip: epochs done, loss of the last, and with a budget the operations before and the channels kept, of all.

    ``loss`` is null without an epoch, ``synops_before`` without a budget, ``selection`` where the last epoch is kept.
    """

    epochs: Count
    loss: float | None
    synops_before: NotNegative | None
    channels: dict[str, tuple[Count, Positive]]
    selection: SelectionForm | None = None


class AdaptFile(StageFile):
    """The whole file."""

    stage: ClassVar[Stage] = ADAPT
    file: ClassVar[str] = "adapt.json"
    chips: dict[str, AdaptedForm]

    def missing(self, config: Config) -> Iterator[Issue]:
        """Each chip was adapted to."""
        yield from lacking("chips", self.chips, config.chips.names)
