# SPDX-License-Identifier: Apache-2.0
"""A design as a point: what its report says of accuracy, energy and cores, for each chip."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from spikefold.errors import DataError
from spikefold.files import read_json
from spikefold.stage_table import REPORTS

UJ = 1e6
"""Picojoules of a microjoule."""
FLOAT = "float"
"""What stands for a chip where a design has none: the trained network, its arithmetic alone, and no core."""


class OnChip(BaseModel):
    """One design on one chip, as it works there: event by event where the chip does.

    Attributes:
        accuracy: share of the test clips.
        interval: of it, 95 %.
        energy_uj: of a clip; the chip's own budget where it is known, else the arithmetic of the technology profile.
        energy_of: which of both, ``"chip"`` or ``"arithmetic"``.
        cores: that it takes; None where they are not counted.
        spikes: of a clip.
        synops: synaptic operations of a clip.
        on_front: whether no other design is at least as good in accuracy, energy and cores, and better in one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    accuracy: float
    interval: tuple[float, float]
    energy_uj: float
    energy_of: str
    cores: int | None
    spikes: float
    synops: float
    on_front: bool = False


class Point(BaseModel):
    """One design.

    Attributes:
        name: of the design, and of its run folder in that of the sweep.
        values: by key of the configuration what makes it.
        code: exit code of its run; None where it was not made yet.
        error: what its run said where the code is not 0.
        chips: by chip what it came to; empty where there is no report.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    name: str
    values: dict[str, Any]
    code: int | None
    error: str = ""
    chips: dict[str, OnChip] = {}


def on_chips(run: Path) -> dict[str, OnChip]:
    """What the report of a run says, by chip.

    Raises:
        DataError: the report is damaged, or of another release.
    """
    hint = f"spikefold report {run}"
    report = read_json(run / REPORTS[0], hint=hint)
    try:
        return dict(_on_chips(report))
    except (LookupError, TypeError, ValueError) as error:
        where, told = str(run / REPORTS[0]), f"{type(error).__name__}: {error}"
        raise DataError(f"the report is damaged, or of another release: {told}", where=where, hint=hint) from error


def _on_chips(report: Mapping[str, Any]) -> Iterator[tuple[str, OnChip]]:
    networks = report["energy"]["networks"]
    ladder = {step["name"]: step for step in report["accuracy_ladder"]}
    if not report["on_chip"]:
        yield FLOAT, _point(ladder[FLOAT], networks[FLOAT], None)
    for chip, told in report["on_chip"].items():
        variant = told["variant"]
        cores = report["fit"].get(chip, {}).get("cores")
        yield chip, _point(ladder[variant], networks[variant], cores)


def _point(step: Mapping[str, Any], network: Mapping[str, Any], cores: int | None) -> OnChip:
    counts, power = network["counts"], (network.get("chip") or {}).get("power") or {}
    total = power.get("total_uj")
    known = total is not None
    return OnChip(
        accuracy=step["accuracy"],
        interval=tuple(step["interval"]),
        energy_uj=total if known else network["budget"]["energy_pj_per_clip"] / UJ,
        energy_of="chip" if known else "arithmetic",
        cores=cores,
        spikes=step["spikes_per_clip"],
        synops=sum(layer["events"] for layer in counts["layers"]) / counts["clips"],
    )
