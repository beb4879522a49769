# SPDX-License-Identifier: Apache-2.0
"""The page of a network without a run, on one chip or several: of `sf.deploy`, and of ``spikefold report FILE``.

It has the chapters of a run's page that need no training: verdicts, ladder, parity, what was rewritten, cores,
operations and energy. A chapter of which nothing is known is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from typing import Any

from spikefold.energy.chip.markdown import by_reason
from spikefold.stages.report.energy_intervals import bars_of, energy_intervals
from spikefold.stages.report.floorplan import floorplan
from spikefold.stages.report.template_files import templates

_TEMPLATE = "network.html.jinja"
_WHERE_SHOWN = {"fit": "fit", "spikes": "parity", "accuracy": "ladder", "energy": "energy"}
"""By verdict the part of the page that holds its evidence; where it is empty the verdict is its own evidence."""


@dataclass(frozen=True)
class LadderStep:
    """One form of the network in the accuracy ladder.

    Attributes:
        name: of the form.
        what: it is, in words.
        accuracy: share of the clips.
        interval: of the accuracy, 95 %.
        spikes_per_clip: of all its neurons.
        synops_per_clip: synaptic operations; None where they were not counted.
    """

    name: str
    what: str
    accuracy: float
    interval: tuple[float, float]
    spikes_per_clip: float
    synops_per_clip: float | None = None


@dataclass(frozen=True)
class NetworkPage:
    """Everything that the page shows, as plain values.

    Attributes:
        title: of the page.
        about: one line under it.
        identity: of the network, in hexadecimal.
        chips: by name: ``title``, and ``passes``, the rewrites with their proofs.
        verdicts: `Verdict.to_json` by key.
        fit: `FitReport.to_json` by chip.
        parity: by chip what was compared, as in ``validate.json``.
        passes: rewrites for every chip.
        ladder: each form of the network.
        networks: counts and prices by name, as in ``energy.json``; one called like a chip has its budget.
        constants: of the prices, with file and line.
        adapted: by chip how it was tuned.
        refused: by chip the rules that keep the network from it.
        not_run: what, and why.
    """

    title: str
    about: str
    identity: str
    chips: Mapping[str, Mapping[str, Any]]
    verdicts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    fit: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    parity: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    passes: Sequence[Mapping[str, Any]] = ()
    ladder: Sequence[LadderStep] = ()
    networks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    constants: Sequence[Mapping[str, Any]] = ()
    adapted: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    refused: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    not_run: Sequence[Mapping[str, str]] = ()


def network_page(page: NetworkPage) -> str:
    """The page as HTML that needs nothing else; text is escaped."""
    chips = list(page.chips)
    priced = [name for name in chips if name in page.networks]
    values = {
        "r": {**_fields(page), "verdicts": dict(_linked(page))},
        "chips": chips,
        "floors": {
            chip: [tile.to_json() for tile in floorplan(fit, _rates(page.networks.get(chip)))]
            for chip, fit in page.fit.items()
        },
        "pictures": {"intervals": energy_intervals(bars_of(priced, page.networks))},
        "without_clips": [
            (chip, one)
            for chip, passes in [("every chip", page.passes), *((name, page.chips[name]["passes"]) for name in chips)]
            for one in passes
            if "clips" not in one
        ],
    }
    return templates().get_template(_TEMPLATE).render(values, by_reason=by_reason)


def _fields(page: NetworkPage) -> dict[str, Any]:
    chips = {
        name: {**one, "passes": [entry for entry in one["passes"] if "clips" in entry]}
        for name, one in page.chips.items()
    }
    return {**asdict(page), "chips": chips}


def _rates(network: Mapping[str, Any] | None) -> Sequence[Mapping[str, Any]]:
    return ((network or {}).get("chip") or {}).get("cores", ())


def _linked(page: NetworkPage) -> Iterator[tuple[str, dict[str, Any]]]:
    """The verdicts with links to where this page shows the evidence; the card itself where there is none."""
    shown = {"fit": page.fit, "parity": page.parity, "ladder": page.ladder, "energy": page.networks}
    for key, verdict in page.verdicts.items():
        part = _WHERE_SHOWN[key]
        link = f"#{part}" if shown[part] else f"#verdict-{key}"
        yield key, {**verdict, "lines": [{**line, "link": link} for line in verdict["lines"]]}


def verdict_table(caption: str, verdicts: Mapping[str, Mapping[str, Any]]) -> str:
    """The four verdicts as a table of HTML, for a notebook; text is escaped."""
    rows = "".join(
        f"<tr><th style='text-align:left'>{escape(verdict['question'])}</th><td style='text-align:left'>"
        f"<b>{escape(line['word'])}</b>: {escape(line['number'])}</td>"
        f"<td style='text-align:left'>{escape(line['text'])}</td></tr>"
        for verdict in verdicts.values()
        for line in verdict["lines"]
    )
    return f"<table><caption>{escape(caption)}</caption><tbody>{rows}</tbody></table>"
