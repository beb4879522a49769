# SPDX-License-Identifier: Apache-2.0
"""The main figures of a report as lines: what is wrong first, then the four verdicts, then the accuracy ladder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from spikefold.commands.tables import say_json

_TONES = {"bad": "!!", "warn": "!"}
_TOLD = ("verdicts", "findings", "accuracy_ladder", "parity", "on_chip", "not_run")
"""Parts of ``report.json`` that ``--json`` prints; the file has the rest."""


def say_report(content: dict[str, Any], folder: Path, *, as_json: bool) -> None:
    """Print the summary of a report, and where it lies."""
    page = folder / "report.html"
    if as_json:
        say_json({"run": str(folder), "report": str(page)} | {key: content[key] for key in _TOLD})
        return
    for line in _summary(content):
        typer.echo(line)
    typer.echo(page)


def verdict_lines(content: dict[str, Any]) -> Iterator[str]:
    """What is wrong with a run and what to do about it, and the four verdicts, a line each."""
    for finding in content["findings"]:
        yield f"{_TONES[finding['tone']]:>10}  {finding['what']}. To do: {finding['to_do']}"
    for verdict in content["verdicts"].values():
        told = "; ".join(f"{line['chip']} {line['number']}" for line in verdict["lines"])
        yield f"{verdict['key']:>10}  {verdict['word']}{told and f': {told}'}"


def _summary(content: dict[str, Any]) -> Iterator[str]:
    yield from verdict_lines(content)
    for step in content["accuracy_ladder"]:
        low, high = step["interval"]
        spikes = f"spikes/clip {step['spikes_per_clip']:,.0f}"
        yield f"{step['name']:>10}  accuracy {step['accuracy']:.3f} ({low:.2f} to {high:.2f})  {spikes}"
        if step["voted"]:
            voted = step["voted"]
            yield f"{'':>10}  {voted['accuracy']:.3f} by the vote of {voted['clips']} clips a recording"
    yield from comparisons(content)


def comparisons(content: dict[str, Any]) -> Iterator[str]:
    """Lines that say which runners were compared, over how many spikes, and what was not compared or not run."""
    for chip, parity in content["parity"].items():
        yield (
            f"{chip:>10}  {' = '.join(parity['runners'])}: {parity['mismatches']} mismatches in "
            f"{parity['spikes']:,} spikes of {parity['neurons']:,} neurons"
        )
        silent = dict.fromkeys(name for one in parity["comparisons"] for name in one.get("silent", ()))
        if silent:
            yield f"{'NOT COMPARED':>12}  {chip}: {', '.join(silent)} never fires"
    for item in content["not_run"]:
        yield f"   NOT RUN  {item['what']}: {item['why']}"
