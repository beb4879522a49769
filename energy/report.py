# SPDX-License-Identifier: Apache-2.0
"""The energy part of the report: layers, spread over clips, what an estimate hangs on. Estimates are hatched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from spikefold.energy.outputs import ATTENTION, attention_energy_pj
from spikefold.energy.statistics.clips import NetworkClips
from spikefold.pages import template
from spikefold.report_style import COLOURS, arranged, svg

_HATCH = "///"
_LOG_FROM = 20.0
"""Ratio of the longest to the shortest end of a tornado from which its axis is logarithmic."""
_TEMPLATE = Path(__file__).with_name("report.html.jinja")
_TITLES = {"synops": "synaptic events", "spikes": "spikes", "energy_pj": "estimate, uJ"}


def energy_bars(networks: dict[str, Any]) -> str:
    """Exact operations beside their estimated energy, per clip, stacked by layer, one bar for each network."""
    figure = Figure(figsize=(8.4, 3.0))
    counts, estimate = figure.subplots(1, 2, sharey=True)
    names = list(networks)
    bottoms = {id(counts): np.zeros(len(names)), id(estimate): np.zeros(len(names))}
    layers = [layer["name"] for layer in networks[names[0]]["budget"]["layers"]]
    parts = [*layers, ATTENTION]
    for index, part in enumerate(parts):
        values = [_part(networks[name]["budget"], part) for name in names]
        for axes, heights, hatch in (
            (counts, [v[0] for v in values], None),
            (estimate, [v[1] for v in values], _HATCH),
        ):
            colour = COLOURS[index % len(COLOURS)]
            axes.barh(
                names, heights, left=bottoms[id(axes)], color=colour, label=part, hatch=hatch, edgecolor="white"
            )
            bottoms[id(axes)] += np.array(heights)
    counts.set_xlabel("counted: MAC + AC per clip (thousands)")
    estimate.set_xlabel("estimated: uJ per clip, arithmetic alone")
    counts.invert_yaxis()
    handles, labels = counts.get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper center", ncols=min(len(parts), 6), frameon=False)
    arranged(figure, left=names, above=2 * -(-len(parts) // 6))
    return svg(figure, "Operations and estimated energy per clip")


def _part(budget: dict[str, Any], part: str) -> tuple[float, float]:
    """Thousands of operations and microjoules of one layer, or of the attention; an unknown energy has no bar."""
    if part == ATTENTION:
        return budget["attention_macs_per_clip"] / 1e3, (attention_energy_pj(budget) or 0.0) / 1e6
    for layer in budget["layers"]:
        if layer["name"] == part:
            operations = layer["mac_per_clip"] + layer["ac_per_clip"]
            return operations / 1e3, (layer["energy_pj_per_clip"] or 0.0) / 1e6
    return 0.0, 0.0


def clip_histogram(values: Mapping[str, np.ndarray], label: str) -> str:
    """How a quantity ``(N,)`` spreads over the clips of each network; means are dashed, worst clips dotted."""
    figure = Figure(figsize=(8.4, 2.4))
    axes = figure.add_subplot()
    everything = np.concatenate([one.astype(float) for one in values.values()])
    bins = min(30, max(5, len(everything) // (4 * len(values))))
    edges = np.histogram_bin_edges(everything, bins=bins).tolist()
    for index, (name, one) in enumerate(values.items()):
        colour = COLOURS[index % len(COLOURS)]
        axes.hist(one.astype(float), edges, histtype="step", color=colour, linewidth=1.4, label=name)
        axes.axvline(float(one.mean()), color=colour, linestyle="--", linewidth=0.9)
        axes.axvline(float(one.max()), color=colour, linestyle=":", linewidth=0.9)
    axes.set_xlabel(label)
    axes.set_ylabel("clips")
    axes.legend(frameon=False)
    arranged(figure, left=["0000"])
    return svg(figure, f"Clips by {label}")


def tornado_bars(tornado: Mapping[str, Any]) -> str:
    """The tornado of one estimate, in uJ a clip, the longest bar on top; each kind of change has its colour."""
    swings: Sequence[Mapping[str, Any]] = tornado["swings"]
    nominal = tornado["band"]["value_pj"] / 1e6
    figure = Figure(figsize=(8.4, 0.8 + 0.26 * len(swings)))
    axes = figure.add_subplot()
    kinds = dict(zip(("constant", "rule", "profile"), COLOURS, strict=False))
    ends = [(swing["from_pj"] / 1e6, swing["to_pj"] / 1e6) for swing in swings]
    for row, (swing, (start, end)) in enumerate(zip(swings, ends, strict=True)):
        axes.barh(row, end - start, left=start, color=kinds[swing["kind"]], hatch=_HATCH, edgecolor="white")
    positive = [end for pair in ends for end in pair if end > 0]
    if positive and len(positive) == 2 * len(ends) and max(positive) > _LOG_FROM * min(positive):
        axes.set_xscale("log")
        axes.set_xlim(min(positive) / 1.2, max(positive) * 1.2)
    axes.axvline(nominal, color="black", linewidth=0.9)
    names = [f"{swing['kind']}: {swing['name']}" for swing in swings]
    axes.set_yticks(range(len(swings)), names)
    axes.invert_yaxis()
    axes.set_xlabel("estimated: uJ per clip; the line is the estimate in use")
    arranged(figure, left=names)
    return svg(figure, "Sensitivity of the estimated energy")


def uncertainty_section(results: Mapping[str, Any], clips: Mapping[str, NetworkClips]) -> str:
    """HTML: the spread over clips and the tornado of each network given; text is escaped.

    Args:
        results: the content of ``energy.json``.
        clips: of the networks to show, in order.
    """
    networks = {name: results["networks"][name] for name in clips}
    tornados = {
        name: network["sensitivity"] | {"picture": tornado_bars(network["sensitivity"])}
        for name, network in networks.items()
        if network.get("sensitivity")
    }
    return template(_TEMPLATE).render(
        clips=len(next(iter(clips.values())).right),
        histogram=clip_histogram({name: one.quantities["synops"] for name, one in clips.items()}, "synaptic events"),
        distributions={name: network.get("uncertainty", {}) for name, network in networks.items()},
        coverages={name: network["counts"]["coverage"] for name, network in networks.items()},
        tornados=tornados,
        titles=_TITLES,
        uj=_uj,
        shown=_shown,
    )


def _uj(picojoules: float) -> str:
    return f"{picojoules / 1e6:,.4g}"


def _shown(quantity: str, value: float) -> str:
    """A quantity in the unit of `_TITLES`."""
    return _uj(value) if quantity == "energy_pj" else f"{value:,.0f}"
