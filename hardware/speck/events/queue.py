# SPDX-License-Identifier: Apache-2.0
"""What arrives at a core and in which order, and what is recorded of it: the wiring of the event-driven simulator.

Spikes travel as two lists, addresses in order of emission and causes: the number of the input event of the clip that
each stems from (`causes`). A core sorts what its sources sent by cause and keeps the order otherwise, so that it sees
what it would see if the chip finished one input event before the next one enters. A tick of the slow clock is a cause
too. Connections only lead forward, so a core takes a whole clip at once; only where the clock ticks or states are
recorded it stops at every bin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from spikefold.compiled import compiled
from spikefold.errors import UnsupportedError
from spikefold.export.network import INPUT, Network
from spikefold.export.neuron import Neuron
from spikefold.export.ops import Concat, Shape, SumPool2d
from spikefold.hardware.simulators.trace import LayerTrace, as_raster
from spikefold.hardware.speck.events.causes import Causes
from spikefold.hardware.speck.events.core import Arriving, Core, Events
from spikefold.hardware.speck.events.options import Tick

_COUNTS = 2**20
"""Neurons times bins that are counted at once: 8 MB."""


@dataclass(frozen=True, eq=False)
class Source:
    """A spiking layer or the input, and where each of its addresses lies in a core's map, -1 if a pool drops it."""

    name: str
    addresses: np.ndarray

    @cached_property
    def is_direct(self) -> bool:
        """Whether every address is itself in the core's map."""
        return np.array_equal(self.addresses, np.arange(len(self.addresses)))


def _behind(source: Source, events: np.ndarray, causes: np.ndarray) -> Events:
    """What a source sent, by address in the core's map, without what a pool drops."""
    if source.is_direct:
        return events, causes
    places = source.addresses[events]
    kept = places >= 0
    return places[kept], causes[kept]


def sources_of(network: Network, name: str, *, last_part_first: bool = False) -> list[Source]:
    """What a weight layer reads, behind pools and `Concat`, in the order in which it takes their events of one cause.

    Args:
        network: the network.
        name: the weight layer.
        last_part_first: the parts of a `Concat` come in descending order of their channels, as its features do where
            they are emitted in descending order; otherwise as they are listed. Other inputs come as they are listed.

    Raises:
        UnsupportedError: a layer in between sends no events.
    """
    return [source for read in network[name].inputs for source in _sending(network, read, last_part_first)]


def _sending(network: Network, name: str, last_part_first: bool) -> list[Source]:
    """What sends the events of a layer's output or of the input, and where they lie in it."""
    shape = network.shapes[name]
    if name == INPUT or isinstance(network[name].op, Neuron):
        return [Source(name, np.arange(int(np.prod(shape))))]
    layer, channel = network[name], 0
    found: list[Source] = []
    for read in layer.inputs:
        if isinstance(layer.op, SumPool2d):
            places = _pooled(network.shapes[read], shape, layer.op)
        elif isinstance(layer.op, Concat):
            places = _shifted(network.shapes[read], channel, shape[0])
            channel += network.shapes[read][0]
        else:
            raise UnsupportedError(f"{type(layer.op).__name__} sends no events", where=name)
        sending = [
            Source(one.name, np.where(one.addresses < 0, -1, places[one.addresses]))
            for one in _sending(network, read, last_part_first)
        ]
        found = sending + found if last_part_first else found + sending
    return found


def _pooled(shape: Shape, pooled: Shape, op: SumPool2d) -> np.ndarray:
    """For each address of ``shape`` the one behind the pool, or -1 in an incomplete window."""
    y, x, c = _places(shape)
    y, x = y // op.kernel[0], x // op.kernel[1]
    return np.where((y < pooled[1]) & (x < pooled[2]), (y * pooled[2] + x) * pooled[0] + c, -1).ravel()


def _shifted(shape: Shape, first: int, channels: int) -> np.ndarray:
    """For each address of ``shape`` the one in a map of so many channels, its own beginning at ``first``."""
    y, x, c = _places(shape)
    return ((y * shape[2] + x) * channels + first + c).ravel()


def _places(shape: Shape) -> list[np.ndarray]:
    """Row, column and channel of each address."""
    return list(np.meshgrid(np.arange(shape[1]), np.arange(shape[2]), np.arange(shape[0]), indexing="ij"))


@compiled()
def count(raster: np.ndarray, bins: np.ndarray, spikes: np.ndarray) -> bool:
    """Add each spike to ``raster`` ``(T, neurons)`` uint16; whether every count was below its largest number."""
    for index in range(len(spikes)):
        step, neuron = bins[index], spikes[index]
        if raster[step, neuron] == np.uint16(65535):
            return False
        raster[step, neuron] += np.uint16(1)
    return True


