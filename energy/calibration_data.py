# SPDX-License-Identifier: Apache-2.0
"""Measured powers at known rates of synaptic operations: from a CSV file, or from runs on a devkit."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spikefold.errors import DataError, Issue
from spikefold.hardware.devkit_power import OFFSET_W, RAILS

PROCESSOR = ("ram", "logic")
"""Rails whose sum is the processor's power: at rest 418.7 uW, the published 0.42 mW (facts, speck 6)."""
SENSOR = ("pixel_digital", "pixel_analog")
CHANNELS: Mapping[str, int] = {"io": 0, "ram": 1, "logic": 2, "pixel_digital": 3, "pixel_analog": 4}
"""Rails by our name, with the power monitor's channel."""
MONITOR_OFFSET_MW = len(PROCESSOR) * OFFSET_W * 1e3
"""Largest offset of the devkit's power monitor on the processor's rails together, either way."""
_RATE, _POWER = "synops_per_s", "power_mw"
_COLUMNS = (_RATE, _POWER, *(f"{rail}_mw" for rail in CHANNELS))


@dataclass(frozen=True)
class Point:
    """One measurement: synaptic operations a second, the power that went with them, and rails where known."""

    synops_per_s: float
    power_mw: float
    rails_mw: Mapping[str, float] = field(default_factory=dict)


def read_points(path: Path) -> tuple[Point, ...]:
    """Measurements of a CSV file with a header.

    Columns: ``synops_per_s``; ``power_mw``, or ``ram_mw`` and ``logic_mw`` whose sum it is; and, where they were
    measured, ``io_mw``, ``pixel_digital_mw``, ``pixel_analog_mw``.

    Raises:
        DataError: the file cannot be read, or with every column and row that is wrong.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header, *rows = csv.reader(file)
    except (OSError, UnicodeDecodeError, csv.Error, ValueError) as error:
        raise DataError(f"cannot read the measurements: {error}", where=str(path)) from error
    columns = [name.strip() for name in header]
    issues = _column_issues(columns)
    filled = [(number, row) for number, row in enumerate(rows, start=2) if any(cell.strip() for cell in row)]
    if not issues:
        issues = [issue for number, row in filled for issue in _row_issues(columns, number, row)]
    if issues:
        raise DataError("the measurements are not usable", where=str(path), issues=issues,
                        hint=f"columns are {_RATE}, {_POWER} or ram_mw and logic_mw, and other rails")  # fmt: skip
    return tuple(_point(dict(zip(columns, map(float, row), strict=True))) for _, row in filled)


def devkit_points(run: Mapping[str, Any], synops_per_clip: float) -> tuple[Point, Point]:
    """Rest and activity of one run on a board, ``DeviceRun.to_json()``.

    Args:
        run: plain values of the run.
        synops_per_clip: synaptic operations of its clips, mean: events of `counts.count` for the same network and
            clips.

    Raises:
        DataError: the run had problems, or measured no power of the processor's rails.
    """
    try:
        if run["problems"]:
            raise DataError(
                f"the run had problems and is no evidence: {run['problems'][0]}", where=str(run["target"]),
                hint="run the clips again until none is reported",
            )  # fmt: skip
        if run["power_missing"] is not None:
            raise DataError(f"the run has no power: {run['power_missing']}", where=str(run["target"]),
                            hint="let the board rest before the clips (idle_s above 0)")  # fmt: skip
        clip_s = run["steps"] * run["dt_us"] * 1e-6
        idle, active = (_rails(run["power"], which) for which in ("idle_w", "active_w"))
    except (KeyError, TypeError) as error:
        raise DataError(f"this is no result of a devkit run: {error!r}",
                        hint="give the plain values of DeviceRun.to_json()") from error  # fmt: skip
    if missing := [rail for rail in PROCESSOR if rail not in idle or rail not in active]:
        raise DataError(f"the run did not measure the rails {', '.join(missing)}", where=str(run["target"]),
                        hint="samples are needed at rest and during the clips")  # fmt: skip
    if not (clip_s > 0 and math.isfinite(synops_per_clip) and synops_per_clip > 0):
        raise DataError(f"{synops_per_clip:g} synaptic operations in {clip_s:g} s are no activity",
                        hint="give the mean events of the same clips")  # fmt: skip
    return Point(0.0, _processor(idle), idle), Point(synops_per_clip / clip_s, _processor(active), active)


def _rails(power: list[Mapping[str, Any]], which: str) -> dict[str, float]:
    """Milliwatts by our names of the rails that were measured."""
    names = {RAILS[channel]: rail for rail, channel in CHANNELS.items()}
    return {names[one["rail"]]: one[which] * 1e3 for one in power if one["rail"] in names and one[which] is not None}


def _processor(rails_mw: Mapping[str, float]) -> float:
    return sum(rails_mw[rail] for rail in PROCESSOR)


def _point(row: Mapping[str, float]) -> Point:
    rails = {rail: row[f"{rail}_mw"] for rail in CHANNELS if f"{rail}_mw" in row}
    return Point(row[_RATE], row[_POWER] if _POWER in row else _processor(rails), rails)


def _column_issues(columns: list[str]) -> list[Issue]:
    issues = [
        Issue("known columns", "header", repr(name), ", ".join(_COLUMNS), "Leave it out, or name it as listed.")
        for name in columns if name not in _COLUMNS
    ]  # fmt: skip
    if twice := sorted({name for name in columns if columns.count(name) > 1}):
        issues.append(Issue("columns once", "header", ", ".join(twice), "one each", "Remove the copies."))
    if _RATE not in columns:
        issues.append(Issue("a rate", "header", "none", _RATE, "Add the synaptic operations a second."))
    if _POWER not in columns and not {f"{rail}_mw" for rail in PROCESSOR} <= set(columns):
        issues.append(Issue("a power", "header", "none", f"{_POWER}, or ram_mw and logic_mw", "Add the power in mW."))
    return issues


def _row_issues(columns: list[str], number: int, row: list[str]) -> list[Issue]:
    where = f"line {number}"
    if len(row) != len(columns):
        return [Issue("one value a column", where, f"{len(row)} values", str(len(columns)), "Complete the row.")]
    return [
        Issue("numbers of 0 or more", f"{where}, {name}", repr(cell), "a finite number >= 0", "Correct the value.")
        for name, cell in zip(columns, row, strict=True) if not _sound(cell)
    ]  # fmt: skip


def _sound(cell: str) -> bool:
    try:
        return 0 <= float(cell) < math.inf
    except ValueError:
        return False
