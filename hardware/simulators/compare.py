# SPDX-License-Identifier: Apache-2.0
"""Compares traces spike for spike. Equal means equal; a comparison that compared nothing fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np

from spikefold.errors import MismatchError
from spikefold.hardware.simulators.trace import Trace

Rerun = Callable[[int], Trace]
"""Runs one clip, by index, again and records potentials."""


@dataclass(frozen=True)
class FirstMismatch:
    """Where two runners part: the earliest layer that differs, its earliest step, one neuron ``(c, y, x)``.

    States are those after the step before and after this one; None where a runner could not give them.
    """

    layer: str
    step: int
    clip: int
    neuron: tuple[int, int, int]
    spikes: tuple[int, int]
    state_before: tuple[float | None, float | None] = (None, None)
    state_after: tuple[float | None, float | None] = (None, None)


@dataclass(frozen=True)
class Comparison:
    """One runner against another: how much was compared, and how many spike counts differ.

    Attributes:
        silent: layers that never fire in either, so that nothing was compared there.
    """

    runners: tuple[str, str]
    layers: int
    steps: int
    clips: int
    neurons: int
    spikes: int
    mismatches: int
    first: FirstMismatch | None = None
    silent: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Plain values for a report."""
        return asdict(self)

    def describe(self) -> str:
        """One line for people."""
        verdict = "equal" if not self.mismatches else f"{self.mismatches} MISMATCHES"
        quiet = f"; NOT COMPARED, for it never fires: {', '.join(self.silent)}" if self.silent else ""
        return (
            f"{self.runners[0]} = {self.runners[1]}: {verdict} ({self.layers} layers, {self.neurons} neurons, "
            f"{self.steps} steps, {self.clips} clips, {self.spikes} spikes){quiet}"
        )


def compare(
    first: Trace, second: Trace, reruns: tuple[Rerun, Rerun] | None = None, *, allow_silent: bool = False
) -> Comparison:
    """Compare every layer, step, clip and neuron of two traces of the same clips.

    Args:
        first: one trace, usually the reference's.
        second: the other.
        reruns: how to run one clip again with potentials, for the explanation of a mismatch.
        allow_silent: a layer that is silent on both sides is named in the result, and the others are compared; the
            caller must say that it was not compared, and fail in the end.

    Raises:
        MismatchError: the traces do not have the same layers and shapes, or a layer is silent on both sides, so that
            its equality would say nothing.
    """
    names = (first.runner, second.runner)
    if list(first.layers) != list(second.layers):
        raise MismatchError(
            f"{names[0]} has layers {list(first.layers)}, {names[1]} has {list(second.layers)}",
            hint="both runners must report every spiking layer",
        )
    if not first.layers:
        raise MismatchError(f"{names[0]} and {names[1]} report no spiking layer, so nothing was compared")
    mismatches, spikes, neurons = 0, 0, 0
    silent: list[str] = []
    found: FirstMismatch | None = None
    steps = clips = 0
    for name, one in first.layers.items():
        other = second.layers[name]
        if one.raster.shape != other.raster.shape:
            raise MismatchError(f"{names[0]} gives {one.raster.shape}, {names[1]} {other.raster.shape}", where=name)
        steps, clips = one.raster.shape[:2]
        if not one.spikes and not other.spikes and allow_silent:
            silent.append(name)
            continue
        if not one.spikes and not other.spikes:
            raise MismatchError(
                f"{name} never fires, so nothing was compared there",
                where=f"{names[0]} and {names[1]}",
                hint="use input that makes every layer fire, or lower that layer's threshold",
            )
        neurons += int(np.prod(one.raster.shape[2:]))
        spikes += one.spikes
        differ = one.raster != other.raster
        mismatches += int(differ.sum())
        if found is None and differ.any():
            found = _locate(name, one.raster, other.raster, differ)
    if found is not None and reruns is not None:
        found = _with_states(found, *(rerun(found.clip) for rerun in reruns))
    compared = len(first.layers) - len(silent)
    return Comparison(names, compared, steps, clips, neurons, spikes, mismatches, found, tuple(silent))


def _locate(layer: str, one: np.ndarray, other: np.ndarray, differ: np.ndarray) -> FirstMismatch:
    step, clip, channel, row, column = (int(i) for i in np.argwhere(differ)[0])
    spot = (step, clip, channel, row, column)
    return FirstMismatch(layer, step, clip, (channel, row, column), (int(one[spot]), int(other[spot])))


def _with_states(found: FirstMismatch, *traces: Trace) -> FirstMismatch:
    before: list[float | None] = []
    after: list[float | None] = []
    for trace in traces:
        states = trace.layers[found.layer].potentials
        spot = (0, *found.neuron)
        before.append(None if states is None else float(states[found.step - 1][spot]) if found.step else 0.0)
        after.append(None if states is None else float(states[found.step][spot]))
    return FirstMismatch(
        found.layer,
        found.step,
        found.clip,
        found.neuron,
        found.spikes,
        (before[0], before[1]),
        (after[0], after[1]),
    )


def explain(comparison: Comparison) -> str:
    """What differs, for people: the first layer, step and neuron, with the states of both sides."""
    first = comparison.first
    if first is None:
        return comparison.describe()
    sides = "; ".join(
        f"{runner} fired {spikes}, state {before} -> {after}"
        for runner, spikes, before, after in zip(
            comparison.runners, first.spikes, first.state_before, first.state_after, strict=True
        )
    )
    return (
        f"{comparison.describe()}. First: layer {first.layer}, step {first.step}, neuron (c, y, x) {first.neuron}, "
        f"clip {first.clip}: {sides}"
    )
