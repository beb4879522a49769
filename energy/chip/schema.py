# SPDX-License-Identifier: Apache-2.0
"""The form of a chip's budget in ``energy.json``."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from spikefold.energy.schema_base import Closed, Interval, Real, Whole


class TermForm(Closed):
    """`Term`; the energies are None where the constant is unknown."""

    name: str
    per_clip: Real
    where: str
    price: dict[str, Any]
    energy_uj: Real | None
    low_uj: Real | None
    high_uj: Real | None


class PowerForm(Closed):
    """`ChipPower`."""

    profile: str
    title: str
    on_s: Real
    real_time: bool
    static: list[TermForm]
    running: list[TermForm] = Field(default_factory=list)
    dynamic: list[TermForm]
    sensor: list[TermForm]
    synops_per_s: Real
    not_priced: list[str]
    bands_uj: dict[Literal["static", "running", "dynamic", "total"], Interval | None]
    static_uj: Real | None
    running_uj: Real | None = None
    dynamic_uj: Real | None
    total_uj: Real | None
    sensor_uj: Real | None
    power_mw: Real | None
    break_even: Real | None
    break_even_synops_per_s: Real | None


class CoreForm(Closed):
    """`CoreRate`."""

    layer: str
    cores: Whole
    busiest: Real
    numbers: list[Whole]
    mean_per_s: Real
    peak_per_s: Real
    limit_per_s: Real | None
    smallest_dt_us: Whole | None
    light: Literal["unknown", "green", "amber", "red"]
    advice: str


class StepTimeForm(Closed):
    """`StepTime`."""

    profile: str
    layer: str
    mean_us: Interval
    peak_us: Interval
    dt_us: Real
    where: list[str]
    light: Literal["green", "amber", "red"]


class ReferenceBudgetForm(Closed):
    """`ReferenceBudget`."""

    label: str
    power: PowerForm
    step_time: StepTimeForm | None


class SystemTrackForm(Closed):
    """`SystemTrack`: NeuroBench's report form."""

    system: str
    idle_mw: Interval
    active_mw: Interval | None
    dynamic_mw: Interval | None
    dynamic_energy_mj: Interval | None
    execution_time_ms: Real
    pre_processing: str
    estimated: bool


class ChipForm(Closed):
    """`ChipBudget`; each of ``numbers`` that is None has a reason in ``unknown``."""

    chip: str
    title: str
    event_driven: bool
    nominal_dt: bool
    power: PowerForm | None
    beside: ReferenceBudgetForm | None
    cores: list[CoreForm]
    step_time: StepTimeForm | None
    cores_used: Whole
    chips: Whole
    estimate: bool
    numbers: dict[str, Real | None]
    unknown: dict[str, str]
    system_track: SystemTrackForm | None = None
