# SPDX-License-Identifier: Apache-2.0
"""Adds up what event-driven runs measure of parts of a set of clips: the gap to clocked steps, the loads of cores."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from spikefold.hardware.speck.events.clocked_vs_events import Gap
from spikefold.hardware.speck.events.result import LoadSum


@dataclass(frozen=True)
class SpeckMeasures:
    """Of some clips.

    Attributes:
        against_steps: event by event against clocked steps.
        work: of each core, in network order.
        dt_us: length of a bin in microseconds.
        limit_per_s: synaptic operations a second that a core is warned at; None for no limit.
    """

    against_steps: Gap
    work: tuple[LoadSum, ...]
    dt_us: int
    limit_per_s: float | None

    def __add__(self, other: SpeckMeasures) -> SpeckMeasures:
        """Both sets of clips together."""
        work = tuple(one + two for one, two in zip(self.work, other.work, strict=True))
        return SpeckMeasures(self.against_steps + other.against_steps, work, self.dt_us, self.limit_per_s)

    @property
    def gap(self) -> dict[str, Any]:
        """How far clocked steps are from it, as plain values."""
        return self.against_steps.to_json()

    @property
    def loads(self) -> tuple[dict[str, Any], ...]:
        """How busy each core is, as plain values."""
        told = [(load.name, *load.per_second(self.dt_us)) for load in self.work]
        return tuple(
            {"layer": name, "peak_synops_per_s": peak, "mean_synops_per_s": mean} for name, peak, mean in told
        )

    @property
    def over_limit(self) -> tuple[dict[str, Any], ...]:
        """The cores with a bin above the limit, as plain values."""
        found = (load.overload(self.dt_us) for load in self.work)
        return tuple(asdict(one) for one in found if one is not None)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the user should be told, one sentence each."""
        gap = [
            f"{issue.where}: {issue.rule}: {issue.got}, {issue.limit}. To do: {issue.hint}"
            for issue in self.against_steps.warnings
        ]
        above = [
            f"{found['layer']}: {found['peak_per_second']:,.0f} synaptic operations a second at its peak, "
            f"the limit given is {self.limit_per_s:,.0f}"
            for found in self.over_limit
        ]
        return (*gap, *above)
