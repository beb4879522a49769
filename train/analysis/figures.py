# SPDX-License-Identifier: Apache-2.0
"""Draws firing rates and spike features of several networks side by side, as SVG."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from spikefold.report_style import COLOURS, svg
from spikefold.train.analysis.features import KINDS, ghosts, patterns
from spikefold.train.analysis.measure import Analysis

Analyses = Mapping[str, Analysis]
_KIND_COLOURS = dict(zip(KINDS, ("#b9c0c9", "#c14953", "#4b9b6b"), strict=True))
_SHOWN = 12
_NAMES_IN_A_LINE = 7


def firing_rates(analyses: Analyses) -> str:
    """Draw T-SFR over the steps with NASFR in the legend, and the mean rate of every layer."""
    figure = Figure(figsize=(8.4, 2.7), layout="constrained")
    over_time, by_layer = figure.subplots(1, 2)
    names = list(next(iter(analyses.values())).layers)
    width = 0.8 / len(analyses)
    for index, (network, analysis) in enumerate(analyses.items()):
        rates, colour = analysis.rates, COLOURS[index % len(COLOURS)]
        over_time.plot(
            rates.t_sfr, color=colour, marker="o", markersize=3, label=f"{network}, NASFR {rates.nasfr:.4f}"
        )
        positions = np.arange(len(names)) + (index - (len(analyses) - 1) / 2) * width
        heights = [layer.rate for layer in rates.layers.values()]
        by_layer.bar(positions, heights, width * 0.92, color=colour, label=network)
    over_time.set_xlabel("step")
    over_time.set_ylabel("T-SFR")
    over_time.set_ylim(bottom=0)
    over_time.legend(frameon=False)
    many = len(names) > _NAMES_IN_A_LINE
    by_layer.set_xticks(np.arange(len(names)), names, rotation=90 if many else 0, fontsize=5 if many else None)
    by_layer.set_ylabel("mean firing rate")
    return svg(figure, "Firing rates by step and by layer")


def busiest_step(analysis: Analysis) -> int:
    """The step with the highest T-SFR, the first of equals."""
    return int(analysis.rates.t_sfr.argmax())


def spike_features(analyses: Analyses, layer: str, step: int) -> str:
    """Draw N-SFR maps of the same channels of one layer at one step; frames show the kind, ``g`` marks a ghost."""
    channels = next(iter(analyses.values())).layers[layer].firing.fired.shape[1]
    shown = np.unique(np.linspace(0, channels - 1, min(_SHOWN, channels)).round().astype(int))
    brightest = max(float(a.layers[layer].firing.n_sfr[step, shown].max()) for a in analyses.values())
    figure = Figure(figsize=(8.4, 1.0 * len(analyses) + 0.3), layout="constrained")
    grid = figure.subplots(len(analyses), len(shown), squeeze=False)
    for row, (network, analysis) in zip(grid, analyses.items(), strict=True):
        found = analysis.layers[layer]
        if found.background is None:
            continue
        kinds = patterns(found.firing, found.background, analysis.rules)[step]
        alike = ghosts(found.firing, analysis.rules)[step]
        for axes, channel in zip(row, shown, strict=True):
            axes.imshow(
                found.firing.n_sfr[step, channel], cmap="magma", vmin=0, vmax=brightest or 1, interpolation="nearest"
            )
            _framed(axes, _KIND_COLOURS[KINDS[kinds[channel]]])
            axes.set_title(f"{channel}{' g' if alike[channel] else ''}", fontsize=6)
        row[0].set_ylabel(network, fontsize=8)
    return svg(figure, f"Spike features of {layer} at step {step}: N-SFR from 0 to {brightest:.2f}")


def _framed(axes: Any, colour: str) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(visible=True, color=colour, linewidth=1.8)


def feature_kinds(analyses: Analyses) -> str:
    """Draw which share of channels, over all steps, is null, noise and normal, and which share are ghosts."""
    names = list(next(iter(analyses.values())).maps)
    bars = [(name, network) for name in names for network in analyses]
    figure = Figure(figsize=(8.4, 0.32 * len(bars) + 0.8), layout="constrained")
    kinds_axes, ghost_axes = figure.subplots(1, 2, sharey=True, width_ratios=(2, 1))
    labels = [f"{name}, {network}" for name, network in bars]
    left = np.zeros(len(bars))
    found = [(analyses[network].layers[name], analyses[network].rules) for name, network in bars]
    codes = [patterns(la.firing, la.background, rules) for la, rules in found if la.background is not None]
    for index, kind in enumerate(KINDS):
        shares = np.array([float((code == index).mean()) for code in codes])
        kinds_axes.barh(labels, shares, left=left, color=_KIND_COLOURS[kind], label=kind)
        left += shares
    ghost_axes.barh(labels, [float(ghosts(la.firing, rules).mean()) for la, rules in found], color=COLOURS[4])
    kinds_axes.invert_yaxis()
    kinds_axes.set_xlabel("share of channels and steps")
    kinds_axes.set_xlim(0, 1)
    ghost_axes.set_xlabel("ghosts")
    ghost_axes.set_xlim(0, 1)
    handles, texts = kinds_axes.get_legend_handles_labels()
    figure.legend(handles, texts, loc="outside upper center", ncols=len(KINDS), frameon=False)
    return svg(figure, "Kinds of spike features, and ghosts")
