# SPDX-License-Identifier: Apache-2.0
"""The form of ``energy.json``: what is validated when it is written, and the JSON Schema for whoever reads it.

Whole numbers are exact at any size: beyond 2^53, which most readers of JSON would round, they are written as strings.
Parts of other modules (profile, budgets by rule, Eq. 11, chips) may grow; the parts described here may not.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema

from spikefold.errors import DataError, Issue

SCHEMA = "spikefold.energy/1"
LARGEST_EXACT = 2**53
"""Every whole number up to here is one of its own in float64, which is what most readers of JSON have."""


def _whole(value: object) -> object:
    """Digits of a whole number too large for JSON; anything else is for pydantic to judge."""
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value


Whole = Annotated[
    int, BeforeValidator(_whole), Field(ge=0, strict=True),
    WithJsonSchema({
        "anyOf": [{"type": "integer", "minimum": 0, "maximum": LARGEST_EXACT},
                  {"type": "string", "pattern": "^[1-9][0-9]{15,}$"}],
    }),
]  # fmt: skip
Real = Annotated[float, Field(strict=True)]
Interval = Annotated[list[Real], Field(min_length=2, max_length=2)]
Kind = Literal["binary", "counts", "spikes", "sum-pooled", "none"]


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class _Open(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)


class LayerForm(_Closed):
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


class ElementForm(_Closed):
    """`ElementCounts`."""

    name: str
    op: str
    multiplies: Whole
    adds: Whole
    compares: Whole


class UncountedForm(_Closed):
    """`Uncounted`."""

    name: str
    op: str
    outputs: Whole


class CountsForm(_Closed):
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


class LayerEnergyForm(_Open):
    """One layer's price."""

    name: str
    mac_per_clip: Real
    ac_per_clip: Real
    energy_pj_per_clip: Real | None


class BudgetForm(_Open):
    """`Budget`; the energy is None where a constant is unknown."""

    rule_name: str
    layers: list[LayerEnergyForm]
    attention_macs_per_clip: Real
    mac_per_clip: Real
    ac_per_clip: Real
    energy_pj_per_clip: Real | None


class DistributionForm(_Closed):
    """`Distribution`."""

    clips: Whole
    mean: Real
    sd: Real | None
    interval: Interval | None
    p95: Real
    worst: Real
    worst_clip: Whole
    clips_needed: dict[str, Whole | None]


class BandForm(_Closed):
    """`Band`."""

    low_pj: Real
    value_pj: Real
    high_pj: Real


class SwingForm(_Closed):
    """`Swing`."""

    kind: Literal["constant", "rule", "profile"]
    name: str
    from_pj: Real
    to_pj: Real
    where: str


class TornadoForm(_Closed):
    """`Tornado`."""

    rule: str
    band: BandForm
    swings: list[SwingForm]


class NetworkForm(_Open):
    """One network of the run."""

    counts: CountsForm
    budget: BudgetForm
    uncertainty: dict[str, DistributionForm] = {}
    sensitivity: TornadoForm | None = None


class EnergyForm(_Open):
    """The whole file."""

    schema_name: Literal["spikefold.energy/1"] = Field(alias="schema")
    profile: dict[str, Any]
    networks: dict[str, NetworkForm] = Field(min_length=1)


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
        raise DataError("this is no energy.json of this version", issues=issues,
                        hint="run `spikefold energy` on the run again") from error  # fmt: skip
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
