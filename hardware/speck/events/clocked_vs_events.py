# SPDX-License-Identifier: Apache-2.0
"""How far clocked steps are from the chip's event by event, on the same frames.

Measure, per layer, over spike counts a of the clocked run and b of the event-driven one, for each neuron and clip::

    SD = sum |a - b| / sum a

It is the spike difference of "Temporal Flexibility in Spiking Neural Networks" (MTT), quoted second-hand in the fact
sheet ``speck.md`` (0, item 7): there 2.81 % between two chips, 3.92 % between an event-driven simulation and a chip
and 28.77 % between time steps and a chip, for one network on N-MNIST; a yardstick, not a limit. The same measure
between orders of emission, with a the run that was asked for, tells how much of it the order could be; it is known
for samna's simulator only.

One cause has a remedy: a neuron fires once an event on the chip, so a weight above the threshold leaves a residual
that waits for the next event. With one event a step and no such weight both simulations are equal (0, item 5).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from spikefold.errors import DataError, Issue
from spikefold.export.network import Network
from spikefold.hardware.simulators import clocked
from spikefold.hardware.simulators.accuracy import Accuracy, accuracy, predictions
from spikefold.hardware.simulators.trace import LayerTrace, Trace
from spikefold.hardware.speck.board.compare import spikes_apart
from spikefold.hardware.speck.cores import core_layers
from spikefold.hardware.speck.events import simulate as event_driven
from spikefold.hardware.speck.events.options import Emission, Options


@dataclass(frozen=True)
class LayerGap:
    """One spiking layer, clocked against event-driven, as whole numbers that add up over parts of a set of clips.

    Attributes:
        name: the layer.
        spikes_clocked: all its spikes in clocked steps.
        spikes_events: all its spikes event by event.
        apart: sum of ``|a - b|`` of the module's docstring.
        equal: bins, clips and neurons whose counts are equal.
        compared: how many they are in all.
        emission_apart: the same sum between the event-driven run and one with another order of emission, by that
            order.
    """

    name: str
    spikes_clocked: int
    spikes_events: int
    apart: int
    equal: int
    compared: int
    emission_apart: Mapping[str, int]

    @property
    def difference(self) -> float | None:
        """SD of the module's docstring; None where the clocked run has no spikes."""
        return self.apart / self.spikes_clocked if self.spikes_clocked else None

    @property
    def equal_share(self) -> float:
        """Share of the bins, clips and neurons whose counts are equal."""
        return self.equal / self.compared

    @property
    def emission(self) -> dict[str, float | None]:
        """SD between the event-driven run and one with another order of emission; None without spikes."""
        spikes = self.spikes_events
        return {order: apart / spikes if spikes else None for order, apart in self.emission_apart.items()}

    def __add__(self, other: LayerGap) -> LayerGap:
        """Both sets of clips together."""
        sums = {
            key: getattr(self, key) + getattr(other, key)
            for key in ("spikes_clocked", "spikes_events", "apart", "equal", "compared")
        }
        emission = {order: apart + other.emission_apart[order] for order, apart in self.emission_apart.items()}
        return LayerGap(self.name, **sums, emission_apart=emission)

    def to_json(self) -> dict[str, Any]:
        """Plain values for a report."""
        names = ("name", "spikes_clocked", "spikes_events", "difference", "equal_share", "emission")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Gap:
    """Clocked against event-driven on the same clips.

    Attributes:
        clips: how many.
        layers: the spiking layers in network order.
        predictions_changed: clips whose class differs.
        accuracy_clocked: in clocked steps; None without labels.
        accuracy_events: event by event; None without labels.
        warnings: the layers whose largest weight is above the threshold.
    """

    clips: int
    layers: tuple[LayerGap, ...]
    predictions_changed: int
    accuracy_clocked: Accuracy | None
    accuracy_events: Accuracy | None
    warnings: tuple[Issue, ...]

    def __add__(self, other: Gap) -> Gap:
        """Both sets of clips together."""
        return Gap(
            self.clips + other.clips,
            tuple(one + two for one, two in zip(self.layers, other.layers, strict=True)),
            self.predictions_changed + other.predictions_changed,
            _both(self.accuracy_clocked, other.accuracy_clocked),
            _both(self.accuracy_events, other.accuracy_events),
            self.warnings,
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values for a report."""
        found: dict[str, Any] = {
            "clips": self.clips,
            "layers": [layer.to_json() for layer in self.layers],
            "predictions_changed": self.predictions_changed,
        }
        for key in ("accuracy_clocked", "accuracy_events"):
            value: Accuracy | None = getattr(self, key)
            found[key] = None
            if value is not None:
                found[key] = asdict(value) | {"share": value.share, "interval": list(value.interval)}
        return found | {"warnings": [asdict(warning) for warning in self.warnings]}


def _both(one: Accuracy | None, two: Accuracy | None) -> Accuracy | None:
    return None if one is None or two is None else one + two


def compare(
    network: Network,
    frames: np.ndarray,
    labels: np.ndarray | None = None,
    by_events: Callable[[Options], Trace] | None = None,
    options: Options | None = None,
    events: Trace | None = None,
) -> Gap:
    """Run a Speck network both ways, and event by event in the other orders of emission too.

    Args:
        network: integer, as for `simulate.simulate`.
        frames: event counts ``(T, N, C, H, W)``.
        labels: class of each clip ``(N,)``; None for no accuracy.
        by_events: runs the same clips event by event; `simulate.run` on the frames by default.
        options: of the event-driven run.
        events: what ``by_events`` gives with these options, where that is known.

    Raises:
        DataError: not one label for each clip; frames as in `simulate.simulate`.
        SpikefoldError: as `simulate.simulate` and `clocked.run`.
    """
    options = options or Options()
    if labels is not None and np.shape(labels) != (frames.shape[1],):
        raise DataError(f"labels {np.shape(labels)} for {frames.shape[1]} clips", hint="give one class for each clip")
    run = by_events or partial(event_driven.run, network, frames)
    steps, events = clocked.run(network, frames), events or run(options)
    others = {
        order.value: run(replace(options, emission=order)) for order in Emission if order is not options.emission
    }
    layers = tuple(
        _layer_gap(name, steps.layers[name], layer, {order: run.layers[name] for order, run in others.items()})
        for name, layer in events.layers.items()
    )
    counts = [trace.output_counts(network.classes) for trace in (steps, events)]
    numbers = options.first_clip + np.arange(frames.shape[1])
    right = [None if labels is None else accuracy(count, labels, numbers) for count in counts]
    changed = int(np.count_nonzero(predictions(counts[0], numbers) != predictions(counts[1], numbers)))
    return Gap(frames.shape[1], layers, changed, right[0], right[1], tuple(unsafe_weights(network)))


def unsafe_weights(network: Network) -> list[Issue]:
    """The cores whose largest weight is above their threshold: one event may leave a residual that waits."""
    return [
        Issue(
            "a weight is at most the threshold, or clocked steps and events differ even at one event a step",
            core.name,
            f"largest weight {core.weight.max()}",
            f"threshold {core.neuron.threshold}",
            "raise the threshold, or train with weights bounded by it",
        )
        for core in core_layers(network)
        if core.weight.max() > core.neuron.threshold.min()
    ]


def _layer_gap(name: str, steps: LayerTrace, events: LayerTrace, orders: Mapping[str, LayerTrace]) -> LayerGap:
    return LayerGap(
        name,
        steps.spikes,
        events.spikes,
        spikes_apart(steps.raster, events.raster),
        int(np.count_nonzero(steps.raster == events.raster)),
        events.raster.size,
        {order: spikes_apart(events.raster, layer.raster) for order, layer in orders.items()},
    )
