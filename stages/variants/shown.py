# SPDX-License-Identifier: Apache-2.0
"""Keeps the one clip that the page of a run shows: that whose true class has the most output spikes of all clips."""

from __future__ import annotations

from dataclasses import dataclass, field

from spikefold.hardware.simulators.trace import LayerTrace, Trace
from spikefold.train.data.clips import Part


@dataclass
class ShownClip:
    """The clearest clip so far, and what every variant did on it.

    Attributes:
        classes: of the network.
        number: of the clip in its set; -1 before the first clips.
        spikes: of its true class; the first clip with so many is the one.
        traces: of the variants on this clip alone.
    """

    classes: int
    number: int = -1
    spikes: int = -1
    traces: dict[str, Trace] = field(default_factory=dict)

    def consider(self, part: Part, judging: str, traces: dict[str, Trace]) -> None:
        """Take a clip of some clips where it is clearer than the one before.

        Args:
            part: the clips.
            judging: the variant whose output spikes count.
            traces: what every variant did on them.
        """
        labels = part.clips.labels
        spikes = traces[judging].output_counts(self.classes)[range(len(labels)), labels]
        place = int(spikes.argmax())
        if spikes[place] <= self.spikes:
            return
        self.number, self.spikes = part.first + place, int(spikes[place])
        self.traces = {name: _only(trace, place) for name, trace in traces.items()}


def _only(trace: Trace, clip: int) -> Trace:
    # the range of states and overflows are of all clips together, and stand in the sums
    layers = {name: LayerTrace(layer.raster[:, clip : clip + 1].copy()) for name, layer in trace.layers.items()}
    return Trace(trace.runner, layers)
