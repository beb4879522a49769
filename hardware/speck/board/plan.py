# SPDX-License-Identifier: Apache-2.0
"""Works out and checks what is sent to a board before it is touched, and runs the same in the simulator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np

from spikefold.errors import ConfigError, DataError, Issue, nearest
from spikefold.export.network import INPUT, Network
from spikefold.export.ops import Concat
from spikefold.hardware.simulators.trace import LayerTrace, Trace, concatenate
from spikefold.hardware.speck.board.clips import CLIP_DTYPE, EDGE, clip_issues
from spikefold.hardware.speck.board.config import foreign
from spikefold.hardware.speck.board.options import DeviceOptions
from spikefold.hardware.speck.cores import CORES, core_layers, destinations_of
from spikefold.hardware.speck.events import simulate as event_driven
from spikefold.hardware.speck.events.dvs_layer import DvsLayer
from spikefold.hardware.speck.events.options import Options
from spikefold.hardware.speck.placement import check_placement

SLOW_CLOCK_HZ = (10, 10_000)
"""Usual range of the slow clock (datasheet 3.2.6)."""


@dataclass(frozen=True, eq=False)
class Plan:
    """A run before it happens.

    Attributes:
        network: integer.
        clips: events of each, `CLIP_DTYPE`, times of the stop watch.
        cores: core number by spiking layer, in network order.
        first: the cores that read the input; both parts of a layer that was split.
        slow_clock_hz: rate of the ticks that add biases; None without biases.
        lead: bins before the clip.
        options: as asked for.
    """

    network: Network
    clips: tuple[np.ndarray, ...]
    cores: Mapping[str, int]
    first: tuple[int, ...]
    slow_clock_hz: int | None
    lead: int
    options: DeviceOptions

    @property
    def lead_us(self) -> int:
        """Stop watch at the first bin of the clip."""
        return self.lead * self.network.input.dt_us

    @property
    def words(self) -> dict[int, int]:
        """Words of neuron memory by core in use."""
        return {core: CORES[core].neuron for core in self.cores.values()}

    @property
    def layers(self) -> tuple[str, ...]:
        """The monitored layers in network order."""
        return tuple(name for name in self.cores if not self.options.layers or name in self.options.layers)


def planned(
    configuration: Mapping[str, Any],
    network: Network,
    placement: Mapping[str, int],
    clips: Sequence[np.ndarray],
    options: DeviceOptions,
) -> Plan:
    """The plan of a run; arguments and errors as `run.run_on_device`."""
    event_driven.refuse_unsupported(network)
    spec, names = network.input, [layer.name for layer in network.neurons]
    if unknown := sorted(set(options.layers) - set(names)):
        raise ConfigError(f"no spiking layers {unknown}", where="layers", hint=nearest(unknown[0], names))
    if issues := check_placement(network, placement) or foreign(configuration, network, placement):
        raise ConfigError("configuration, network and placement do not belong together", issues=issues)
    if not clips:
        raise DataError("no clips to run", where="clips", hint="give at least one")
    issues = (
        []
        if spec.shape[0] <= 2
        else [Issue("events have a polarity", "input", f"{spec.shape[0]} channels", "1 or 2", "merge the channels")]
    )
    issues += [issue for number, clip in enumerate(clips) for issue in clip_issues(clip, number, spec)]
    if issues:
        raise DataError("clips that cannot be sent", where="clips", issues=issues)
    lead = ceil(options.delay_us / spec.dt_us)
    biased = any(layer.bias is not None and layer.bias.any() for layer in core_layers(network))
    neurons = {layer.name: layer.neuron_name for layer in core_layers(network)}
    return Plan(
        network=network,
        clips=tuple(_later(clip, lead * spec.dt_us) for clip in clips),
        cores={name: placement[name] for name in names},
        first=_fed(network, [neurons[to.layer] for to in destinations_of(network, INPUT)], placement),
        slow_clock_hz=max(1, round(1e6 / spec.dt_us)) if biased else None,
        lead=lead,
        options=options,
    )


def _later(clip: np.ndarray, by_us: int) -> np.ndarray:
    """The clip as `CLIP_DTYPE`, every event so much later."""
    events = np.empty(len(clip), CLIP_DTYPE)
    for name in CLIP_DTYPE.names or ():
        events[name] = clip[name]
    events["t"] += by_us
    return events


def _fed(network: Network, readers: list[str], placement: Mapping[str, int]) -> tuple[int, ...]:
    """The cores that read the input, in the order in which each event is sent to them.

    Of the parts of a split layer the last is sent it first: features leave by falling number, as in the whole layer.
    """
    ordered = list(readers)
    for layer in network:
        if isinstance(layer.op, Concat) and set(layer.inputs) <= set(readers):
            places = sorted(ordered.index(name) for name in layer.inputs)
            for place, name in zip(places, reversed(layer.inputs), strict=True):
                ordered[place] = name
    return tuple(placement[name] for name in ordered)


def simulated(plan: Plan, *, lose_first: bool) -> Trace:
    """The monitored layers in the event-driven simulator, given the same events in the same order.

    Args:
        plan: of the run.
        lose_first: let each core lose the first event of a clip.
    """
    spec = plan.network.input
    layer, options = DvsLayer(spec.shape[1:], merge=spec.shape[0] == 1), Options(lose_first=lose_first)
    # in the bins before the clip only the slow clock does something
    steps = plan.lead + spec.steps
    trace = concatenate(
        [
            event_driven.simulate_events(
                plan.network, clip, layer, dt_us=spec.dt_us, steps=steps, options=options
            ).trace
            for clip in plan.clips
        ]
    )
    found = {name: trace.layers[name] for name in plan.layers}
    return Trace(
        trace.runner,
        {name: LayerTrace(one.raster[plan.lead :], one.v_range, one.overflow) for name, one in found.items()},
    )


def notes(plan: Plan, simulation: Trace, *, power: bool) -> list[str]:
    """What a reader has to know to read the figures."""
    found = ["spikes are those of the neurons, before any pool"]
    hz, wanted = plan.slow_clock_hz, 1e6 / plan.network.input.dt_us
    if hz is not None:
        found.append(
            f"biases: the slow clock ticks at {hz} Hz, the bins come at {wanted:.4g} Hz; their phase cannot be set, "
            "and whether a tick can fire is not known"
        )
        drift = abs(hz / wanted - 1) * (plan.lead + plan.network.input.steps)
        if drift > EDGE:
            found.append(f"biases: over a clip the ticks drift against the bins by {drift:.2g} bins")
        if not SLOW_CLOCK_HZ[0] <= hz <= SLOW_CLOCK_HZ[1]:
            found.append(f"biases: usual rates of the slow clock are {SLOW_CLOCK_HZ[0]} to {SLOW_CLOCK_HZ[1]} Hz")
    if power and len(plan.layers) > 1:
        found.append(f"power: {len(plan.layers)} layers were monitored, which costs power; monitor the last one only")
    if plan.options.dummy_event:
        found.append("each core was sent an event to lose before each clip; a chip that loses none counts it")
    if overflow := sum(layer.overflow for layer in simulation.layers.values()):
        found.append(f"states leave 16 bits {overflow} times in the simulator; what the chip does then is not public")
    return found
