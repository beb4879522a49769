# SPDX-License-Identifier: Apache-2.0
"""The Speck behind the strict samna: a plain event loop over the applied configuration, from the datasheet alone.

One state per word of neuron memory, at the address that the chip uses, full of garbage when a configuration is
applied. Time is virtual: nothing happens until somebody sleeps. `Faults` are what boards are known or feared to do.
"""

from __future__ import annotations

import copy
import operator
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from spikefold.hardware.speck.board.samna_rules import validate_configuration
from spikefold.hardware.speck.board.samna_standin import SpeckConfiguration

NEURON_WORDS = [n * 1024 for n in (64, 64, 64, 32, 32, 16, 16, 16, 16)]
WRITE_US = 1  # what one event costs to write
LATENCY_US = 3  # of one core
IDLE_W = (61.7e-6, 51.7e-6, 367.0e-6, 78.9e-6, 610.9e-6)
EVENT_W = 2e-6  # on the logic rail, for each event processed since the last sample


@dataclass
class Faults:
    """What this board does wrong."""

    drop_every: int = 0  # every so many input events one is lost
    lose_first: bool = False  # each core loses the first event after its states were written
    late_us: int = 0  # spikes come so much later
    chatter: bool = False  # a spike at each reading, for ever
    stranger: bool = False  # a spike of a neuron that does not exist, and one of a core that is not monitored
    vanish_after: int = -1  # input events until the device is gone
    no_power: bool = False
    forgetful: bool = False  # attributes are copies, so that filling them in has no effect
    refuses_open: str = ""  # "none": open_device returns None; "timeout": it raises
    noise_every: int = 0  # every so many spikes one is not reported, another one at each repeat


class Time:
    """Whole microseconds; the `Clock` of the tests."""

    def __init__(self) -> None:
        self.us = 0
        self.slept_s = 0.0

    def now(self) -> float:
        return self.us * 1e-6

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.slept_s += seconds
        self.us += max(1, round(seconds * 1e6))


class Values:
    """An event with the attributes in ``allowed``, each a whole number from 0 to its most."""

    allowed: ClassVar[dict[str, int]] = {}

    def __init__(self) -> None:
        self.__dict__.update(dict.fromkeys(self.allowed, 0))

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> int: ...

    def __setattr__(self, name: str, value: Any) -> None:
        most = self.allowed.get(name)
        if most is None:
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        whole = operator.index(value)
        if not 0 <= whole <= most:
            raise TypeError(f"{type(self).__name__}.{name} cannot be {value!r}")
        self.__dict__[name] = whole


class Spike(Values):
    allowed: ClassVar = {
        "layer": 2**8 - 1,
        "feature": 2**16 - 1,
        "x": 2**8 - 1,
        "y": 2**8 - 1,
        "timestamp": 2**32 - 1,
    }


class WriteNeuronValue(Values):
    allowed: ClassVar = {"layer": 2**8 - 1, "address": 2**18 - 1, "neuron_state": 2**16 - 1}


class DvsEvent(Values):
    allowed: ClassVar = {"x": 2**8 - 1, "y": 2**8 - 1, "p": 1, "timestamp": 2**32 - 1}


