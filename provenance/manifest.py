# SPDX-License-Identifier: Apache-2.0
"""``manifest.json`` of a run: when each stage was done and how long it took, and what the report was made from."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spikefold import __version__
from spikefold.errors import DataError
from spikefold.files import read_json, write_json
from spikefold.provenance import digests
from spikefold.stage_table import BOARD, REPORT_SETTINGS, REPORTS, STAGES

if TYPE_CHECKING:  # `spikefold --help` must load no models of pydantic
    from spikefold.config import Config

MANIFEST = "manifest.json"
_SCHEMA = 1


def note_stage(run: Path, stage: str, seconds: float) -> None:
    """Write down that a stage has just been done."""
    content = _content(run)
    done = {"ended": _now(), "seconds": round(seconds, 1)}
    write_json(run / MANIFEST, content | {"stages": content["stages"] | {stage: done}})


def note_report(run: Path, config: Config) -> None:
    """Write down that the report has just been written, and what from."""
    content = _content(run)
    write_json(run / MANIFEST, content | {"report": {"ended": _now(), "made_from": _report_of(run, config)}})


def report_is_current(run: Path, config: Config) -> bool:
    """Whether the report is there, and nothing that it shows has changed."""
    if not all((run / name).is_file() for name in REPORTS):
        return False
    report = _content(run).get("report")
    return isinstance(report, dict) and report.get("made_from") == _report_of(run, config)


def _report_of(run: Path, config: Config) -> str:
    from spikefold.provenance.origin import ORIGIN, flat

    shown = [run / stage.folder / ORIGIN for stage in STAGES] + [
        run / stage.folder / BOARD for stage in STAGES if stage.in_run
    ]
    files = {path.relative_to(run).as_posix(): digests.of_file(path) for path in shown if path.is_file()}
    settings = {key: value for key, value in flat(config).items() if key in REPORT_SETTINGS}
    return digests.of_values([files, settings, run.resolve().name, digests.of_code()])


def _content(run: Path) -> dict[str, Any]:
    new = {"schema_version": _SCHEMA, "spikefold": __version__, "stages": {}}
    try:
        found = read_json(run / MANIFEST)
    except DataError:  # missing or damaged: nothing depends on the times in it
        return new
    fits = (
        isinstance(found, dict) and found.get("schema_version") == _SCHEMA and isinstance(found.get("stages"), dict)
    )
    return found | {"spikefold": __version__} if fits else new


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
