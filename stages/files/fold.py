# SPDX-License-Identifier: Apache-2.0
"""``2_fold/fold.json``: the proofs of the folds, the statistics of the gates, and what was chosen for each target."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from spikefold.config import Config
from spikefold.errors import Issue
from spikefold.stage_table import FOLD, Stage
from spikefold.stages.files.base import Count, Form, Neuron, NotNegative, Positive, Sha256, Share, StageFile, lacking

EXCHANGE = "exchange"
"""The target that carries every form: the folded network, and the files that other tools read."""
StaticForm = Literal["none", "mask", "channel", "rank1", "neuron"]


class FlipForm(Form):
    """One spike that rounding alone made differ: where, and how far both states were from the threshold."""

    layer: str
    step: Count
    clip: Count
    neuron: Neuron
    spikes: tuple[Count, Count]
    distance: tuple[NotNegative, NotNegative]
    bound: NotNegative


class ProofForm(Form):
    """One pass, proven by running the network before and after it: how much was compared, and what differed."""

    step: str = Field(alias="pass")
    flips: Count
    layers: Count
    steps: Count
    clips: Count
    neurons: Count
    spikes: Count
    ties: Count
    roots: list[FlipForm]
    consequences: Count
    bounds: dict[str, NotNegative]
    silent: list[str]


class SharesForm(Form):
    """Share of a gate's variance that each mean of it explains."""

    by_step: float
    by_channel: float
    by_position: float
    by_channel_and_position: float
    mask: float
    channel: float
    rank1: float
    neuron: float


class GateForm(Form):
    """Statistics of one attention layer's gate over the calibration clips."""

    mean: float
    std: NotNegative
    shares: SharesForm
    mask_agreement: Share
    channel: list[float]
    by_step: list[float]
    shape: tuple[Positive, Positive, Positive]


class CandidateForm(Form):
    """One static form in all layers, over the calibration clips."""

    form: StaticForm
    loss: float
    accuracy: Share
    agreement: Share
    output_spikes: NotNegative


class ChoiceForm(Form):
    """The static form chosen for one target, why, and what it was chosen from."""

    form: StaticForm
    why: str
    dynamic_accuracy: Share
    candidates: list[CandidateForm]


class ReplacedForm(Form):
    """One layer whose neurons the chip lacks: what was replaced, and its spikes a clip before and after."""

    layer: str
    what: str
    threshold_factor: NotNegative
    spikes_before: NotNegative
    spikes_after: NotNegative


class NarrowedForm(Form):
    """What ``spikefold fit --apply`` took away: identities before and after, channels kept by layer."""

    before: Sha256
    after: Sha256
    kept: dict[str, list[Count]]


class FoldFile(StageFile):
    """The whole file; ``passes`` are the proofs of the exchange network's form."""

    stage: ClassVar[Stage] = FOLD
    file: ClassVar[str] = "fold.json"
    identity: Sha256
    passes: list[ProofForm]
    proofs: dict[StaticForm, list[ProofForm]]
    gates: dict[str, GateForm]
    choices: dict[str, ChoiceForm]
    replaced: dict[str, list[ReplacedForm]]
    narrowed: Annotated[dict[str, NarrowedForm], Field(default_factory=dict)]

    def missing(self, config: Config) -> Iterator[Issue]:
        """Each target has its choice, each chip its list of replaced neurons."""
        yield from lacking("choices", self.choices, [EXCHANGE, *config.chips.names])
        yield from lacking("replaced", self.replaced, config.chips.names)
