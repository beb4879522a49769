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

**Bias**: added by ticks of a slow clock, once a bin here (`options`).

**Order of arrival.** The next event enters when the chip has finished all that the one before it caused. Each core
takes its events first in, first out: an event's spikes queue behind what is there, in the order of their emission; of
several sources that one input event made fire, the first among the layer's inputs comes first. In a chain any other
policy that keeps each queue in order gives the same spikes, for a core sees the same sequence.

**The order of emission** within one event is that of samna's simulator: features descending, then rows, then columns.
Ten published output totals of a real network settle it for that simulator; whether silicon keeps it is not public
(`options`, where other orders are).

**A layer split over two cores** by output channels (`Concat`) gives the split layer's spikes exactly, where no
decimator is behind it. What reads them takes part by part what one input event made fire, the part with the last
features first where features leave in descending order, otherwise as listed. So behind it the spikes are those of the
unsplit network where order changes nothing (`options`, emission), and where the split layer is the first core and
features leave in descending order, or it is dense and addresses ascend. Elsewhere one input event can reach a
part several times, and what the parts send is not interleaved as the whole layer would send it.

**Time** orders the events and decides their bin; no core computes with it. A bin is there for what is recorded and
for the slow clock.

What the documents of the chip leave open is in `Options`: orders, ticks, decimators, a lost first event. Not
modelled: drops under congestion.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from spikefold.errors import ConfigError, DataError, Issue, UnsupportedError, nearest
from spikefold.export.network import INPUT, Network
from spikefold.export.neuron_support import neuron_refusals
from spikefold.hardware.simulators.reference import check_frames
from spikefold.hardware.simulators.trace import Trace
from spikefold.hardware.speck import rules as speck_rules
from spikefold.hardware.speck.cores import CoreLayer, core_layers
from spikefold.hardware.speck.events.causes import Causes
from spikefold.hardware.speck.events.core import NEURONS, NO_EVENTS, WIDE, Core
from spikefold.hardware.speck.events.dvs_layer import DvsLayer, entering
from spikefold.hardware.speck.events.options import Arrival, Options
from spikefold.hardware.speck.events.prepared import prepared
from spikefold.hardware.speck.events.queue import Queue
from spikefold.hardware.speck.events.result import CoreLoad, EventRun

RUNNER = "event-driven"
Enter = Callable[[int], tuple[np.ndarray, np.ndarray]]
"""Addresses of a clip's events in order of arrival, ``(events,)`` int64, and how many there are in each bin."""


def run(network: Network, frames: np.ndarray, options: Options | None = None, *, potentials: bool = False) -> Trace:
    """The trace of `simulate`, to be compared with another runner's; same arguments and errors."""
    return simulate(network, frames, options, potentials=potentials).trace


def simulate(
    network: Network, frames: np.ndarray, options: Options | None = None, *, potentials: bool = False
) -> EventRun:
    """Simulate clips, each from zero state.

    Args:
        network: integer, as `quantise` makes it for Speck; a chain or graph of cores. States are kept in 16 bits, and
            in 32 or 64 where those may not hold them.
        frames: event counts ``(T, N, C, H, W)``, whole and not negative.
        options: what the chip's documents leave open; by default spikes leave as in samna's simulator and the slow
            clock ticks at the end of a bin.
        potentials: record the state of every neuron at the end of every bin too, int64.

    Returns:
        Spikes that left each neuron a bin ``(T, N, C, H, W)`` uint16, range of the states between events (before
        reset and lower bound), overflowing updates; and the load of each core.

    Raises:
        NetworkError: the frames do not have the network's input shape.
        DataError: counts that are not whole or below 0.
        ConfigError: a decimator for a layer that is no core.
        UnsupportedError: with everything in the network that such a core cannot do; a state that may leave 64 bits;
            more than 65,535 spikes of one neuron in one bin.
    """
    options = options or Options()
    refuse_unsupported(network)
    check_frames(network, frames)
    if not np.issubdtype(frames.dtype, np.integer) and not np.array_equal(frames, np.rint(frames)):
        raise DataError("frames hold counts that are not whole numbers", hint="give event counts, not rates")
    if frames.min(initial=0) < 0:
        raise DataError(f"frames hold a count of {frames.min()}", hint="give event counts, 0 or more")
    steps, clips = frames.shape[:2]

    def enter(clip: int) -> tuple[np.ndarray, np.ndarray]:
        found = [_frame_events(frames[step, clip], options.first_clip + clip, step, options) for step in range(steps)]
        return np.concatenate([NO_EVENTS[0], *found]), np.array([len(events) for events in found], np.int64)

    return _simulated(network, (steps, clips), enter, options, potentials)


