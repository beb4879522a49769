# SPDX-License-Identifier: Apache-2.0
"""The form of ``energy.json``: what is validated when it is written, and the JSON Schema for whoever reads it.

Whole numbers are exact at any size: beyond 2^53, which most readers of JSON would round, they are written as strings.
Parts of other modules (profile, budgets by rule, Eq. 11) may grow; the parts described here may not. A part that a
reader can do without may be added as a whole, as ``chip`` and ``constants`` were; else the version changes.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, ValidationError

from spikefold.energy.chip.schema import ChipForm
from spikefold.energy.schema_base import LARGEST_EXACT, Closed, Interval, Open, Real, Whole
from spikefold.errors import DataError, Issue

SCHEMA = "spikefold.energy/1"
Kind = Literal["binary", "counts", "spikes", "sum-pooled", "none"]


class LayerForm(Closed):
    """`LayerCounts`."""

    name: str
    input_kind: Kind
    dense_padded: Whole
    dense: Whole
    pairs: Whole
    events: Whole
    input_events: Whole
    spikes: Whole
    neurons: Whole
    bias_adds: Whole
    neuron_updates: Whole
    active_updates: Whole
    multiplicity: Whole
    weight_reads: Whole
    state_accesses: Whole
    idle_updates: Whole
    peak_events: Whole | None
    weighted: Whole | None = None


class ElementForm(Closed):
    """`ElementCounts`."""

    name: str
    op: str
    multiplies: Whole
    adds: Whole
    compares: Whole


class UncountedForm(Closed):
    """`Uncounted`."""

    name: str
    op: str
    outputs: Whole


class CountsForm(Closed):
    """`Counts`."""

    clips: Whole
    steps: Whole
    dt_us: Whole | None
    layers: list[LayerForm]
    elements: list[ElementForm]
    uncounted: list[UncountedForm]
    coverage: str
    nasfr: Real
    peak_events: Whole | None


class LayerEnergyForm(Open):
    """One layer's price."""

    name: str
    mac_per_clip: Real
    ac_per_clip: Real
    energy_pj_per_clip: Real | None


class BudgetForm(Open):
    """`Budget`; the energy is None where a constant is unknown."""

    rule_name: str
    layers: list[LayerEnergyForm]
    attention_macs_per_clip: Real
    mac_per_clip: Real
    ac_per_clip: Real
    energy_pj_per_clip: Real | None


class DistributionForm(Closed):
    """`Distribution`."""

    clips: Whole
    mean: Real
    sd: Real | None
    interval: Interval | None
    p95: Real
    worst: Real
    worst_clip: Whole
    clips_needed: dict[str, Whole | None]


class BandForm(Closed):
    """`Band`."""

    low_pj: Real
    value_pj: Real
    high_pj: Real


class SwingForm(Closed):
    """`Swing`."""

    kind: Literal["constant", "rule", "profile"]
    name: str
    from_pj: Real
    to_pj: Real
    where: str


class TornadoForm(Closed):
    """`Tornado`."""

    rule: str
    band: BandForm
    swings: list[SwingForm]


class ConstantForm(Open):
    """One number of a profile, with the file and line on which it stands."""

    profile: str
    name: str
    where: str
    value: Real | Literal["unknown"]
    unit: str
    source: str


class NetworkForm(Open):
    """One network of the run; ``chip`` where it runs on one."""

    counts: CountsForm
    budget: BudgetForm
    uncertainty: dict[str, DistributionForm] = Field(default_factory=dict)
    sensitivity: TornadoForm | None = None
    chip: ChipForm | None = None


class EnergyForm(Open):
    """The whole file."""

    schema_name: Literal["spikefold.energy/1"] = Field(alias="schema")
    profile: dict[str, Any]
    networks: dict[str, NetworkForm] = Field(min_length=1)
    constants: list[ConstantForm] = Field(default_factory=list)


def validated(values: dict[str, Any]) -> dict[str, Any]:
    """The content of ``energy.json`` with whole numbers as `int`, whether they came as numbers or as strings.

    Raises:
        DataError: it does not have this form; every place is named.
    """
    try:
        form = EnergyForm.model_validate(values)
    except ValidationError as error:
        issues = [
            Issue("form", ".".join(str(part) for part in one["loc"]), repr(one["input"])[:80], SCHEMA, one["msg"])
            for one in error.errors()
        ]
        raise DataError(
            "this is no energy.json of this version", issues=issues, hint="run `spikefold energy` on the run again"
        ) from error
    return form.model_dump(by_alias=True, exclude_unset=True)


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of ``energy.json``."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **EnergyForm.model_json_schema()}


def exact(value: Any) -> Any:
    """Plain values for JSON, whole numbers beyond 2^53 as strings, at any depth."""
    if isinstance(value, int) and abs(value) > LARGEST_EXACT:
        return str(value)
    if isinstance(value, dict):
        return {key: exact(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [exact(one) for one in value]
    return value
