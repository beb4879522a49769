# SPDX-License-Identifier: Apache-2.0
"""The content of ``evaluation.json``: sums over a range of recordings, and the figures that follow from them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from spikefold.stages.files.base import Count, Form, Positive, Sha256
from spikefold.stages.files.counts import TotalsForm

FILE, PAGE = "evaluation.json", "evaluation.html"
VERSION = 1


class EngineForm(Form):
    """One engine on the clips of the range: sums, and for each clip the class that it named and what it took.

    ``confusion`` has a row for each true class of the run and a column for each named one. ``voted`` says of each
    recording whether it is right by the vote of several clips, where the run has several.
    """

    what: str
    network: str
    runner: str
    right: Count
    ties: Count
    confusion: list[list[Count]]
    overflow: Count
    layers: dict[str, Count]
    totals: TotalsForm
    predicted: list[Count]
    spikes: list[Count]
    synops: list[Count]
    voted: list[bool]


class BinningForm(Form):
    """How the run cuts clips, how many of a recording vote, and how."""

    sensor: tuple[Positive, Positive]
    downsample: Positive
    dt_us: Positive
    steps: Positive
    max_count: Positive
    bins: str
    clips: Positive
    vote: str


class RecordingsForm(Form):
    """Which recordings of which source, and what became of their classes.

    ``trained_on`` says whether the run was trained on some of them. ``all`` is how many there are, ``first`` and
    ``count`` the range of them that this file is of, and ``at_once`` how many were in memory together.
    """

    source: str
    split: Literal["all", "train", "test"]
    settings: dict[str, Any]
    seed: Count
    repairs: str
    trained_on: bool
    absent: list[str]
    left_out: dict[str, Positive]
    all: Positive
    first: Count
    count: Positive
    at_once: Positive


class PricingForm(Form):
    """What the energies are computed with."""

    profile: str
    rule: str
    attention: str
    seed: Count


class EvaluationForm(Form):
    """The whole file."""

    schema_version: Literal[1]
    spikefold: str
    run: str
    identity: Sha256
    classes: Annotated[list[str], Field(min_length=1)]
    binning: BinningForm
    recordings: RecordingsForm
    pricing: PricingForm
    names: list[str]
    labels: list[Count]
    engines: Annotated[dict[str, EngineForm], Field(min_length=1)]
    results: dict[str, dict[str, Any]]