def simulate_events(
    network: Network,
    events: np.ndarray,
    layer: DvsLayer,
    *,
    dt_us: int,
    steps: int | None = None,
    options: Options | None = None,
    potentials: bool = False,
) -> EventRun:
    """Simulate one recording from zero state, event by event as the sensor sent them.

    Args:
        network: as for `simulate`.
        events: structured array of t (microseconds), x, y, p; time decides the order, equal times the list.
        layer: what the chip does to the sensor's events.
        dt_us: length of a bin in microseconds, for what is recorded and for the slow clock.
        steps: bins T of the clip, later events are left out; None for as many as the last event that enters needs.
        options: as for `simulate`; the order of arrival in them has no meaning here.
        potentials: as for `simulate`.

    Returns:
        As `simulate`, N = 1.

    Raises:
        NetworkError: the network does not read the layer's map.
        DataError: no such events; an event outside the sensor or before time 0.
        ConfigError: a bin or clip without length; a decimator for a layer that is no core.
        UnsupportedError: as `simulate`.
    """
    if steps is None and dt_us > 0 and layer.output_shape == network.input.shape:
        times = entering(layer, network, events)[1]
        steps = int(times[-1]) // dt_us + 1 if len(times) else 1
    return simulate_recordings(
        network, [events], layer, dt_us=dt_us, steps=steps, options=options, potentials=potentials
    )


def simulate_recordings(
    network: Network,
    recordings: Sequence[np.ndarray],
    layer: DvsLayer,
    *,
    dt_us: int,
    steps: int | None,
    options: Options | None = None,
    potentials: bool = False,
) -> EventRun:
    """Simulate recordings as `simulate_events` does, each from zero state.

    Args:
        network: as for `simulate`.
        recordings: as ``events`` of `simulate_events`, one for each of the N clips.
        layer: what the chip does to the sensor's events.
        dt_us: length of a bin in microseconds.
        steps: bins T of each clip, later events are left out.
        options: as for `simulate_events`.
        potentials: as for `simulate`.

    Raises:
        SpikefoldError: as `simulate_events`.
    """
    options = options or Options()
    if dt_us < 1 or (steps is not None and steps < 1):
        raise ConfigError(f"{steps} bins of {dt_us} us: whole numbers above 0 only")
    refuse_unsupported(network)
    bins = 1 if steps is None else steps

    def enter(clip: int) -> tuple[np.ndarray, np.ndarray]:
        addresses, times = entering(layer, network, recordings[clip])
        ends = np.searchsorted(times, np.arange(bins + 1) * dt_us)
        return addresses[: ends[-1]], np.diff(ends)

    return _simulated(network, (bins, len(recordings)), enter, options, potentials)


def _simulated(
    network: Network, clips: tuple[int, int], enter: Enter, options: Options, potentials: bool
) -> EventRun:
    queues = _queues(network, clips, options, potentials)
    for clip in range(clips[1]):
        events, counts = enter(clip)
        causes = Causes.of(counts, options.tick)
        sent = {INPUT: (events, causes.of_events)}
        for queue in queues:
            sent[queue.core.layer.neuron_name] = queue.process(clip, sent, causes, options.tick_fires)
    layers = {queue.core.layer.neuron_name: queue.trace() for queue in queues}
    return EventRun(
        Trace(RUNNER, {layer.name: layers[layer.name] for layer in network.neurons}),
        tuple(CoreLoad(queue.core.layer.name, queue.events, queue.operations) for queue in queues),
    )


def _queues(network: Network, clips: tuple[int, int], options: Options, potentials: bool) -> list[Queue]:
    layers = core_layers(network)
    names = [layer.name for layer in layers]
    issues = [
        Issue("a decimator belongs to a core", name, "no weight layer of that name", "a core's", nearest(name, names))
        for name in options.decimators
        if name not in names
    ]
    if issues:
        raise ConfigError("a decimator is given for a layer that is no core", issues=issues)
    known = prepared(network)
    return [
        Queue(
            Core(layer, known.taps(layer), known.rank(layer, number, options), options.decimators.get(layer.name, 1)),
            known.sources(layer, options),
            clips,
            lose_first=options.lose_first,
            potentials=potentials,
        )
        for number, layer in enumerate(layers)
    ]


def refuse_unsupported(network: Network) -> None:
    """Name everything that this simulator has no rule for, in one error.

    Raises:
        UnsupportedError: a real network; a leak, a threshold per channel or neuron, a reset to a value; layers that
            are no core of Speck; groups or dilation; a neuron that fires above its threshold only, or whose state has
            a unit of its own, wraps or saturates; numbers beyond 62 bits.
    """
    issues = speck_rules.operations(network)
    if not network.is_integer:
        issues.append(Issue("whole numbers", "network", "a real network", "an integer one", "quantise it for Speck"))
    for core in core_layers(network):
        issues += speck_rules.plain_convolution(core, network.is_integer)
        issues += neuron_refusals(core.neuron, NEURONS, core.neuron_name) + _too_large(core)
    if issues:
        raise UnsupportedError("the event-driven simulator cannot run this network", issues=issues)


def _too_large(core: CoreLayer) -> list[Issue]:
    neuron, bias = core.neuron, 0 if core.bias is None else core.bias
    largest = max(int(np.abs(values).max()) for values in (core.weight, bias, neuron.threshold, neuron.v_min or 0))
    if largest <= WIDE // 2:
        return []
    return [Issue("largest number", core.neuron_name, f"{largest:g}", f"{WIDE // 2:g}", "quantise it for Speck")]


def _frame_events(frame: np.ndarray, clip: int, step: int, options: Options) -> np.ndarray:
    """Addresses of a frame's ``(C, H, W)`` events in the order they enter, int64."""
    counts = frame.transpose(1, 2, 0).ravel().astype(np.int64)
    events = np.repeat(np.arange(len(counts)), counts)
    if options.arrival is Arrival.RASTER:
        return events
    return np.random.default_rng([options.seed, clip, step]).permutation(events)
