# SPDX-License-Identifier: Apache-2.0
"""The picture of a sweep: accuracy against energy, a panel for each chip, the size of a point its cores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from spikefold.report_style import COLOURS, arranged, svg
from spikefold.stages.sweep.point import OnChip, Point

_LARGEST = 220.0
"""Area of the point with most cores, in points squared."""


def picture(points: Sequence[Point]) -> str:
    """The picture as an ``<svg>`` element; empty where no design has a report. Points of the front are joined."""
    panels: dict[str, dict[str, OnChip]] = {}
    for point in points:
        for chip, one in point.chips.items():
            panels.setdefault(chip, {})[point.name] = one
    if not panels:
        return ""
    figure = Figure(figsize=(8.4, 3.4))
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axis, (chip, members) in zip(axes, panels.items(), strict=True):
        _panel(axis, chip, members)
    axes[0].set_ylabel("accuracy")
    arranged(figure, left=["accuracy 0.0"], below=3, above=2, apart=0.12)
    return svg(figure, "Accuracy against energy of every design; points on the front are filled and joined")


def _panel(axis: object, chip: str, members: Mapping[str, OnChip]) -> None:
    most = max((one.cores or 0 for one in members.values()), default=0) or 1
    for name, one in members.items():
        drawn = axis.scatter(  # type: ignore[attr-defined]
            [one.energy_uj],
            [one.accuracy],
            s=30 + (_LARGEST - 30) * (one.cores or 0) / most,
            facecolors=COLOURS[0] if one.on_front else "none",
            edgecolors=COLOURS[0] if one.on_front else COLOURS[4],
            alpha=0.85,
        )
        drawn.set_gid(f"point-{chip}-{name}")
        drawn.set_urls([f"{name}/report.html"])
    axis.margins(0.12)  # type: ignore[attr-defined]
    on_front = sorted((one.energy_uj, one.accuracy) for one in members.values() if one.on_front)
    axis.plot(*zip(*on_front, strict=True), color=COLOURS[1], linewidth=1, zorder=0)  # type: ignore[attr-defined]
    energies = [one.energy_uj for one in members.values() if one.energy_uj > 0]
    if energies and max(energies) > 3 * min(energies):
        axis.set_xscale("log")  # type: ignore[attr-defined]
    kinds = " and ".join(sorted({one.energy_of for one in members.values()}))
    axis.set_xlabel(f"estimated uJ a clip ({kinds})")  # type: ignore[attr-defined]
    axis.set_title(f"{chip}: area is cores, at most {most}", fontsize=8)  # type: ignore[attr-defined]
