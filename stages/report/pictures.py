# SPDX-License-Identifier: Apache-2.0
"""The pictures of a report that are of no chip and no energy: the accuracy ladder and the training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from spikefold.report_style import COLOURS, arranged, svg
from spikefold.stages.files.train import EpochForm


def ladder_chart(steps: Sequence[Mapping[str, Any]], quoted: Sequence[str], clips: int) -> str:
    """Accuracy with its 95 % interval and spikes a clip of every step of the ladder; what a chip does is filled."""
    steps = [step for step in steps if step["clips"] == clips]  # a vendor's simulator saw fewer
    figure = Figure(figsize=(8.4, 0.7 + 0.24 * len(steps)))
    left, right = figure.subplots(1, 2, sharey=True)
    for row, step in enumerate(steps):
        low, high = step["interval"]
        told = step["name"] in quoted
        colour = COLOURS[1] if told else COLOURS[0]
        left.plot([low, high], [row, row], color=colour, linewidth=2)
        left.plot(step["accuracy"], row, "o", color=colour, markersize=6 if told else 4)
        right.barh(row, step["spikes_per_clip"], color=colour, height=0.62)
    left.set_yticks(range(len(steps)), [step["name"] for step in steps])
    left.invert_yaxis()
    left.set_xlabel("accuracy, 95 % interval")
    left.locator_params(axis="x", nbins=5)
    left.grid(axis="x", alpha=0.25)
    right.set_xlabel("spikes per clip")
    right.grid(axis="x", alpha=0.25)
    arranged(figure, left=[step["name"] for step in steps])
    return svg(figure, "Accuracy and spikes of every variant")


def training_chart(epochs: Mapping[str, Sequence[EpochForm]]) -> str:
    """Loss and accuracy of each network by epoch."""
    figure = Figure(figsize=(8.4, 2.3))
    loss, accuracy = figure.subplots(1, 2)
    for index, (name, each) in enumerate(epochs.items()):
        numbers = [epoch.number for epoch in each]
        marker = "o" if len(each) < 2 else "None"
        loss.plot(numbers, [one.loss for one in each], marker=marker, color=COLOURS[index], label=name)
        accuracy.plot(numbers, [one.accuracy for one in each], marker=marker, color=COLOURS[index])
    for axes, label in ((loss, "loss"), (accuracy, "accuracy in training")):
        axes.set_xlabel("epoch")
        axes.set_ylabel(label)
    if any(epochs.values()):  # an imported network has none
        loss.legend(frameon=False)
    arranged(figure, left=["0.0000"], apart=0.22)
    return svg(figure, "Loss and accuracy by epoch")