class Queue:
    """A core with what feeds it and what is recorded of it.

    Attributes:
        events: incoming events a bin and clip, ``(T, N)`` int64.
        operations: synaptic operations likewise.
    """

    def __init__(
        self, core: Core, sources: Sequence[Source], clips: tuple[int, int], *, lose_first: bool, potentials: bool
    ) -> None:
        self.core, self.sources, self.lose_first = core, sources, lose_first
        self._neurons = int(np.prod(core.layer.neuron_shape))
        self._raster = np.zeros((*clips, self._neurons), np.uint16)
        self._states = np.zeros((*clips, self._neurons), np.int64) if potentials else None
        self.events, self.operations = np.zeros(clips, np.int64), np.zeros(clips, np.int64)

    def process(self, clip: int, sent: Mapping[str, Events], causes: Causes, tick_fires: bool) -> Events:
        """The spikes that leave in a clip, from zero state, given what the sources sent in it.

        Args:
            clip: which clip.
            sent: by source, what it sent.
            causes: of the clip.
            tick_fires: whether a neuron can fire at a tick of the slow clock.

        Raises:
            UnsupportedError: more spikes of a neuron in a bin than a raster can hold; a state that may leave 64 bits.
        """
        self.core.clear()
        arriving = self._arriving(sent, causes)
        self.events[:, clip] = np.diff(np.searchsorted(arriving.bins, np.arange(causes.steps + 1)))
        operations = np.zeros(causes.steps, np.int64)
        if self._states is None and not (self.core.ticks and causes.tick is not Tick.NEVER):
            spikes, whence = self.core.drain(arriving, operations)
        else:
            bins = [self._bin(clip, step, arriving, operations, causes, tick_fires) for step in range(causes.steps)]
            spikes, whence = (np.concatenate(parts) for parts in zip(*bins, strict=True))
        self.operations[:, clip] = operations
        self._record(clip, causes.bins[whence], spikes)
        return spikes, whence

    def _bin(
        self, clip: int, step: int, arriving: Arriving, operations: np.ndarray, causes: Causes, tick_fires: bool
    ) -> Events:
        """The spikes that leave in one bin of a core that the slow clock changes, or whose states are recorded."""
        first, last = int(causes.firsts[step]), int(causes.firsts[step + 1])
        tick = causes.tick_of(step)
        split = last if tick is None else tick
        spikes, whence = self.core.drain(arriving.between(first, split), operations)
        if tick is not None:
            ticked = self.core.tick(tick if tick_fires else None)
            late = self.core.drain(arriving.between(split, last), operations)
            spikes, whence = (np.concatenate(parts) for parts in zip((spikes, whence), ticked, late, strict=True))
        if self._states is not None:
            self._states[step, clip] = self.core.v
        return spikes, whence

    def _record(self, clip: int, bins: np.ndarray, spikes: np.ndarray) -> None:
        """Count the spikes of each neuron and bin; bins ascend."""
        if count(self._raster[:, clip], bins, spikes):
            return
        self._raster[:, clip] = 0  # one count is too large: which, is for `as_raster` to say
        at_once = max(1, _COUNTS // self._neurons)
        for first in range(0, len(self._raster), at_once):
            part = self._raster[first : first + at_once, clip]
            here = slice(*np.searchsorted(bins, (first, first + len(part))))
            counts = np.bincount((bins[here] - first) * self._neurons + spikes[here], minlength=part.size)
            part[:] = as_raster(counts.reshape(part.shape), self.core.layer.neuron_name)

    def _arriving(self, sent: Mapping[str, Events], causes: Causes) -> Arriving:
        parts = [_behind(source, *sent[source.name]) for source in self.sources]
        events, whence = parts[0] if len(parts) == 1 else (np.concatenate(part) for part in zip(*parts, strict=True))
        if len(parts) > 1:
            by_cause = np.argsort(whence, kind="stable")
            events, whence = events[by_cause], whence[by_cause]
        if self.lose_first:
            events, whence = events[1:], whence[1:]
        return Arriving(events, whence, causes.bins[whence])

    def trace(self) -> LayerTrace:
        """What the core did in all bins."""
        states = None if self._states is None else self._by_channel(self._states)
        return LayerTrace(self._by_channel(self._raster), (self.core.low, self.core.high), self.core.overflow, states)

    def _by_channel(self, by_address: np.ndarray) -> np.ndarray:
        """``(T, N, C, H, W)`` from ``(T, N, neurons)``."""
        channels, height, width = self.core.layer.neuron_shape
        apart = by_address.reshape(*by_address.shape[:2], height, width, channels)
        return np.ascontiguousarray(apart.transpose(0, 1, 4, 2, 3))
