# SPDX-License-Identifier: Apache-2.0
"""``3_adapt/adapt.json``: what the fine-tuning of each chip's network did; each chip's folder has its part."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from spikefold.config import Config
from spikefold.errors import Issue
from spikefold.stage_table import ADAPT, Stage
from spikefold.stages.files.base import Count, Form, NotNegative, Positive, Share, StageFile, lacking

BY_EVENTS = "by events"
"""How candidates ran that were judged event by event."""


class CandidateForm(Form):
    """One network that could have been kept: accuracy, spikes and operations a clip on the recordings held out."""

    name: str
    accuracy: Share
    spikes: NotNegative
    synops: NotNegative


class SelectionForm(Form):
    """How many training recordings chose among which networks, run how, and the name of the one that was kept.

    ``unseen`` is whether the float network was trained without them too; ``budget`` is null without one.
    """

    held: Positive
    how: str
    unseen: bool
    budget: NotNegative | None
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
    """The whole file; ``baselines`` is of the network without attention, by chip, where it goes to the chips too."""

    stage: ClassVar[Stage] = ADAPT
    file: ClassVar[str] = "adapt.json"
    chips: dict[str, AdaptedForm]
    baselines: dict[str, AdaptedForm]

    def missing(self, config: Config) -> Iterator[Issue]:
        """Each chip was adapted to."""
        yield from lacking("chips", self.chips, config.chips.names)
