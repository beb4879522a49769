# SPDX-License-Identifier: Apache-2.0
"""What an evaluation says on stdout."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from spikefold.commands.tables import say_json

if TYPE_CHECKING:
    from spikefold.stages.evaluate.form import EvaluationForm


def tell(found: EvaluationForm, place: Path, *, as_json: bool) -> None:
    """The figures of every engine, as lines or as JSON without what is told of single recordings."""
    if as_json:
        content = found.model_dump(mode="json", exclude={"engines", "names", "labels"})
        say_json(content | {"written": str(place)})
        return
    rows = found.recordings
    typer.echo(f"{rows.count} recordings of {rows.source}, {rows.split}, {len(found.classes)} classes")
    for name, results in found.results.items():
        typer.echo(_line(name, results))
        if voted := results["voted"]:
            typer.echo(f"{'':>14}  {voted['accuracy']:.3f} by the vote of {voted['clips']} clips a recording")
    typer.echo(place / "evaluation.html")


def _line(name: str, found: dict[str, Any]) -> str:
    low, high = found["interval"]
    line = f"{name:>14}  accuracy {found['accuracy']:.3f} ({low:.2f} to {high:.2f})"
    line += f"  spikes/clip {found['spikes']['mean']:,.0f}  SynOps/clip {found['synops']['mean']:,.0f}"
    line += f"  {found['energy_pj_per_clip'] / 1e6:.3f} uJ"
    if (against := found["against_float"]) is not None:
        low, high = against["accuracy"]["interval"]
        line += f"  against float {against['accuracy']['difference']:+.3f} ({low:+.2f} to {high:+.2f})"
    return line
