# SPDX-License-Identifier: Apache-2.0
"""``6_validate/validate.json``: every runner of each chip against the reference, and the vendor's result."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar

from pydantic import Field

from spikefold.config import Config
from spikefold.errors import Issue
from spikefold.stage_table import VALIDATE, Stage
from spikefold.stages.files.base import Count, Form, Interval, Neuron, Positive, Share, StageFile, lacking


class FirstMismatchForm(Form):
    """Where two runners part; see `hardware.simulators.compare.FirstMismatch`."""

    layer: str
    step: Count
    clip: Count
    neuron: Neuron
    spikes: tuple[Count, Count]
    state_before: tuple[float | None, float | None]
    state_after: tuple[float | None, float | None]


class ComparisonForm(Form):
    """One runner against another: how much was compared, and how many spike counts differ.

    ``silent`` are the layers that never fire, in which nothing was compared; sizes are of the others.
    """

    runners: tuple[str, str]
    layers: Count
    steps: Positive
    clips: Positive
    neurons: Count
    spikes: Count
    mismatches: Count
    first: FirstMismatchForm | None
    silent: Annotated[list[str], Field(default_factory=list)]


class SimulatedForm(Form):
    """What the simulator of the chip's vendor gave on the clips given to it, and of how many classes they are."""

    runner: str
    accuracy: Share
    clips: Positive
    classes: Positive
    interval: Interval
    spikes: Count


class ParityForm(Form):
    """One chip: sizes of its largest comparison, mismatches of all; ``simulated`` is null without a simulator."""

    runners: list[str]
    layers: Count
    steps: Positive
    neurons: Count
    clips: Positive
    spikes: Count
    mismatches: Count
    comparisons: Annotated[list[ComparisonForm], Field(min_length=1)]
    simulated: SimulatedForm | None


class ValidateFile(StageFile):
    """The whole file."""

    stage: ClassVar[Stage] = VALIDATE
    file: ClassVar[str] = "validate.json"
    chips: dict[str, ParityForm]

    def missing(self, config: Config) -> Iterator[Issue]:
        """Each chip was compared, and its mismatches are those of its comparisons."""
        yield from lacking("chips", self.chips, config.chips.names)
        for name, parity in self.chips.items():
            counted = sum(comparison.mismatches for comparison in parity.comparisons)
            if counted != parity.mismatches:
                place, got = f"chips.{name}.mismatches", str(parity.mismatches)
                yield Issue("sum of the comparisons", place, got, str(counted), "The file was edited.")
