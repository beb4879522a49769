# SPDX-License-Identifier: Apache-2.0
"""Adds up what one variant does on the parts of a set of clips: whole numbers, so that parts add up to the whole."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from spikefold.hardware.event_engine import EventFindings, EventMeasures
from spikefold.hardware.simulators.accuracy import Accuracy, accuracy, predictions
from spikefold.hardware.simulators.trace import LayerTrace, Trace
from spikefold.stages.variants.listed import FRAMES, Variant
from spikefold.train.data.clips import Part

_NONE = Accuracy(0, 0)
MOST_CLASSES = 64
"""More classes than this have no confusion matrix in ``simulate.json``: nobody could read it."""


@dataclass
class LayerSums:
    """One spiking layer: its spikes, how many counts they are of, its overflows, and the range of its states."""

    spikes: int = 0
    counts: int = 0
    overflow: int = 0
    v_range: tuple[float, float] | None = None

    def add(self, layer: LayerTrace) -> None:
        """The next clips."""
        self.spikes += layer.spikes
        self.counts += layer.raster.size
        self.overflow += layer.overflow
        if layer.v_range is not None:
            low, high = self.v_range or layer.v_range
            self.v_range = min(low, layer.v_range[0]), max(high, layer.v_range[1])


@dataclass
class LayerChange:
    """Spike counts of one layer that differ from the variant before, of how many, and the spikes there."""

    flips: int = 0
    counts: int = 0
    spikes_before: int = 0


@dataclass
class VariantSums:
    """What one variant did on all clips so far.

    Attributes:
        variant: it.
        classes: of the network.
        runner: name of what ran it; empty before the first clips.
        went_in: what entered it, in words.
        hits: right clips, of how many, and ties.
        predicted: the class of each clip.
        confusion: clips by true class (a row) and named class (a column), ``(classes, classes)`` int64.
        layers: by name, in network order.
        predictions_changed: clips whose class differs from the variant before.
        changes: by layer of unchanged shape, what differs from the variant before.
        measures: of an event-driven chip.
    """

    variant: Variant
    classes: int
    runner: str = ""
    went_in: str = FRAMES
    hits: Accuracy = field(default=_NONE)
    predicted: list[int] = field(default_factory=list)
    layers: dict[str, LayerSums] = field(default_factory=dict)
    predictions_changed: int = 0
    changes: dict[str, LayerChange] = field(default_factory=dict)
    measures: EventMeasures | None = None
    confusion: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.confusion = np.zeros((self.classes, self.classes), np.int64)

    @property
    def spikes(self) -> int:
        """All spikes of all layers."""
        return sum(layer.spikes for layer in self.layers.values())

    def add(self, part: Part, found: EventFindings, before: Trace | None = None) -> None:
        """The next clips, and what the variant before did on them."""
        trace, numbers = found.trace, part.numbers
        counts = trace.output_counts(self.classes)
        self.runner, self.went_in = trace.runner, found.went_in
        self.hits += accuracy(counts, part.clips.labels, numbers)
        chosen = predictions(counts, numbers)
        self.predicted += chosen.tolist()
        np.add.at(self.confusion, (part.clips.labels, chosen), 1)
        for name, layer in trace.layers.items():
            self.layers.setdefault(name, LayerSums()).add(layer)
        if found.measures is not None:
            self.measures = found.measures if self.measures is None else self.measures + found.measures
        if before is not None:
            told = predictions(before.output_counts(self.classes), numbers)
            self.predictions_changed += int(np.count_nonzero(told != chosen))
            self._add_changes(trace, before)

    def _add_changes(self, trace: Trace, before: Trace) -> None:
        for name, layer in trace.layers.items():
            other = before.layers.get(name)
            if other is None or other.raster.shape != layer.raster.shape:
                continue
            change = self.changes.setdefault(name, LayerChange())
            change.flips += int(np.count_nonzero(other.raster != layer.raster))
            change.counts += layer.raster.size
            change.spikes_before += other.spikes

    def facts(self) -> dict[str, Any]:
        """Plain values for ``simulate.json``."""
        variant = self.variant
        by_events = self.measures is not None
        found: dict[str, Any] = {
            "what": f"{variant.what}: {self.went_in}" if by_events else variant.what,
            "network": variant.network,
            "before": variant.before,
            "accuracy": self.hits.share,
            "interval": list(self.hits.interval),
            "ties": self.hits.ties,
            "clips": self.hits.clips,
            "spikes": self.spikes,
            "layers": {
                name: {
                    "spikes": layer.spikes,
                    "rate": layer.spikes / layer.counts,
                    "overflow": layer.overflow,
                    "v_range": None if layer.v_range is None else list(layer.v_range),
                }
                for name, layer in self.layers.items()
            },
            "runner": self.runner,
            "changed": self._changed(),
            "confusion": self.confusion.tolist() if self.classes <= MOST_CLASSES else None,
        }
        if self.measures is not None:
            found |= {
                "went_in": self.went_in,
                "gap": self.measures.gap,
                "loads": list(self.measures.loads),
                "over_limit": list(self.measures.over_limit),
            }
        return found

    def _changed(self) -> dict[str, Any] | None:
        if self.variant.before is None:
            return None
        layers = {
            name: {"flips": one.flips, "share": one.flips / one.counts, "spikes_before": one.spikes_before}
            for name, one in self.changes.items()
        }
        return {"since": self.variant.before, "predictions": self.predictions_changed, "layers": layers}
