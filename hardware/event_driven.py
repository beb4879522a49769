# SPDX-License-Identifier: Apache-2.0
"""Speck as it runs: whole numbers, event by event. Order decides here, where a clocked engine adds up a time step.

**One event** ``(c, y, x)`` at a core reaches every neuron ``(f, oy, ox)`` that has it under its kernel::

    v <- v + w[f, c, ky, kx]
    if v >= threshold: ONE spike; v <- 0 (Reset.ZERO) or v - threshold (Reset.SUBTRACT)
    v <- max(v, v_min)                                              where v_min is given

At most one spike a neuron and event, whatever the weight: what is left above the threshold waits for the next event
that reaches the neuron. ``max_spikes`` belongs to clocked engines and is ignored. A state outside ``state_bits``
is counted as overflow and kept, for what the chip does with it is not public.

**Pooling** is by address: a spike goes to ``(f, y // p, x // p)``, one event, nothing is summed; those of an
incomplete window at the border are dropped.

**Bias**: the chip adds it at each tick of a slow clock. Here that clock ticks once a bin, at its start, at its end,
or never (`Tick`). A tick applies v_min and does not fire; a state it lifted to the threshold waits for an event.
Whether a tick can fire on the chip is not known.

**Order of arrival.** Within a bin, the events of a frame come in the order of addresses y, x, channel, an input with
n events n times in a row; or shuffled, ``numpy.random.default_rng([seed, clip, step]).permutation`` of that list,
clips counted within the run. The next event enters when the chip has finished all that the one before it caused.
Each core takes its events first in, first out: an event's spikes queue behind what is there, in the order of their
emission; of several sources that one input event made fire, the first among the layer's inputs comes first. In a
chain any other policy that keeps each queue in order gives the same spikes, for a core sees the same sequence.

**Order of emission** within one event is not public (`Emission`): ascending neuron address y, x, feature;
descending; or a fixed sweep of each core drawn from the seed: the neuron of address a has place
``default_rng([seed, core]).permutation(neurons)[a]``, cores numbered in network order from 0. It cannot change
the first core. In a chain it changes no spike count of a bin behind it either where there is no bias, no weight is
negative or above its threshold, and all resets subtract.

Not modelled: the output decimator, drops under congestion, time within a bin, an event lost after a reset.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from spikefold.errors import DataError, Issue, UnsupportedError
from spikefold.export.network import INPUT, Network
from spikefold.export.neuron import Fire, Overflow
from spikefold.hardware import speck
from spikefold.hardware.event_core import LARGEST, Core
from spikefold.hardware.event_queue import Queue, sources_of
from spikefold.hardware.reference import check_frames
from spikefold.hardware.speck_cores import CoreLayer, core_layers
from spikefold.hardware.trace import Trace

RUNNER = "event-driven"


class Emission(StrEnum):
    """Order in which the spikes of one event leave a core."""

    RASTER = "raster"
    REVERSE = "reverse"
    SEEDED = "seeded"


class Arrival(StrEnum):
    """Order in which the events of a frame enter."""

    RASTER = "raster"
    SEEDED = "seeded"


class Tick(StrEnum):
    """When in a bin the slow clock adds the bias."""

    START = "start"
    END = "end"
    NEVER = "never"


@dataclass(frozen=True)
class Options:
    """What the chip's public documents leave open; see the module's docstring."""

    emission: Emission = Emission.RASTER
    arrival: Arrival = Arrival.RASTER
    tick: Tick = Tick.END
    seed: int = 0


@dataclass(frozen=True, eq=False)
class CoreLoad:
    """The work of one core.

    Attributes:
        name: its weight layer.
        events: incoming events a bin and clip, ``(T, N)`` int64.
        operations: synaptic operations, one for each neuron that an event reaches, ``(T, N)`` int64.
    """

    name: str
    events: np.ndarray
    operations: np.ndarray

    def peak_per_second(self, dt_us: int) -> float:
        """Synaptic operations per second of the busiest bin, ``dt_us`` microseconds long."""
        return float(self.operations.max(initial=0)) * 1e6 / dt_us


@dataclass(frozen=True, eq=False)
class EventRun:
    """A run: its spikes, and the load of each core in network order."""

    trace: Trace
    loads: tuple[CoreLoad, ...]


def run(network: Network, frames: np.ndarray, options: Options | None = None, *, potentials: bool = False) -> Trace:
    """The trace of `simulate`, to be compared with another runner's; same arguments and errors."""
    return simulate(network, frames, options, potentials=potentials).trace


