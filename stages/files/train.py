# SPDX-License-Identifier: Apache-2.0
"""``1_train/metrics.json``: the epochs of each network, which one its weights are from, and how it was chosen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from spikefold.config import Config
from spikefold.errors import Issue
from spikefold.session import NETWORK
from spikefold.stage_table import TRAIN, Stage
from spikefold.stages.files.base import Count, Form, NotNegative, Positive, Sha256, Share, StageFile, lacking


class EpochForm(Form):
    """One epoch: mean loss, and the accuracy on the training batches as they were trained.

    ``judged`` is the share of right recordings by which the weights are chosen; absent where the last epoch's are.
    """

    number: Positive
    of: Positive
    loss: NotNegative
    accuracy: Share
    judged: Share | None = None


class ProtocolForm(Form):
    """How the weights were chosen, and how many training recordings were held out for it."""

    name: str
    what: str
    held_out: Count


class RepairsForm(Form):
    """What was repaired in the recordings, as counts and in words."""

    truncated: Count
    lost_bytes: Count
    backwards: Count
    outside: Count
    empty: Count
    cuts: Count
    what: str


class SharedMasksForm(Form):
    """How many clips share their masks, in training and in evaluation, and the same in words."""

    train: Positive
    evaluation: Positive
    what: str


class VotedForm(Form):
    """Test accuracy by the vote of all clips of a recording; of a simulation with its 95 % interval."""

    accuracy: Share
    interval: tuple[Share, Share] | None = None
    recordings: Positive
    clips: Positive
    vote: Literal["majority", "rates"]


class ImportedForm(Form):
    """The file of weights that were trained elsewhere."""

    file: str
    sha256: Sha256


class TrainFile(StageFile):
    """The whole file; of weights that were trained elsewhere it holds no epochs."""

    stage: ClassVar[Stage] = TRAIN
    file: ClassVar[str] = "metrics.json"
    epochs: dict[str, Annotated[list[EpochForm], Field(min_length=1)]]
    classes: Annotated[list[str], Field(min_length=1)]
    protocol: ProtocolForm
    chosen: dict[str, EpochForm]
    repairs: RepairsForm
    processes: Positive
    shared_masks: SharedMasksForm | None = None
    voted: dict[str, VotedForm] | None = None
    imported: ImportedForm | None = None

    def missing(self, config: Config) -> Iterator[Issue]:
        """The network has its epochs, or the file that it came from."""
        if self.imported is not None:
            return
        yield from lacking("epochs", self.epochs, [NETWORK])
        yield from lacking("chosen", self.chosen, [NETWORK])
