# SPDX-License-Identifier: Apache-2.0
"""Draws the spikes of a run for its report, as SVG."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from spikefold.hardware.simulators.trace import Trace
from spikefold.report_style import COLOURS, arranged, svg

_UPRIGHT = 8
"""More names of layers than this do not fit side by side."""


def spikes_per_layer(spikes: Mapping[str, Mapping[str, float]]) -> str:
    """Mean spikes per clip of every layer, runs side by side; by run and layer."""
    figure = Figure(figsize=(8.4, 3.0))
    axes = figure.add_subplot()
    names = list(next(iter(spikes.values())))
    width = 0.8 / len(spikes)
    for index, (run, layers) in enumerate(spikes.items()):
        heights = [layers[name] for name in names]
        positions = np.arange(len(names)) + (index - (len(spikes) - 1) / 2) * width
        axes.bar(positions, heights, width * 0.92, label=run, color=COLOURS[index % len(COLOURS)])
    axes.set_xticks(np.arange(len(names)), names, rotation=90 if len(names) > _UPRIGHT else 0)
    axes.set_ylabel("spikes per clip")
    axes.legend(frameon=False, ncols=len(spikes), loc="upper right")
    axes.margins(y=0.18)
    upright = len(names) > _UPRIGHT
    arranged(figure, left=["00000000"], below=1 + (max(map(len, names)) // 2 if upright else 1))
    return svg(figure, "Spikes per clip and layer")


def output_rasters(traces: Mapping[str, Trace], classes: tuple[str, ...], clip: int, label: int) -> str:
    """Output spikes of one clip in every run: steps along x, output neurons along y, the true class framed."""
    figure = Figure(figsize=(8.4, 3.6))
    panels = figure.subplots(1, len(traces), sharey=True, squeeze=False)[0]
    for axes, (run, trace) in zip(panels, traces.items(), strict=True):
        raster = list(trace.layers.values())[-1].raster[:, clip]
        raster = raster.reshape(len(raster), -1).T
        voters = len(raster) // len(classes)
        axes.imshow(raster, aspect="auto", cmap="Greys", interpolation="nearest", vmin=0, vmax=1)
        axes.axhspan(
            label * voters - 0.5, (label + 1) * voters - 0.5, fill=False, edgecolor=COLOURS[1], linewidth=1.6
        )
        axes.set_title(run, fontsize=9)
        axes.set_xlabel("step")
    voters = len(list(next(iter(traces.values())).layers.values())[-1].raster[0, 0].ravel()) // len(classes)
    panels[0].set_yticks([(i + 0.5) * voters - 0.5 for i in range(len(classes))], classes, fontsize=7)
    arranged(figure, left=classes, above=1, apart=0.12)
    return svg(figure, f"Output spikes of one test clip, true class: {classes[label]}")


def input_and_layers(frames: np.ndarray, trace: Trace, clip: int) -> str:
    """One clip as the network sees it: input events and each map layer's spikes, summed over channels, by step."""
    maps = {"input": frames[:, clip].sum(axis=1, dtype=np.int64)}
    for name, layer in trace.layers.items():
        if layer.raster.shape[-1] > 1:
            maps[name] = layer.raster[:, clip].sum(axis=1, dtype=np.int64)
    steps = min(8, len(frames))
    figure = Figure(figsize=(8.4, 1.12 * len(maps) + 0.2))
    for axes, (name, values) in zip(figure.subplots(len(maps), 1, squeeze=False)[:, 0], maps.items(), strict=True):
        picture = _side_by_side(values[:steps])
        axes.imshow(picture, cmap="magma", vmin=0, vmax=max(1, values.max()), interpolation="nearest", aspect="auto")
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        axes.set_ylabel(name, fontsize=8)
    first, each = figure.axes[0], frames.shape[-1] + 1
    first.set_xticks(
        [(step + 0.5) * each - 1 for step in range(steps)], [f"step {step}" for step in range(steps)], fontsize=7
    )
    first.tick_params(length=0, labeltop=True, labelbottom=False)
    arranged(figure, left=["0"], below=0, above=1)
    return svg(figure, "Input events and spikes of one test clip")


def _side_by_side(maps: np.ndarray) -> np.ndarray:
    """Maps ``(T, H, W)`` in one picture ``(H, T (W + 1))`` with a gap behind each, which has no colour."""
    apart = np.pad(maps.astype(float), ((0, 0), (0, 0), (0, 1)), constant_values=np.nan)
    return apart.transpose(1, 0, 2).reshape(maps.shape[1], -1)
