# SPDX-License-Identifier: Apache-2.0
"""Measured powers at known rates of synaptic operations: from CSV files, and from runs on a devkit."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spikefold.config import load_config
from spikefold.errors import ConfigError, DataError, Issue
from spikefold.files import read_json
from spikefold.hardware.board import PowerMeter
from spikefold.hardware.registry import board_of, chip_named
from spikefold.session import BOARD, CONFIG
from spikefold.stage_table import VALIDATE

PROCESSOR = ("ram", "logic")
"""Rails whose sum is the processor's power: at rest 418.7 uW, the published 0.42 mW (facts, speck 6)."""
SENSOR = ("pixel_digital", "pixel_analog")
RAILS = ("io", *PROCESSOR, *SENSOR)
"""Every rail by the name that it has in a technology profile; a board says which of its own they are."""
_RATE, _POWER = "synops_per_s", "power_mw"
_COLUMNS = (_RATE, _POWER, *(f"{rail}_mw" for rail in RAILS))


@dataclass(frozen=True)
class Point:
    """One measurement: synaptic operations a second, the power that went with them, and rails where known."""

    synops_per_s: float
    power_mw: float
    rails_mw: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Measurements:
    """Points to fit, and the largest offset of the meter, either way: 0 where it is not known."""

    points: tuple[Point, ...]
    offset_mw: float


def read_measurements(sources: Iterable[Path]) -> Measurements:
    """All points of several sources: CSV files, ``board.json`` files, and run folders that hold one.

    Raises:
        DataError: a source cannot be read, is wrong, or holds no result of a board.
    """
    points: list[Point] = []
    offset_mw = 0.0
    for source in sources:
        if source.is_dir() or source.suffix == ".json":
            result = _board_result(source)
            points += devkit_points(result)
            # the processor's rails together, each off by as much
            offset_mw = max(offset_mw, len(PROCESSOR) * _meter(result).offset_w * 1e3)
        else:
            points += read_points(source)
    return Measurements(tuple(points), offset_mw)


def _board_result(source: Path) -> Any:
    """What ``spikefold validate --on`` wrote, of a run folder or of the file itself."""
    if not source.is_dir():
        return read_json(source)
    if not (source / CONFIG).is_file():
        raise DataError(
            "no run there", where=str(source), hint="give a run folder, its board.json, or a CSV file of measurements"
        )
    path = source / VALIDATE.folder / BOARD
    if not path.is_file():
        raise DataError(
            "no board has run the clips of this run, so no power was measured",
            where=str(path),
            hint=f"spikefold validate {source} --on {_board_for(source)}",
        )
    return read_json(path)


def _board_for(run: Path) -> str:
    """The first board that carries a chip of a run, as a target; else words that say so."""
    boards = [board.name for name in load_config(run / CONFIG).chips.names for board in chip_named(name).boards]
    return f"{boards[0]}:0" if boards else "BOARD:0, where a chip of the run is on a board"


def _meter(run: Any) -> PowerMeter:
    """The power monitor of the board that ran.

    Raises:
        DataError: no chip has such a board, or it has no monitor.
    """
    target = str(run["target"])
    try:
        meter = board_of(target)[1].meter
    except ConfigError as error:
        raise DataError(error.what, where=target, hint=error.hint) from error
    if meter is None:
        raise DataError("the board has no power monitor", where=target, hint="give its power as a CSV file")
    return meter


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
        raise DataError(
            "the measurements are not usable",
            where=str(path),
            issues=issues,
            hint=f"columns are {_RATE}, {_POWER} or ram_mw and logic_mw, and other rails",
        )
    return tuple(_point(dict(zip(columns, map(float, row), strict=True))) for _, row in filled)


def devkit_points(run: Any) -> tuple[Point, ...]:
    """Rest, and the activity of each clip, of one run on a board, as ``board.json`` holds them.

    Args:
        run: plain values: ``DeviceRun.to_json()``, with ``synops`` of each clip over its repeats and ``replayed_us``,
            the time in which they were done and power was sampled.

    Raises:
        DataError: no board ran, the run had problems, or it measured no power of the processor's rails.
    """
    try:
        target = str(run["target"])
        if "not_run" in run:
            raise DataError(
                f"NOT RUN on {target}: {run['not_run']}",
                where=target,
                hint="connect the board and run `spikefold validate --on` again",
            )
        if run["problems"]:
            raise DataError(
                f"the run had problems and is no evidence: {run['problems'][0]}",
                where=target,
                hint="run the clips again until none is reported",
            )
        if run["power_missing"] is not None:
            raise DataError(
                f"the run has no power: {run['power_missing']}",
                where=target,
                hint="measure on a board with a power monitor, and let it rest first",
            )
        rails = _meter(run).rails
        idle = _rails(run["power"], "idle_w", rails)
        clips = [
            (float(synops), float(us) * 1e-6, _rails(power, "active_w", rails))
            for synops, us, power in zip(run["synops"], run["replayed_us"], run["clip_power"], strict=True)
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"this is no result of a devkit run: {error!r}",
            hint="give what `spikefold validate --on` wrote, board.json",
        ) from error
    # a clip shorter than the pause between two samples may have none
    heard = [(synops / s if s > 0 else math.inf, rails) for synops, s, rails in clips if _measured(rails)]
    if not (heard and _measured(idle)):
        raise DataError(
            f"the run did not measure the rails {', '.join(PROCESSOR)}",
            where=target,
            hint="samples are needed at rest and during the clips",
        )
    if wrong := [rate for rate, _ in heard if not 0 < rate < math.inf]:
        raise DataError(
            f"{wrong[0]:g} synaptic operations a second are no activity",
            where=target,
            hint="run clips that make the network spike",
        )
    rest = Point(0.0, _processor(idle), idle)
    return rest, *(Point(rate, _processor(rails), rails) for rate, rails in heard)


def _measured(rails_mw: Mapping[str, float]) -> bool:
    return all(rail in rails_mw for rail in PROCESSOR)


def _rails(power: list[Mapping[str, Any]], which: str, names: Mapping[str, str]) -> dict[str, float]:
    """Milliwatts by our names of the rails that were measured."""
    return {names[one["rail"]]: one[which] * 1e3 for one in power if one["rail"] in names and one[which] is not None}


def _processor(rails_mw: Mapping[str, float]) -> float:
    return sum(rails_mw[rail] for rail in PROCESSOR)


def _point(row: Mapping[str, float]) -> Point:
    rails = {rail: row[f"{rail}_mw"] for rail in RAILS if f"{rail}_mw" in row}
    return Point(row[_RATE], row[_POWER] if _POWER in row else _processor(rails), rails)


def _column_issues(columns: list[str]) -> list[Issue]:
    issues = [
        Issue("known columns", "header", repr(name), ", ".join(_COLUMNS), "Leave it out, or name it as listed.")
        for name in columns
        if name not in _COLUMNS
    ]
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
        for name, cell in zip(columns, row, strict=True)
        if not _sound(cell)
    ]


def _sound(cell: str) -> bool:
    try:
        return 0 <= float(cell) < math.inf
    except ValueError:
        return False
