# SPDX-License-Identifier: Apache-2.0
"""``7_energy`` as others read it: ``energy.json`` with the parts that are shown, and the costs of each clip.

The form of ``energy.json`` itself is `energy.schema`, which leaves parts of other modules open. What the page and
`spikefold diff` show of those parts is described here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from spikefold.energy.outputs import read_energy
from spikefold.energy.statistics.clips import FILE, NetworkClips, RunClips, load_clips
from spikefold.errors import DataError, Issue
from spikefold.files import read_json
from spikefold.session import RESULTS, Session
from spikefold.stage_table import ENERGY
from spikefold.stages.files.base import issues_of, lacking, refused


class _Shown(BaseModel):
    """A part that may hold more than is shown."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, allow_inf_nan=False)


class _Profile(_Shown):
    name: str
    title: str
    energy_pj: dict[str, Any]


class _Rule(_Shown):
    energy_pj: float
    rule: str


class _Budget(_Shown):
    rule: str
    rule_name: str
    energy_pj_per_clip: float


class _Network(_Shown):
    budget: _Budget
    rules: Annotated[dict[str, _Rule], Field(min_length=1)]
    uncertainty: dict[str, Any]


class _BreakEven(_Shown):
    profile: str
    words: int
    ratio: float
    where: list[str]


class _Equation11(_Shown):
    added_macs_per_clip: float
    removed_acs_per_clip: float
    energy_pj_per_clip: float
    relative: float
    break_even: float
    verdict: str
    break_evens: list[_BreakEven]


class _Equations11(_Shown):
    dynamic: _Equation11
    static: _Equation11


class _AttentionMacs(_Shown):
    what: str


class _Constant(_Shown):
    kind: str
    evidence: str
    covers: str
    band: str
    low: float | str
    high: float | str


class _Report(_Shown):
    profile: _Profile
    networks: dict[str, _Network]
    constants: list[_Constant]
    eq11: _Equations11 | None = None
    attention_macs: _AttentionMacs | None = None


def energy_of_run(session: Session, networks: Iterable[str]) -> dict[str, Any]:
    """The content of ``energy.json`` for the report, with the networks named.

    Raises:
        DataError: the stage has not run; its file is missing, damaged, edited, or lacks a network.
    """
    path, hint = session.path(ENERGY) / RESULTS, ENERGY.command(session.folder)
    found = read_results(path, hint)
    try:
        _Report.model_validate(found)
    except ValidationError as error:
        raise refused(path, issues_of(error, path.name), hint) from error
    if issues := list(lacking("networks", found["networks"], networks)):
        raise refused(path, issues, hint)
    return found


def read_results(path: Path, hint: str) -> dict[str, Any]:
    """The content of one ``energy.json``.

    Raises:
        DataError: it is missing or damaged, or breaks the published form.
    """
    read_json(path, hint)  # refuses NaN in the parts that the form leaves open
    try:
        return read_energy(path)
    except DataError as error:  # it knows neither the file nor the run
        raise DataError(error.what, where=str(path), issues=error.issues, hint=hint) from error


def clips_of_run(session: Session, networks: Iterable[str]) -> RunClips:
    """What each clip of a run cost, for the networks named.

    Raises:
        DataError: the file is missing, damaged, edited, or lacks a network.
    """
    path, hint = session.path(ENERGY) / FILE, ENERGY.command(session.folder)
    found = read_clips(path, hint)
    if issues := list(lacking("networks", found.networks, networks)):
        raise refused(path, issues, hint)
    return found


def read_clips(path: Path, hint: str) -> RunClips:
    """What each clip cost, from one file.

    Raises:
        DataError: the file is missing or damaged, or its counts are no counts.
    """
    found = load_clips(path)
    issues = [issue for name, network in found.networks.items() for issue in _not_counts(name, network)]
    if issues:
        raise refused(path, issues, hint)
    return found


def _not_counts(name: str, network: NetworkClips) -> Iterator[Issue]:
    for key in ("events", "spikes"):
        values: np.ndarray = getattr(network, key)
        if values.dtype.kind not in "iu" or values.min(initial=0) < 0:
            yield Issue("counts", f"{name}/{key}", str(values.dtype), "whole numbers of 0 or more", "")
    energy = network.energy_pj
    if energy is not None and (energy.dtype.kind != "f" or not np.isfinite(energy).all()):
        yield Issue("estimates", f"{name}/energy_pj", str(energy.dtype), "finite numbers", "")