@dataclass
class Board:
    """One connected board and its chip."""

    time: Time
    faults: Faults
    open: bool = False
    closed: int = 0
    configuration: SpeckConfiguration | None = None
    memory: list[np.ndarray] = field(default_factory=list)
    watch_us: int | None = None  # when it showed 0
    elapsed_us: int = 0
    slow_us: int | None = None
    slow_hz: int = 0
    ticks: int = 0
    due: deque[tuple[int, Spike]] = field(default_factory=deque)
    out: list[tuple[int, Spike]] = field(default_factory=list)
    fresh: set[int] = field(default_factory=set)
    watched: bool = False  # keep which words were written
    written: list[tuple[int, set[int]]] = field(default_factory=list)
    seen: int = 0
    sent: int = 0
    busy: int = 0
    sampled_us: int | None = None
    power_hz: float = 0.0
    log: list[str] = field(default_factory=list)

    def alive(self) -> None:
        if not self.open:
            raise RuntimeError("the device is closed")
        if 0 <= self.faults.vanish_after <= self.seen:
            raise RuntimeError("LIBUSB_ERROR_NO_DEVICE")

    # ---- configuration and input

    def apply(self, configuration: Any) -> None:
        self.alive()
        if not isinstance(configuration, SpeckConfiguration):
            raise TypeError("apply_configuration(): incompatible function arguments")
        valid, why = validate_configuration(configuration)
        if not valid:
            raise RuntimeError(f"invalid configuration: {why}")
        self.configuration = copy.deepcopy(configuration)
        rng = np.random.default_rng(0)
        self.memory = [rng.integers(-100, 100, words) for words in NEURON_WORDS]
        self.log.append("apply")

    def write(self, events: list[Any]) -> None:
        self.alive()
        if self.configuration is None:
            raise RuntimeError("write before apply_configuration")
        if not isinstance(events, list):
            raise TypeError("write(): incompatible function arguments")
        kinds = {type(event) for event in events}
        if not kinds <= {Spike, WriteNeuronValue}:
            raise TypeError(f"no input events: {kinds}")
        self.time.us += len(events) * WRITE_US
        if WriteNeuronValue in kinds:
            self._poke([event for event in events if type(event) is WriteNeuronValue])
        if Spike in kinds:
            self._queue([event for event in events if type(event) is Spike])
        self.log.append("spikes" if Spike in kinds else "zeros")

    def _poke(self, events: list[WriteNeuronValue]) -> None:
        layers, addresses, states = (
            np.fromiter((getattr(event, name) for event in events), np.int64, len(events))
            for name in ("layer", "address", "neuron_state")
        )
        for core in np.unique(layers).tolist():
            mine = layers == core
            if core >= len(self.memory) or addresses[mine].max() >= len(self.memory[core]):
                raise ValueError(f"no neuron {addresses[mine].max()} on core {core}")
            self.memory[core][addresses[mine]] = states[mine]
            self.written.append((core, set(addresses[mine].tolist()) if self.watched else set()))
            self.fresh.add(core)

    def _queue(self, spikes: list[Spike]) -> None:
        if self.watch_us is None:
            raise RuntimeError("timestamps need a running stop watch")
        before = self.due[-1][1].timestamp if self.due else 0
        for spike in spikes:
            if spike.layer >= len(NEURON_WORDS):
                raise ValueError(f"no core {spike.layer}")
            extent = self.configuration.cnn_layers[spike.layer].dimensions.input_shape
            if not (spike.x < extent.size.x and spike.y < extent.size.y and spike.feature < extent.feature_count):
                raise ValueError(f"core {spike.layer} has no input ({spike.feature}, {spike.y}, {spike.x})")
            if spike.timestamp < before:
                raise ValueError("timestamps run backwards")
            before = spike.timestamp
            # what is due while the list is still being written comes in a burst at the end
            self.due.append((max(self.watch_us + spike.timestamp, self.time.us), spike))

    # ---- the chip

    def advance(self) -> None:
        """Do what is due by now."""
        while self.due and self.due[0][0] <= self.time.us:
            moment, spike = self.due.popleft()
            self._tick_until(moment)
            self.seen += 1
            if self.faults.drop_every and self.seen % self.faults.drop_every == 0:
                continue
            self._event(moment, spike)
        self._tick_until(self.time.us)

    def _tick_until(self, moment: int) -> None:
        while self.slow_us is not None and self.slow_us + (self.ticks + 1) * 1_000_000 // self.slow_hz <= moment:
            self.ticks += 1
            for number, core in self._used():
                if core.leak_enable:
                    for address, feature in _neurons(core):
                        self._add(number, core, address, core.biases[feature])

    def _used(self) -> Iterator[tuple[int, Any]]:
        assert self.configuration is not None
        return ((number, core) for number, core in enumerate(self.configuration.cnn_layers) if core.weights)

    def _add(self, number: int, core: Any, address: int, value: int) -> None:
        self.memory[number][address] = max(self.memory[number][address] + value, core.threshold_low)

    def _event(self, moment: int, spike: Spike) -> None:
        """One input event and all that it causes, first in, first out."""
        queue = deque([(spike.layer, spike.feature, spike.y, spike.x, moment)])
        while queue:
            number, c, y, x, moment = queue.popleft()
            self.busy += 1
            if number in self.fresh:
                self.fresh.discard(number)
                if self.faults.lose_first:
                    continue
            core = self.configuration.cnn_layers[number]
            for f, o_y, o_x in self._fired(number, core, c, y, x):
                self._report(number, core, f, o_y, o_x, moment + LATENCY_US)
                for to in core.destinations:
                    if to.enable:
                        size = self.configuration.cnn_layers[to.layer].dimensions.input_shape.size
                        p_y, p_x = o_y // to.pooling, o_x // to.pooling
                        if p_y < size.y and p_x < size.x:
                            queue.append((to.layer, f + to.feature_shift, p_y, p_x, moment + LATENCY_US))

    def _fired(self, number: int, core: Any, c: int, y: int, x: int) -> Iterator[tuple[int, int, int]]:
        """Neurons that one event makes fire, by falling feature, then row, then column, as samna's simulator."""
        dims, memory = core.dimensions, self.memory[number]
        features, weights = range(dims.output_shape.feature_count), core.weights
        rows, columns = _reached(dims, y, "y"), _reached(dims, x, "x")
        for f, (o_y, k_y), (o_x, k_x) in product(reversed(features), reversed(rows), reversed(columns)):
            address = _address(core, f, o_y, o_x)
            v = int(memory[address]) + weights[f][c][k_x][k_y]
            if v >= core.threshold_high:
                v = 0 if core.return_to_zero else v - core.threshold_high
                yield f, o_y, o_x
            memory[address] = max(v, core.threshold_low)

    def _report(self, number: int, core: Any, f: int, y: int, x: int, moment: int) -> None:
        if not core.monitor_enable:
            return
        self.sent += 1
        if self.faults.noise_every and self.sent % self.faults.noise_every == 0:
            return
        assert self.watch_us is not None
        self.out.append((moment + self.faults.late_us, self._spike(number, f, y, x, moment + self.faults.late_us)))

    def _spike(self, number: int, f: int, y: int, x: int, moment: int) -> Spike:
        spike = Spike()
        spike.layer, spike.feature, spike.y, spike.x = number, f, y, x
        spike.timestamp = moment - self.watch_us
        return spike

    def read(self) -> list[Any]:
        self.alive()
        self.advance()
        ready: list[Values] = [event for moment, event in self.out if moment <= self.time.us]
        self.out = [(moment, event) for moment, event in self.out if moment > self.time.us]
        if self.watch_us is not None:
            last = [number for number, core in self._used() if core.monitor_enable][-1]
            if self.faults.chatter:
                ready.append(self._spike(last, 0, 0, 0, self.time.us))
            if self.faults.stranger:
                ready += [self._spike(last, 999, 0, 0, self.time.us), self._spike(8, 0, 0, 0, self.time.us)]
                ready.append(DvsEvent())
                self.faults.stranger = False
        return ready

    # ---- power

    def samples(self) -> list[Any]:
        self.alive()
        self.advance()
        if self.sampled_us is None:
            return []
        count = int((self.time.us - self.sampled_us) * self.power_hz // 1_000_000)
        self.sampled_us += round(count * 1_000_000 / self.power_hz)
        if not count:
            return []
        extra, self.busy = self.busy * EVENT_W / count, 0
        watts = [watt + extra * (channel == 2) for channel, watt in enumerate(IDLE_W)]
        # timestamps as they are: useless
        return [
            SimpleNamespace(channel=c, value=watt, timestamp=0) for _ in range(count) for c, watt in enumerate(watts)
        ]


def _reached(dims: Any, place: int, axis: str) -> list[tuple[int, int]]:
    """Along one axis: the outputs that have an input under their kernel, and where in the kernel it lies."""
    size, stride, padding = (getattr(of, axis) for of in (dims.output_shape.size, dims.stride, dims.padding))
    places = ((output, place + padding - output * stride) for output in range(size))
    return [(output, kernel) for output, kernel in places if 0 <= kernel < dims.kernel_size]


def _address(core: Any, c: int, y: int, x: int) -> int:
    extent = core.dimensions.output_shape
    c_bits, x_bits = ((n - 1).bit_length() for n in (extent.feature_count, extent.size.x))
    return (y << (c_bits + x_bits)) | (x << c_bits) | c


def _neurons(core: Any) -> Iterator[tuple[int, int]]:
    extent = core.dimensions.output_shape
    for y in range(extent.size.y):
        for x in range(extent.size.x):
            for c in range(extent.feature_count):
                yield _address(core, c, y, x), c
