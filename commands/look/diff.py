# SPDX-License-Identifier: Apache-2.0
"""``spikefold diff``: what two runs differ in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from spikefold.commands.options import Json
from spikefold.commands.screen import guarded
from spikefold.commands.tables import say_json

_QUANTITIES = {
    "accuracy": ("accuracy", 1.0, ".3f", True),
    "spikes": ("spikes a clip", 1.0, ",.0f", False),
    "synops": ("operations a clip", 1.0, ",.0f", False),
    "energy_pj": ("estimate, uJ a clip", 1e-6, ",.3f", False),
}
"""In words, the factor into the unit shown, its format, and whether more is better."""


def diff(
    a: Annotated[Path, typer.Argument(help="A finished run, the one compared with.")],
    b: Annotated[Path, typer.Argument(help="Another; a difference below 0 means that it has less.")],
    as_json: Json = False,
) -> None:
    """What two runs differ in: accuracy, spikes, operations, energy; clip by clip where both saw the same clips.

    For example: spikefold diff runs/vanilla runs/mine
    """
    with guarded():
        from spikefold.stages.verbs.compare_runs import diff_runs

        found = diff_runs(a, b)
        if as_json:
            say_json(found)
            return
        for line in _lines(found):
            typer.echo(line)


def _lines(found: dict[str, Any]) -> Iterator[str]:
    paired = "paired" if found["paired"] else "not paired"
    yield f"A {found['a']['run']}, B {found['b']['run']}; {paired}: {found['why']}"
    for key, (one, other) in found["config"].items():
        yield f"  {key}: {one} -> {other}"
    for name, network in found["networks"].items():
        yield f"{name}:"
        for quantity in _QUANTITIES:
            if network.get(quantity):
                yield f"  {_line(quantity, network[quantity])}"
        if network["energy_why"]:
            yield f"  estimate: not compared, {network['energy_why']}"
    for run in ("a", "b"):
        if names := found[f"only_in_{run}"]:
            yield f"only in {run.upper()}: {', '.join(names)}"


def _line(quantity: str, found: dict[str, Any]) -> str:
    name, factor, form, more_is_better = _QUANTITIES[quantity]
    if quantity == "accuracy":
        means = [right / clips for right, clips in zip(found["right"], found["clips"], strict=True)]
    else:
        means = found["means"]
    change, interval = found["difference"], found["interval"]
    told = f"{name:<20} {means[0] * factor:{form}} -> {means[1] * factor:{form}}  {change * factor:+{form}}"
    if quantity != "accuracy" and found["relative"] is not None:
        told += f" ({found['relative']:+.1%})"
    if interval is not None:
        told += f"  95 % {interval[0] * factor:+{form}} to {interval[1] * factor:+{form}}"
    return f"{told}  {_verdict(change, interval, more_is_better=more_is_better)}"


def _verdict(change: float, interval: list[float] | None, *, more_is_better: bool) -> str:
    """In a word; what an interval does not tell from nothing is not called either way."""
    if not change:
        return "equal"
    if interval is None or interval[0] <= 0 <= interval[1]:
        return "not told apart"
    return "better" if (change > 0) == more_is_better else "worse"
