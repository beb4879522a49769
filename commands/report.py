# SPDX-License-Identifier: Apache-2.0
"""``spikefold report``: the report of a finished run, and its main figures as lines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from spikefold.commands.options import LATEST_RUN, Quiet, RunFolder
from spikefold.commands.screen import guarded
from spikefold.session import Session, open_session

_TONES = {"bad": "!!", "warn": "!"}


def report(folder: RunFolder = LATEST_RUN, quiet: Quiet = False) -> None:
    """Write report.json and report.html of a run whose stages are done."""
    with guarded(quiet) as screen:
        tell_report(open_session(folder, screen))


def tell_report(session: Session) -> None:
    """Write the report and print its main figures."""
    from spikefold.stages.report.write import write_report

    for line in _summary(write_report(session)):
        typer.echo(line)
    typer.echo(session.folder / "report.html")


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
    """Lines that say which runners were compared, over how many spikes, and what was not run."""
    for chip, parity in content["parity"].items():
        yield (
            f"{chip:>10}  {' = '.join(parity['runners'])}: {parity['mismatches']} mismatches in "
            f"{parity['spikes']:,} spikes of {parity['neurons']:,} neurons"
        )
    for item in content["not_run"]:
        yield f"   NOT RUN  {item['what']}: {item['why']}"
