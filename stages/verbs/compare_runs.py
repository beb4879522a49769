# SPDX-License-Identifier: Apache-2.0
"""``spikefold diff RUN_A RUN_B``: what two finished runs differ in, network by network, with intervals.

Clip by clip where both saw the same test clips (equal frames and labels), else as two samples, and it says so.
Every difference is B minus A. Nothing is simulated and no data set is loaded: the files of the runs have it all.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel

from spikefold.config import load_config
from spikefold.energy.statistics.clips import FILE, RunClips
from spikefold.energy.statistics.difference import compare
from spikefold.errors import DataError, Issue
from spikefold.session import CONFIG, RESULTS
from spikefold.stage_table import ENERGY, SIMULATE, Stage
from spikefold.stages.files.base import lacking, refused
from spikefold.stages.files.energy import read_clips, read_results
from spikefold.stages.files.simulate import SimulateFile

SCHEMA = "spikefold.diff/1"
_NEEDED: dict[str, Stage] = {
    f"{SIMULATE.folder}/{SimulateFile.file}": SIMULATE,
    f"{ENERGY.folder}/{RESULTS}": ENERGY,
    f"{ENERGY.folder}/{FILE}": ENERGY,
}
"""What a finished run has, and the stage that writes it."""


def diff_runs(a: Path, b: Path, seed: int = 0) -> dict[str, Any]:
    """Compare two runs.

    Args:
        a: run folder, the one compared with.
        b: run folder; a difference below 0 means that it has less.
        seed: of the bootstrap.

    Returns:
        Plain values: ``paired`` and ``why``, what the configurations differ in, and for each network of both runs
        ``accuracy``, ``spikes``, ``synops`` and ``energy_pj`` (None, with ``energy_why``, where the two estimates
        are no comparison), and ``layers`` where these have the same names.

    Raises:
        DataError: a run is incomplete or damaged; every missing file of both is named.
    """
    _check_complete(a, b)
    first, second = (read_clips(run / ENERGY.folder / FILE, ENERGY.command(run)) for run in (a, b))
    prices = [_prices(a, first), _prices(b, second)]
    configs = [_flat(load_config(run / CONFIG)) for run in (a, b)]
    why = _why_unpaired(first, second)
    shared = [name for name in first.networks if name in second.networks]
    if not shared:
        raise DataError(
            "the two runs have no network of the same name",
            where=f"{a}, {b}",
            hint=f"A has {list(first.networks)}, B has {list(second.networks)}",
        )
    return {
        "schema": SCHEMA,
        "a": {"run": a.resolve().name, "clips": first.clips, "profile": prices[0]["profile"].get("name")},
        "b": {"run": b.resolve().name, "clips": second.clips, "profile": prices[1]["profile"].get("name")},
        "paired": not why,
        "why": why or "equal frames and labels",
        "config": {
            key: [configs[0].get(key), configs[1].get(key)]
            for key in sorted({*configs[0], *configs[1]})
            if configs[0].get(key) != configs[1].get(key)
        },
        "networks": {
            name: _priced_alike(
                compare(first.networks[name], second.networks[name], paired=not why, seed=seed),
                _why_no_price(prices[0], prices[1], name),
            )
            for name in shared
        },
        "only_in_a": [name for name in first.networks if name not in second.networks],
        "only_in_b": [name for name in second.networks if name not in first.networks],
    }


def _prices(run: Path, clips: RunClips) -> dict[str, Any]:
    """The energy of a run, which has every network of its clips."""
    path, hint = run / ENERGY.folder / RESULTS, ENERGY.command(run)
    found = read_results(path, hint)
    if issues := list(lacking("networks", found["networks"], clips.networks)):
        raise refused(path, issues, hint)
    return found


def _check_complete(*runs: Path) -> None:
    issues = []
    for run in runs:
        if not (run / CONFIG).is_file():
            hint = f"a run is a folder with {CONFIG}; `spikefold run` makes one"
            issues.append(Issue("run", str(run), f"no {CONFIG}", "a run folder", hint))
            continue
        issues += [
            Issue("complete run", str(run), f"no {file}", "all stages up to energy", f"`{stage.command(run)}`")
            for file, stage in _NEEDED.items()
            if not (run / file).is_file()
        ]
    if issues:
        raise DataError("only finished runs can be compared", issues=issues, hint="run the stages that are missing")


def _why_unpaired(a: RunClips, b: RunClips) -> str:
    """Why clips are no pairs; empty where they are."""
    if a.labels != b.labels:
        return f"not the same test clips: {a.clips} and {b.clips}, and other labels"
    if a.frames != b.frames:
        return "equal labels but other frames: other recordings, or cut into frames otherwise"
    return ""


def _priced_alike(found: dict[str, Any], why: str) -> dict[str, Any]:
    """Leave the energy out where the two estimates are no comparison, and say why."""
    if found["energy_pj"] is None:
        return found | {"energy_why": why or "a constant of the profile is unknown"}
    return found | {"energy_why": why} | ({"energy_pj": None} if why else {})


def _why_no_price(a: dict[str, Any], b: dict[str, Any], name: str) -> str:
    """Why two estimates are no comparison: other constants or another counting rule; empty where they are one."""
    if a["profile"] != b["profile"]:
        return f"other constants: {a['profile'].get('name')} and {b['profile'].get('name')}"
    rules = [energy["networks"][name]["budget"]["rule_name"] for energy in (a, b)]
    return "" if rules[0] == rules[1] else f"other counting rules: {rules[0]} and {rules[1]}"


def _flat(part: BaseModel, path: str = "") -> dict[str, Any]:
    """Every key of a configuration by its dotted name."""
    found: dict[str, Any] = {}
    for key in type(part).model_fields:
        value = getattr(part, key)
        found |= _flat(value, f"{path}{key}.") if isinstance(value, BaseModel) else {f"{path}{key}": _plain(value)}
    return found


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
