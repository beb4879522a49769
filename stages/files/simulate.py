# SPDX-License-Identifier: Apache-2.0
"""``5_simulate/simulate.json``: accuracy and spikes of every variant of the network, and what each step changed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar

from pydantic import Field

from spikefold.config import Config
from spikefold.errors import Issue
from spikefold.session import BASELINE
from spikefold.stage_table import SIMULATE, Stage
from spikefold.stages.files.base import (
    Count,
    Form,
    Interval,
    NotNegative,
    Positive,
    Sha256,
    Share,
    StageFile,
    lacking,
)
from spikefold.stages.files.train import VotedForm

FLOAT, FOLDED = "float", "folded"
"""Variants that every run has: the trained network, and the folded one."""
CONSTANT = "constant"
"""The trained network with gates that are one number a layer."""


class LayerForm(Form):
    """One spiking layer over all clips.

    ``rate`` is spikes a neuron and step, ``v_range`` the lowest and highest state, if known, and ``shown`` its spikes
    in the one clip of which the trace is kept.
    """

    spikes: Count
    shown: Count
    rate: NotNegative
    overflow: Count
    v_range: tuple[float, float] | None


class LayerChangeForm(Form):
    """Spike counts of one layer that differ from the variant before, and their share of all."""

    flips: Count
    share: Share
    spikes_before: Count


class ChangeForm(Form):
    """What differs since the variant before: predictions, and spikes of layers of unchanged shape."""

    since: str
    predictions: Count
    layers: dict[str, LayerChangeForm]


class AccuracyForm(Form):
    """Right clips of all, their share with its 95 % interval, and clips in which classes tied for the most spikes."""

    right: Count
    clips: Positive
    share: Share
    interval: Interval
    ties: Count


class WarningForm(Form):
    """A violated rule, as `errors.Issue` says it."""

    rule: str
    where: str
    got: str
    limit: str
    hint: str


class LayerGapForm(Form):
    """One layer, clocked against event by event; ``emission`` by the order in which events leave."""

    name: str
    spikes_clocked: Count
    spikes_events: Count
    difference: NotNegative | None
    equal_share: Share
    emission: dict[str, NotNegative | None]


class GapForm(Form):
    """A network in clocked steps against event by event."""

    clips: Positive
    layers: list[LayerGapForm]
    predictions_changed: Count
    accuracy_clocked: AccuracyForm | None
    accuracy_events: AccuracyForm | None
    warnings: list[WarningForm]


class LoadForm(Form):
    """Synaptic operations a second of one core, in its busiest step and in the mean."""

    layer: str
    peak_synops_per_s: NotNegative
    mean_synops_per_s: NotNegative


class OverLimitForm(Form):
    """A core above the limit that was given, and in how many bins."""

    layer: str
    peak_per_second: NotNegative
    step: Count
    clip: Count
    bins: Positive


class FlipCausesForm(Form):
    """Differing spike bits by what made them differ."""

    quantisation: Count
    ties: Count
    decay: Count
    truncation: Count


class LayerRoundingForm(Form):
    """Spike bits of one layer that rounding changes: by cause on the same input, and end to end."""

    name: str
    bits: Positive
    spikes: Count
    flips: FlipCausesForm
    local: Count
    end_to_end: Count
    local_share: Share
    end_to_end_share: Share


class RoundingForm(Form):
    """A real network against its integers."""

    clips: Positive
    steps: Positive
    local_share: Share
    end_to_end_share: Share
    layers: list[LayerRoundingForm]


class VariantForm(Form):
    """One variant of the network over the test set.

    ``network`` is the file of the network whose connections it has, relative to the run; ``before`` the variant that
    it was made from. An event-driven variant has ``went_in``, ``gap``, ``loads`` and ``over_limit``.
    ``confusion`` has a row for each true class and a column for each named one; it is absent where classes are many.
    """

    what: str
    network: Annotated[str, Field(pattern=r"^[0-9]_[a-z]+(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)+$")]
    before: str | None
    accuracy: Share
    interval: Interval
    ties: Count
    clips: Positive
    spikes: Count
    layers: Annotated[dict[str, LayerForm], Field(min_length=1)]
    runner: str
    changed: ChangeForm | None
    confusion: list[list[Count]] | None = None
    rounding: RoundingForm | None = None
    went_in: str | None = None
    gap: GapForm | None = None
    loads: list[LoadForm] | None = None
    over_limit: list[OverLimitForm] | None = None
    voted: VotedForm | None = None


class SimulateFile(StageFile):
    """The whole file; the variants stand in the order in which one is made from another.

    ``shown`` is the number of the clip of which the traces are kept; ``frames`` and ``labels`` say which clips ran.
    """

    stage: ClassVar[Stage] = SIMULATE
    file: ClassVar[str] = "simulate.json"
    version: ClassVar[int] = 2
    shown: Count
    frames: Sha256
    labels: Sha256
    variants: Annotated[dict[str, VariantForm], Field(min_length=1)]

    def missing(self, config: Config) -> Iterator[Issue]:
        """The trained, the folded and each chip's network ran; the baseline too where one was trained."""
        compared = [BASELINE] if config.train.baseline and config.model.attention != "none" else []
        yield from lacking("variants", self.variants, [FLOAT, *compared, FOLDED, *config.chips.names])
        for name, variant in self.variants.items():
            befores = [one for one in (variant.before, variant.changed and variant.changed.since) if one]
            yield from lacking("variants", self.variants, befores)
            by_events = [variant.went_in, variant.gap, variant.loads, variant.over_limit]
            if any(part is None for part in by_events) and any(part is not None for part in by_events):
                yield Issue("complete", f"variants.{name}", "a part of it", "went_in, gap, loads, over_limit", "")
            if variant.confusion is not None and sum(map(sum, variant.confusion)) != variant.clips:
                got = str(sum(map(sum, variant.confusion)))
                yield Issue("a clip each", f"variants.{name}.confusion", got, str(variant.clips), "")
            if variant.gap is not None and len(variant.gap.layers) != len(variant.loads or ()):
                got = f"{len(variant.loads or ())} loads"
                yield Issue("one load a layer", f"variants.{name}.loads", got, str(len(variant.gap.layers)), "")