def simulate(
    network: Network, frames: np.ndarray, options: Options | None = None, *, potentials: bool = False
) -> EventRun:
    """Simulate clips, each from zero state.

    Args:
        network: integer, as `quantise` makes it for ``speck.NUMBERS``; a chain or graph of cores.
        frames: event counts ``(T, N, C, H, W)``, whole and not negative.
        options: what the chip's documents leave open; raster orders and a tick at the end of a bin by default.
        potentials: record the state of every neuron at the end of every bin too, int64.

    Returns:
        Spike counts a bin ``(T, N, C, H, W)`` uint16, range of the states between events (before reset and lower
        bound), overflowing updates; and the load of each core.

    Raises:
        NetworkError: the frames do not have the network's input shape.
        DataError: counts that are not whole or below 0.
        UnsupportedError: with everything in the network that such a core cannot do; a state that may leave 32 bits;
            more than 65535 spikes of one neuron in one bin.
    """
    options = options or Options()
    refuse_unsupported(network)
    check_frames(network, frames)
    if not np.issubdtype(frames.dtype, np.integer) and not np.array_equal(frames, np.rint(frames)):
        raise DataError("frames hold counts that are not whole numbers", hint="give event counts, not rates")
    if frames.min(initial=0) < 0:
        raise DataError(f"frames hold a count of {frames.min()}", hint="give event counts, 0 or more")
    clips = frames.shape[:2]
    queues = [
        Queue(Core(layer, _rank(layer, number, options)), sources_of(network, layer.name), clips, potentials)
        for number, layer in enumerate(core_layers(network))
    ]
    ticks = (options.tick is Tick.START, options.tick is Tick.END)
    for clip in range(frames.shape[1]):
        for one in queues:
            one.core.clear()
        for step in range(frames.shape[0]):
            events = _input_events(frames[step, clip], clip, step, options)
            sent = {INPUT: (events, np.arange(len(events)))}
            for one in queues:
                sent[one.core.layer.neuron_name] = one.process(step, clip, sent, ticks)
    layers = {one.core.layer.neuron_name: one.trace() for one in queues}
    return EventRun(
        Trace(RUNNER, {layer.name: layers[layer.name] for layer in network.neurons}),
        tuple(CoreLoad(one.core.layer.name, one.events, one.operations) for one in queues),
    )


def refuse_unsupported(network: Network) -> None:
    """Name everything that this simulator has no rule for, in one error.

    Raises:
        UnsupportedError: a real network; a leak, a threshold per channel or neuron, a reset to a value; layers that
            are no core of Speck; groups or dilation; a neuron that fires above its threshold only, or whose state has
            a unit of its own, wraps or saturates; numbers beyond 30 bits.
    """
    issues = speck.operations(network)
    if not network.is_integer:
        issues.append(Issue("whole numbers", "network", "a real network", "an integer one", "quantise it for Speck"))
    for core in core_layers(network):
        issues += speck.plain_convolution(core, network.is_integer) + speck.neuron_kind(core, network.is_integer)
        issues += _unlike_speck(core)
    if issues:
        raise UnsupportedError("the event-driven simulator cannot run this network", issues=issues)


def _unlike_speck(core: CoreLayer) -> list[Issue]:
    neuron, bias = core.neuron, 0 if core.bias is None else core.bias
    largest = max(np.abs(values).max() for values in (core.weight, bias, neuron.threshold, neuron.v_min or 0))
    plain = neuron.state_bits is None or neuron.overflow is Overflow.FORBID
    rules = [
        (neuron.fire is Fire.GE, "fires at", neuron.fire.value, Fire.GE.value, "quantise it for Speck"),
        (neuron.state_shift == 0, "unit of the state", f"2^-{neuron.state_shift}", "1", "quantise it for Speck"),
        (plain, "overflow of the state", neuron.overflow.value, Overflow.FORBID.value, "quantise it for Speck"),
        (largest <= LARGEST // 2, "largest number", f"{largest:g}", str(LARGEST // 2), "quantise it for Speck"),
    ]
    return [Issue(rule, core.neuron_name, got, limit, hint) for holds, rule, got, limit, hint in rules if not holds]


def _rank(layer: CoreLayer, number: int, options: Options) -> np.ndarray | None:
    neurons = int(np.prod(layer.neuron_shape))
    match options.emission:
        case Emission.RASTER:
            return None
        case Emission.REVERSE:
            return np.arange(neurons)[::-1].copy()
        case Emission.SEEDED:
            return np.random.default_rng([options.seed, number]).permutation(neurons)


def _input_events(frame: np.ndarray, clip: int, step: int, options: Options) -> np.ndarray:
    """Addresses of a frame's ``(C, H, W)`` events in the order they enter, int64."""
    counts = frame.transpose(1, 2, 0).ravel().astype(np.int64)
    events = np.repeat(np.arange(len(counts)), counts)
    if options.arrival is Arrival.RASTER:
        return events
    return np.random.default_rng([options.seed, clip, step]).permutation(events)
