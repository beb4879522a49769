# SPDX-License-Identifier: Apache-2.0
"""What arrives at a core and in which order, and what is recorded of it: the wiring of the event-driven simulator.

Spikes travel as two lists, addresses in order of emission and causes: the number of the input event of the bin that
each stems from. A core sorts what its sources sent by cause and keeps the order otherwise, so that it sees what it
would see if the chip finished one input event before the next one enters. A tick of the slow clock is a cause too,
before or behind all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from spikefold.errors import UnsupportedError
from spikefold.export.network import INPUT, Network
from spikefold.export.neuron import Neuron
from spikefold.export.ops import Concat, Shape, SumPool2d
from spikefold.hardware.simulators.trace import LayerTrace, as_raster
from spikefold.hardware.speck.events.core import Core, Events


@dataclass(frozen=True, eq=False)
class Source:
    """A spiking layer or the input, and where each of its addresses lies in a core's map, -1 if a pool drops it.

    Attributes:
        as_they_are: whether each lies where it lay.
    """

    name: str
    addresses: np.ndarray
    as_they_are: bool = field(init=False)

    def __post_init__(self) -> None:
        as_they_are = np.array_equal(self.addresses, np.arange(len(self.addresses)))
        object.__setattr__(self, "as_they_are", as_they_are)


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
        self._loses = lose_first

    def begin(self) -> None:
        """Before a clip: zero state, and an event to be lost if the run loses them."""
        self.core.clear()
        self._loses = self.lose_first

    def process(self, step: int, clip: int, sent: Mapping[str, Events], tick: int | None, tick_fires: bool) -> Events:
        """The spikes that leave in one bin, given what the sources sent in it.

        Args:
            step: the bin.
            clip: its clip.
            sent: by source, what it sent in this bin.
            tick: the cause that the slow clock's tick is, or None without one: events of smaller causes come before.
            tick_fires: whether it can fire.

        Raises:
            UnsupportedError: more spikes of a neuron than a raster can hold; a state that may leave
                64 bits.
        """
        events, causes = self._arriving(sent)
        here = (step, clip)
        self.events[here] = len(events)
        early = len(events) if tick is None else int(np.searchsorted(causes, tick))
        (spikes, whence), self.operations[here] = self.core.drain(events[:early], causes[:early])
        if tick is not None:
            ticked = self.core.tick(tick if tick_fires else None)
            late, operations = self.core.drain(events[early:], causes[early:])
            self.operations[here] += operations
            if len(ticked[0]) or len(late[0]):
                spikes, whence = (np.concatenate(parts) for parts in zip((spikes, whence), ticked, late, strict=True))
        self._record(here, spikes)
        return spikes, whence

    def _record(self, here: tuple[int, int], spikes: np.ndarray) -> None:
        self._raster[here] = as_raster(np.bincount(spikes, minlength=self._neurons), self.core.layer.neuron_name)
        if self._states is not None:
            self._states[here] = self.core.v

    def _arriving(self, sent: Mapping[str, Events]) -> Events:
        alone = self.sources[0] if len(self.sources) == 1 else None
        if alone is not None and alone.as_they_are and not self._loses:
            return sent[alone.name]
        events = np.concatenate([source.addresses[sent[source.name][0]] for source in self.sources])
        causes = np.concatenate([sent[source.name][1] for source in self.sources])
        kept = events >= 0
        events, causes = events[kept], causes[kept]
        if len(self.sources) > 1:
            by_cause = np.argsort(causes, kind="stable")
            events, causes = events[by_cause], causes[by_cause]
        if self._loses and len(events):
            self._loses = False
            return events[1:], causes[1:]
        return events, causes

    def trace(self) -> LayerTrace:
        """What the core did in all bins."""
        states = None if self._states is None else self._by_channel(self._states)
        return LayerTrace(self._by_channel(self._raster), (self.core.low, self.core.high), self.core.overflow, states)

    def _by_channel(self, by_address: np.ndarray) -> np.ndarray:
        """``(T, N, C, H, W)`` from ``(T, N, neurons)``."""
        channels, height, width = self.core.layer.neuron_shape
        apart = by_address.reshape(*by_address.shape[:2], height, width, channels)
        return np.ascontiguousarray(apart.transpose(0, 1, 4, 2, 3))
