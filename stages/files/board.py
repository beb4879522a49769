# SPDX-License-Identifier: Apache-2.0
"""``6_validate/board.json``: what a board did with some clips, or why none ran them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from pydantic import ConfigDict

from spikefold.config import Config
from spikefold.energy.chip.schema import SystemTrackForm
from spikefold.errors import Issue
from spikefold.session import BOARD
from spikefold.stage_table import VALIDATE, Stage
from spikefold.stages.files.base import Count, Form, NotNegative, Positive, Sha256, StageFile

_RESULT = ("notes", "describe", "synops", "replayed_us")
"""What a file has where a board ran, whosever it is; what else there is depends on the board."""


class BoardLayerForm(Form):
    """One layer of the board against the simulator; lists have one entry a repeat."""

    layer: str
    neurons: Positive
    spikes_simulated: Count
    spikes_device: list[Count]
    differences: list[NotNegative | None]
    bins_differing: list[Count]
    between_repeats: list[NotNegative | None]
    without_first_event: list[NotNegative | None]
    agreement: str
    by_repeat: list[str]


class RailForm(Form):
    """Mean power of one supply rail in watts; null without a sample. A mean may be negative by the meter's offset."""

    rail: str
    idle_w: float | None
    active_w: float | None
    idle_samples: Count
    active_samples: Count
    difference_w: float | None = None


class BoardFile(StageFile):
    """The whole file: ``target`` and ``not_run``, or ``target`` and all the rest.

    What is named here is what the page shows and other commands read. A board may add evidence of its own.
    """

    model_config = ConfigDict(extra="allow")
    stage: ClassVar[Stage] = VALIDATE
    file: ClassVar[str] = BOARD
    target: str
    not_run: str | None = None
    board: str | None = None
    configuration_sha256: Sha256 | None = None
    runners: tuple[str, str] | None = None
    clips: Positive | None = None
    steps: Positive | None = None
    dt_us: Positive | None = None
    slow_clock_hz: Count | None = None
    options: dict[str, Any] | None = None
    agreement: str | None = None
    loses_first_event: bool | None = None
    yardsticks: dict[str, float | str] | None = None
    layers: list[BoardLayerForm] | None = None
    power: list[RailForm] | None = None
    clip_power: list[list[RailForm]] | None = None
    power_missing: str | None = None
    power_offset_w: float | None = None
    problems: list[str] | None = None
    notes: list[str] | None = None
    describe: str | None = None
    synops: list[Count] | None = None
    replayed_us: list[Count] | None = None
    system_track: list[SystemTrackForm] | None = None

    def missing(self, config: Config) -> Iterator[Issue]:
        """Either why nothing ran, or the whole result."""
        held = self.model_fields_set
        if "not_run" in held and self.not_run is not None:
            if result := sorted(held.intersection(_RESULT)):
                yield Issue(
                    "one of both", "not_run", f"and {', '.join(result)}", "a result, or why there is none", ""
                )
            return
        for key in _RESULT:
            if getattr(self, key) is None:
                yield Issue("complete", key, "nothing", "a value", "The result of a board has it.")
