# SPDX-License-Identifier: Apache-2.0
"""A plain event loop, written from the docstrings of the event-driven simulator alone, for its tests.

One core in a dictionary of states ``(c, y, x)``, every tap looked at, one event at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np

from spikefold.export.network import INPUT, Layer, Network
from spikefold.export.neuron import Neuron, Reset
from spikefold.export.ops import Concat, Conv2d, Dense, Shape
from spikefold.hardware.speck.events.options import Arrival, Emission, Options, Tick

Spot = tuple[int, int, int]
Entering = Callable[[int, int], list[Spot]]


class PlainCore:
    """One core during one clip."""

    def __init__(self, network: Network, weights: Layer, number: int, options: Options) -> None:
        op = weights.op
        self.spiking = network.consumers(weights.name)[0]
        assert isinstance(op, Conv2d | Dense)
        assert isinstance(self.spiking.op, Neuron)
        self.name, self.inputs, self.neuron = weights.name, weights.inputs, self.spiking.op
        shape, self.shape = network.input_shape(weights), network.shapes[self.spiking.name]
        self.w = op.weight.reshape(-1, *shape) if isinstance(op, Dense) else op.weight
        self.stride, self.padding = ((1, 1), (0, 0)) if isinstance(op, Dense) else (op.stride, op.padding)
        self.bias = op.bias
        height, width = self.shape[1:]
        self.v: dict[Spot, int] = dict.fromkeys(product(range(self.shape[0]), range(height), range(width)), 0)
        channels = self.shape[0]
        total = len(self.v)
        places = list(range(total))
        if options.emission is Emission.ADDRESSES_DESCENDING:
            places = [-place for place in places]
        if options.emission is Emission.SHUFFLED:
            places = np.random.default_rng([options.seed, number]).permutation(total).tolist()
        self.place: dict[Spot, Any] = {(c, y, x): places[(y * width + x) * channels + c] for c, y, x in self.v}
        if options.emission is Emission.FEATURES_DESCENDING:
            self.place = {(c, y, x): (-c, -y, -x) for c, y, x in self.v}
        self.low = self.high = self.overflow = self.operations = self.events = self.emitted = 0
        self.turned = options.emission is Emission.FEATURES_DESCENDING
        self.loses, self.tick_fires = options.lose_first, options.tick_fires
        self.interval = options.decimators.get(weights.name, 1)

    def _charged(self, spot: Spot, by: int) -> int:
        value = self.v[spot] + by
        self.low, self.high = min(self.low, value), max(self.high, value)
        bits = self.neuron.state_bits
        self.overflow += bits is not None and not -(2 ** (bits - 1)) <= value < 2 ** (bits - 1)
        return value

    def _after(self, spot: Spot, value: int, may_fire: bool) -> bool:
        """Fire or not, reset, lower bound; whether it fired."""
        fires = may_fire and bool(value >= self.neuron.threshold)
        if fires:
            value = 0 if self.neuron.reset is Reset.ZERO else value - int(self.neuron.threshold)
        self.v[spot] = value if self.neuron.v_min is None else max(value, int(self.neuron.v_min))
        return fires

    def _leaving(self, fired: list[Spot]) -> list[Spot]:
        passed = []
        for spot in sorted(fired, key=self.place.__getitem__):
            self.emitted += 1
            if self.emitted % self.interval == 0:
                passed.append(spot)
        return passed

    def event(self, c: int, y: int, x: int) -> list[Spot]:
        if self.loses:
            self.loses = False
            return []
        fired = []
        self.events += 1
        for f, o_y, o_x in self.v:
            for k_y, k_x in product(*map(range, self.w.shape[2:])):
                if (
                    o_y * self.stride[0] + k_y - self.padding[0] == y
                    and o_x * self.stride[1] + k_x - self.padding[1] == x
                ):
                    self.operations += 1
                    value = self._charged((f, o_y, o_x), int(self.w[f, c, k_y, k_x]))
                    if self._after((f, o_y, o_x), value, may_fire=True):
                        fired.append((f, o_y, o_x))
        return self._leaving(fired)

    def tick(self) -> list[Spot]:
        if self.bias is None:
            return []
        charged = {spot: self._charged(spot, int(self.bias[spot[0]])) for spot in self.v}
        return self._leaving([spot for spot, value in charged.items() if self._after(spot, value, self.tick_fires)])


def arriving(network: Network, name: str, sent: dict[str, list[Spot]], turned: bool) -> list[Spot]:
    """What the layer called ``name`` sends after one input event, pools by address, channels of `Concat` shifted.

    ``turned``: the parts of a `Concat` come last first.
    """
    if name == INPUT or isinstance(network[name].op, Neuron):
        return sent[name]
    layer, parts, shift = network[name], [], 0
    for source in layer.inputs:
        part = []
        for c, y, x in arriving(network, source, sent, turned):
            if isinstance(layer.op, Concat):
                part.append((shift + c, y, x))
            else:
                part.append((c, y // layer.op.kernel[0], x // layer.op.kernel[1]))
        parts.append(part)
        shift += network.shapes[source][0]
    if turned:
        parts.reverse()
    _, height, width = network.shapes[name]
    return [(c, y, x) for part in parts for c, y, x in part if y < height and x < width]


def frame_spots(frames: np.ndarray, options: Options) -> Entering:
    """The events of frames ``(T, N, C, H, W)``, a bin and clip at a time, in order."""

    def spots(step: int, clip: int) -> list[Spot]:
        frame = frames[step, clip]
        channels, height, width = frame.shape
        queue: list[Spot] = []
        for y, x, c in product(range(height), range(width), range(channels)):
            queue += [(c, y, x)] * int(frame[c, y, x])
        if options.arrival is Arrival.SEEDED:
            shuffled = np.random.default_rng([options.seed, clip, step]).permutation(len(queue))
            queue = [queue[place] for place in shuffled]
        return queue

    return spots


def one_bin(network: Network, cores: list[PlainCore], queue: list[Spot], tick: Tick) -> dict[str, Counter[Spot]]:
    """Input event by input event through the whole graph: spikes that left each neuron."""
    left: dict[str, Counter[Spot]] = {core.spiking.name: Counter() for core in cores}

    def through(sent: dict[str, list[Spot]], own: dict[str, list[Spot]]) -> None:
        for core in cores:
            spots = [spot for source in core.inputs for spot in arriving(network, source, sent, core.turned)]
            name = core.spiking.name
            sent[name] = own.get(name, []) + [spike for spot in spots for spike in core.event(*spot)]
            left[name].update(sent[name])

    def ticked() -> None:
        through({INPUT: []}, {core.spiking.name: core.tick() for core in cores})

    for core in cores:
        core.events = core.operations = 0
    if tick is Tick.START:
        ticked()
    for event in queue:
        through({INPUT: [event]}, {})
    if tick is Tick.END:
        ticked()
    return left


class PlainLayer:
    """What the plain loop did in one core."""

    def __init__(self, bins: tuple[int, ...], neurons: Shape) -> None:
        self.raster, self.states = np.zeros((*bins, *neurons), np.int64), np.zeros((*bins, *neurons), np.int64)
        self.events, self.operations = np.zeros(bins, np.int64), np.zeros(bins, np.int64)
        self.low = self.high = self.overflow = 0


def plain(network: Network, bins: tuple[int, int], entering: Entering, options: Options) -> dict[str, PlainLayer]:
    """All bins T and clips N, by the name of the spiking layer."""
    weights = [layer for layer in network if isinstance(layer.op, Conv2d | Dense)]
    found = {layer.name: PlainLayer(bins, network.shapes[layer.name]) for layer in network.neurons}
    for clip in range(bins[1]):
        cores = [PlainCore(network, layer, number, options) for number, layer in enumerate(weights)]
        for step in range(bins[0]):
            left = one_bin(network, cores, entering(step, clip), options.tick)
            for core in cores:
                layer = found[core.spiking.name]
                layer.events[step, clip], layer.operations[step, clip] = core.events, core.operations
                for spot, value in core.v.items():
                    layer.raster[(step, clip, *spot)] = left[core.spiking.name][spot]
                    layer.states[(step, clip, *spot)] = value
        for core in cores:
            layer = found[core.spiking.name]
            layer.low, layer.high = min(layer.low, core.low), max(layer.high, core.high)
            layer.overflow += core.overflow
    return found
