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
from spikefold.hardware.speck.board.compare import spike_difference
from spikefold.hardware.speck.cores import core_layers
from spikefold.hardware.speck.events import simulate as event_driven
from spikefold.hardware.speck.events.options import Emission, Options


@dataclass(frozen=True)
class LayerGap:
    """One spiking layer, clocked against event-driven.

    Attributes:
        name: the layer.
        spikes_clocked: all its spikes in clocked steps.
        spikes_events: all its spikes event by event.
        difference: SD of the module's docstring; None where the clocked run has no spikes.
        equal_share: share of the bins, clips and neurons whose counts are equal.
        emission: SD between the event-driven run and one with another order of emission, by that order; None without
            spikes.
    """

    name: str
    spikes_clocked: int
    spikes_events: int
    difference: float | None
    equal_share: float
    emission: Mapping[str, float | None]


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

    def to_json(self) -> dict[str, Any]:
        """Plain values for a report."""
        found: dict[str, Any] = asdict(self)
        for key in ("accuracy_clocked", "accuracy_events"):
            value: Accuracy | None = getattr(self, key)
            if value is not None:
                found[key] |= {"share": value.share, "interval": list(value.interval)}
        return found


def compare(
    network: Network,
    frames: np.ndarray,
    labels: np.ndarray | None = None,
    by_events: Callable[[Options], Trace] | None = None,
    options: Options | None = None,
) -> Gap:
    """Run a Speck network both ways, and event by event in the other orders of emission too.

    Args:
        network: integer, as for `simulate.simulate`.
        frames: event counts ``(T, N, C, H, W)``.
        labels: class of each clip ``(N,)``; None for no accuracy.
        by_events: runs the same clips event by event; `simulate.run` on the frames by default.
        options: of the event-driven run.

    Raises:
        DataError: not one label for each clip; frames as in `simulate.simulate`.
        SpikefoldError: as `simulate.simulate` and `clocked.run`.
    """
    options = options or Options()
    if labels is not None and np.shape(labels) != (frames.shape[1],):
        raise DataError(f"labels {np.shape(labels)} for {frames.shape[1]} clips", hint="give one class for each clip")
    run = by_events or partial(event_driven.run, network, frames)
    steps, events = clocked.run(network, frames), run(options)
    others = {
        order.value: run(replace(options, emission=order)) for order in Emission if order is not options.emission
    }
    layers = tuple(
        _layer_gap(name, steps.layers[name], layer, {order: run.layers[name] for order, run in others.items()})
        for name, layer in events.layers.items()
    )
    counts = [trace.output_counts(network.classes) for trace in (steps, events)]
    right = [None if labels is None else accuracy(count, labels) for count in counts]
    changed = int(np.count_nonzero(predictions(counts[0]) != predictions(counts[1])))
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
        spike_difference(steps.raster, events.raster),
        float(np.mean(steps.raster == events.raster)),
        {order: spike_difference(events.raster, layer.raster) for order, layer in orders.items()},
    )
