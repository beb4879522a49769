# SPDX-License-Identifier: Apache-2.0
"""The page of one network on one chip, without a run: verdicts, what was compared, cores, operations and energy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from spikefold.energy.chip.markdown import by_reason
from spikefold.stages.report.energy_intervals import bars_of, energy_intervals
from spikefold.stages.report.floorplan import floorplan
from spikefold.stages.report.template_files import templates

_TEMPLATE = "one_chip.html.jinja"


def render_one_chip(content: Mapping[str, Any]) -> str:
    """The page.

    Args:
        content: of `spikefold.api.deployed.Deployed.to_json`.
    """
    chip, energy = str(content["chip"]), content["energy"]
    rates = ((energy or {}).get("chip") or {}).get("cores", ())
    intervals = "" if energy is None else energy_intervals(bars_of([chip], {chip: energy}))
    values = {
        "r": {**content, "verdicts": dict(_linked(content))},
        "chips": [chip],
        "floors": {chip: [tile.to_json() for tile in floorplan(content["fit"][chip], rates)]},
        "pictures": {"intervals": intervals},
    }
    return templates().get_template(_TEMPLATE).render(values, by_reason=by_reason)


def _linked(content: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The verdicts with links to where this page shows the evidence; the card itself where there is none."""
    shown = {"fit": "#fit", "spikes": "#parity" if content["parity"] else "", "energy": "#energy"}
    if content["energy"] is None:
        shown["energy"] = ""
    for key, verdict in content["verdicts"].items():
        link = shown.get(key) or f"#verdict-{key}"
        yield key, {**verdict, "lines": [{**line, "link": link} for line in verdict["lines"]]}


def verdict_table(content: Mapping[str, Any]) -> str:
    """The four verdicts as a table of HTML, for a notebook; text is escaped."""
    title = content["chips"][content["chip"]]["title"]
    rows = "".join(
        f"<tr><th style='text-align:left'>{escape(verdict['question'])}</th><td style='text-align:left'>"
        f"<b>{escape(line['word'])}</b>: {escape(line['number'])}</td>"
        f"<td style='text-align:left'>{escape(line['text'])}</td></tr>"
        for verdict in content["verdicts"].values()
        for line in verdict["lines"]
    )
    return f"<table><caption>{escape(content['network'])} on {escape(title)}</caption><tbody>{rows}</tbody></table>"
