# SPDX-License-Identifier: Apache-2.0
"""What arrives at a core and in which order, and what is recorded of it: the wiring of the event-driven simulator.

Spikes travel as two lists, addresses in order of emission and causes: the number of the input event of the bin that
each stems from. A core sorts what its sources sent by cause and keeps the order otherwise, so that it sees what it
would see if the chip finished one input event before the next one enters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from spikefold.errors import UnsupportedError
from spikefold.export.network import INPUT, Network
from spikefold.export.neuron import Neuron
from spikefold.export.ops import Shape, SumPool2d
from spikefold.hardware.event_core import Core
from spikefold.hardware.trace import LayerTrace

Events = tuple[np.ndarray, np.ndarray]
"""Addresses and causes, both ``(events,)`` int64."""
MOST_COUNT = 2**16 - 1
"""Spikes of one neuron in one bin that a raster can hold."""


@dataclass(frozen=True, eq=False)
class Source:
    """A spiking layer or the input, and where each of its addresses lies in a core's map, -1 if a pool drops it."""

    name: str
    addresses: np.ndarray


def sources_of(network: Network, name: str) -> list[Source]:
    """The sources of a weight layer, in the order of its inputs, pools passed through."""
    found = []
    for source in network[name].inputs:
        if source == INPUT or isinstance(network[source].op, Neuron):
            found.append(Source(source, np.arange(int(np.prod(network.shapes[source])))))
            continue
        op = network[source].op
        if not isinstance(op, SumPool2d):
            raise UnsupportedError(f"{type(op).__name__} sends no events", where=source)
        pool = _pooled(network.input_shape(network[source]), op)
        found += [
            Source(one.name, np.where(one.addresses < 0, -1, pool[one.addresses]))
            for one in sources_of(network, source)
        ]
    return found


def _pooled(shape: Shape, op: SumPool2d) -> np.ndarray:
    """For each address of ``shape`` the one behind the pool, or -1 in an incomplete window."""
    channels, height, width = op.output_shape(shape)
    y, x, c = np.meshgrid(*(np.arange(n) for n in (shape[1], shape[2], shape[0])), indexing="ij")
    y, x = y // op.kernel[0], x // op.kernel[1]
    return np.where((y < height) & (x < width), (y * width + x) * channels + c, -1).ravel()


class Queue:
    """A core with what feeds it and what is recorded of it.

    Attributes:
        events: incoming events a bin and clip, ``(T, N)`` int64.
        operations: synaptic operations likewise.
    """

    def __init__(self, core: Core, sources: Sequence[Source], clips: tuple[int, ...], potentials: bool) -> None:
        self.core, self.sources = core, sources
        shape = (*clips, *core.layer.neuron_shape)
        self.raster = np.zeros(shape, np.uint16)
        self.states = np.zeros(shape, np.int64) if potentials else None
        self.events, self.operations = np.zeros(clips, np.int64), np.zeros(clips, np.int64)

    def process(self, step: int, clip: int, sent: Mapping[str, Events], ticks: tuple[bool, bool]) -> Events:
        """The spikes of one bin, given what the sources sent in it; the slow clock ticks before and after, or not.

        Raises:
            UnsupportedError: more spikes of a neuron than a raster can hold; a state that may leave 32 bits.
        """
        events, causes = self._arriving(sent)
        if ticks[0]:
            self.core.tick()
        spikes, whence, counts, operations = self.core.drain(events, causes)
        if ticks[1]:
            self.core.tick()
        if counts.max() > MOST_COUNT:
            raise UnsupportedError(f"{counts.max()} spikes of one neuron in one bin, {MOST_COUNT} can be recorded",
                                   where=self.core.layer.neuron_name, hint="use shorter time steps")  # fmt: skip
        self.raster[step, clip] = counts.transpose(2, 0, 1)
        self.events[step, clip], self.operations[step, clip] = len(events), operations
        if self.states is not None:
            self.states[step, clip] = self.core.v.transpose(2, 0, 1)
        return spikes, whence

    def _arriving(self, sent: Mapping[str, Events]) -> Events:
        events = np.concatenate([source.addresses[sent[source.name][0]] for source in self.sources])
        causes = np.concatenate([sent[source.name][1] for source in self.sources])
        kept = events >= 0
        events, causes = events[kept], causes[kept]
        if len(self.sources) > 1:
            by_cause = np.argsort(causes, kind="stable")
            events, causes = events[by_cause], causes[by_cause]
        return events, causes

    def trace(self) -> LayerTrace:
        """What the core did in all bins."""
        return LayerTrace(self.raster, (self.core.low, self.core.high), self.core.overflow, self.states)
