# SPDX-License-Identifier: Apache-2.0
"""The energy part of the report: bars per layer, as SVG. Estimates are hatched, counts are plain."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from spikefold.report_style import COLOURS, svg


def energy_bars(networks: dict[str, Any]) -> str:
    """Exact operations beside their estimated energy, per clip, stacked by layer, one bar for each network."""
    figure = Figure(figsize=(8.4, 2.9), layout="constrained")
    counts, estimate = figure.subplots(1, 2, sharey=True)
    names = list(networks)
    bottoms = {id(counts): np.zeros(len(names)), id(estimate): np.zeros(len(names))}
    layers = [layer["name"] for layer in networks[names[0]]["budget"]["layers"]]
    parts = [*layers, "attention"]
    for index, part in enumerate(parts):
        values = [_part(networks[name]["budget"], part) for name in names]
        for axes, heights, hatch in (
            (counts, [v[0] for v in values], None),
            (estimate, [v[1] for v in values], "///"),
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
    figure.legend(handles, labels, loc="outside upper center", ncols=len(parts), frameon=False)
    return svg(figure, "Operations and estimated energy per clip")


def _part(budget: dict[str, Any], part: str) -> tuple[float, float]:
    """Thousands of operations and microjoules of one layer, or of the attention."""
    if part == "attention":
        layers_pj = sum(layer["energy_pj_per_clip"] for layer in budget["layers"])
        return budget["attention_macs_per_clip"] / 1e3, (budget["energy_pj_per_clip"] - layers_pj) / 1e6
    for layer in budget["layers"]:
        if layer["name"] == part:
            return (layer["mac_per_clip"] + layer["ac_per_clip"]) / 1e3, layer["energy_pj_per_clip"] / 1e6
    return 0.0, 0.0
