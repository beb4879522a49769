# SPDX-License-Identifier: Apache-2.0
"""Draws the membrane potential distributions of several networks side by side, as SVG; a picture holds few layers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
from matplotlib.figure import Figure

from spikefold.report_style import COLOURS, svg
from spikefold.train.analysis.features import KINDS, patterns
from spikefold.train.analysis.figures import Analyses
from spikefold.train.analysis.measure import LayerAnalysis
from spikefold.train.analysis.potentials import BINS, BINS_PER_THRESHOLD, SPAN, ptd

Quantity = Literal["potential", "current"]
_EDGES = np.arange(BINS + 1) / BINS_PER_THRESHOLD - SPAN
_NAMES = {"potential": "potential U", "current": "input current I"}
_LAYERS_ABREAST = 7


def distributions(analyses: Analyses) -> str:
    """Draw histograms of U and I in every layer over all steps and channels, in units of the threshold."""
    return "".join(_distributions(analyses, names) for names in _abreast(next(iter(analyses.values())).layers))


def _abreast(layers: Iterable[str]) -> list[list[str]]:
    """Share the layers among as few pictures as possible, with equally many layers in each."""
    names = list(layers)
    pictures = -(-len(names) // _LAYERS_ABREAST)
    return [list(part) for part in np.array_split(names, pictures)] if names else []


def _distributions(analyses: Analyses, names: list[str]) -> str:
    figure = Figure(figsize=(8.4, 4.2), layout="constrained")
    grid = figure.subplots(2, len(names), squeeze=False, sharex=True)
    quantities: tuple[Quantity, ...] = ("potential", "current")
    for row, quantity in zip(grid, quantities, strict=True):
        for axes, name in zip(row, names, strict=True):
            for index, (network, analysis) in enumerate(analyses.items()):
                layer = analysis.layers[name]
                histogram = _histogram(layer, quantity).sum(axis=(0, 1))
                distance = ptd(histogram, layer.potentials.threshold)
                label = f"{network}, PTD {distance:+.2f}" if distance is not None else network
                _steps(axes, histogram, COLOURS[index % len(COLOURS)], label)
            axes.legend(frameon=False, fontsize=6, loc="upper left", handlelength=0.8)
        row[0].set_ylabel(f"share of {_NAMES[quantity]}")
    for axes, name in zip(grid[0], names, strict=True):
        axes.set_title(name, fontsize=8)
    for axes in grid[1]:
        axes.set_xlabel("thresholds")
    return svg(figure, "Membrane potential distribution of every layer, and that of the input current")


def distributions_by_kind(analyses: Analyses) -> str:
    """Draw histograms of U for null, noise and normal channels separately, in the layers that have maps."""
    return "".join(_by_kind(analyses, names) for names in _abreast(next(iter(analyses.values())).maps))


def _by_kind(analyses: Analyses, names: list[str]) -> str:
    figure = Figure(figsize=(8.4, 1.9 * len(analyses) + 0.3), layout="constrained")
    grid = figure.subplots(len(analyses), len(names), squeeze=False, sharex=True)
    for row, (network, analysis) in zip(grid, analyses.items(), strict=True):
        for axes, name in zip(row, names, strict=True):
            layer = analysis.layers[name]
            if layer.background is None:
                continue
            codes = patterns(layer.firing, layer.background, analysis.rules)
            for index, kind in enumerate(KINDS):
                histogram = layer.potentials.potential[codes == index].sum(axis=0)
                if histogram.sum():
                    share = float((codes == index).mean())
                    _steps(axes, histogram, COLOURS[(4, 5, 2)[index]], f"{kind}, {share:.0%}")
            axes.set_title(f"{name}, {network}", fontsize=8)
            axes.legend(frameon=False, fontsize=6, loc="upper left", handlelength=0.8)
        row[0].set_ylabel("share of U")
    for axes in grid[-1]:
        axes.set_xlabel("thresholds")
    return svg(figure, "Membrane potential distribution of null, noise and normal channels")


def distributions_over_time(analyses: Analyses) -> str:
    """Draw histograms of U in every layer at every step, brighter for a higher share, with the threshold in white."""
    return "".join(_over_time(analyses, names) for names in _abreast(next(iter(analyses.values())).layers))


def _over_time(analyses: Analyses, names: list[str]) -> str:
    figure = Figure(figsize=(8.4, 1.8 * len(analyses) + 0.3), layout="constrained")
    grid = figure.subplots(len(analyses), len(names), squeeze=False, sharex=True, sharey=True)
    for row, (network, analysis) in zip(grid, analyses.items(), strict=True):
        for axes, name in zip(row, names, strict=True):
            by_step = analysis.layers[name].potentials.potential.sum(axis=1)
            shares = by_step[:, 1:-1] / by_step.sum(axis=1, keepdims=True)
            # the square root makes the bins visible next to the one bin that holds most potentials
            axes.imshow(
                np.sqrt(shares.T),
                origin="lower",
                aspect="auto",
                cmap="magma",
                interpolation="nearest",
                extent=(-0.5, len(shares) - 0.5, -SPAN, SPAN),
            )
            axes.axhline(1, color="white", linewidth=0.8)
            axes.set_title(f"{name}, {network}", fontsize=8)
        row[0].set_ylabel("U, thresholds")
    for axes in grid[-1]:
        axes.set_xlabel("step")
    return svg(figure, "Membrane potential distribution by step")


def _histogram(layer: LayerAnalysis, quantity: Quantity) -> np.ndarray:
    return layer.potentials.potential if quantity == "potential" else layer.potentials.current


def _steps(axes: Any, histogram: np.ndarray, colour: str, label: str) -> None:
    """Draw one histogram ``(BINS + 2,)`` as shares of all values, those outside the bins included."""
    axes.stairs(histogram[1:-1] / histogram.sum(), _EDGES, color=colour, label=label)
    axes.axvline(1, color="#1d2430", linewidth=0.6, linestyle="--")
    axes.set_yscale("symlog", linthresh=1e-3)
    axes.set_ylim(0, 1)
