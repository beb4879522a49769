# SPDX-License-Identifier: Apache-2.0
"""Which core sets the pace of each step: the busiest one, by its synapses, its neurons or its messages.

A chip that ends each step with a barrier waits for its slowest core, so the sum over cores says nothing of time. What
binds can change from step to step. Layers work at the same time on different steps of a clip: while the first reads
step t, the one behind it reads t - 1, so the work is lined up by the depth of the layer, clip after clip.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil

import numpy as np

from spikefold.energy.prices.technology import Times
from spikefold.errors import MismatchError
from spikefold.hardware.core_work import CoreWork

PARTS = ("synapses", "neurons")
"""What a core's time is made of; a time of a message is not published of any chip here."""


@dataclass(frozen=True)
class Step:
    """One step of the chip.

    Attributes:
        layer: whose core is the slowest.
        core: which of its cores, from 0.
        part: what binds there, one of `PARTS`.
        operations: synaptic operations of that core.
        time_us: of the step, low, nominal and high end of the times.
    """

    layer: str
    core: int
    part: str
    operations: int
    time_us: tuple[float, float, float]


@dataclass(frozen=True)
class Proposal:
    """More cores for the layer that binds, and what they buy.

    Attributes:
        layer: that binds in the slowest step.
        cores: that it has, and that it should have.
        slowest_us: the slowest step before and after, at the nominal times.
        then: the layer that binds afterwards.
    """

    layer: str
    cores: tuple[int, int]
    slowest_us: tuple[float, float]
    then: str

    def describe(self) -> str:
        """One sentence for people."""
        more = self.cores[1] - self.cores[0]
        before, after = self.slowest_us
        return (
            f"{more} more core{'s' * (more != 1)} for {self.layer} ({self.cores[1]} in place of {self.cores[0]}) "
            f"bring{'s' * (more == 1)} the slowest step from {before:,.1f} to {after:,.1f} us; then {self.then} binds"
        )


def steps(work: Mapping[str, CoreWork], times: Times) -> tuple[Step, ...]:
    """The steps of a chip that runs clip after clip, in order; what binds is told at the nominal times.

    Args:
        work: of every layer, in the order of the network.
        times: of a profile.

    Raises:
        MismatchError: no layer.
        ConfigError: a time that nobody knows.
    """
    if not work:
        raise MismatchError("no layer does any work")
    lined_up = _lined_up(work)
    ends = _ends(times)
    by_layer = {name: _core_us(one, times, ends[1]) for name, one in lined_up.items()}
    found = []
    for step in range(len(next(iter(by_layer.values())))):
        layer = max(by_layer, key=lambda name: by_layer[name][step].max())
        core = int(by_layer[layer][step].argmax())
        one = lined_up[layer]
        operations = int(one.operations.reshape(-1, one.cores)[step, core])
        synapses, neurons = operations * ends[1][0], int(one.neurons[core]) * ends[1][1]
        time_us = tuple(
            max(float(_core_us(each, times, end)[step].max()) for each in lined_up.values()) + end[2] / 1e3
            for end in ends
        )
        part = PARTS[0] if synapses >= neurons else PARTS[1]
        found.append(Step(layer, core, part, operations, (time_us[0], time_us[1], time_us[2])))
    return tuple(found)


def proposal(work: Mapping[str, CoreWork], times: Times) -> Proposal | None:
    """How many more cores the binding layer needs until another one binds; None where only one layer works.

    The layer's work is taken to be cut evenly, as its blocks are. More cores than that buy nothing.
    """
    nominal = _ends(times)[1]
    slowest = {name: float(_core_us(one, times, nominal).max()) for name, one in work.items()}
    layer = max(slowest, key=lambda name: slowest[name])
    others = {name: time for name, time in slowest.items() if name != layer}
    if not others or not max(others.values()):
        return None
    then = max(others, key=lambda name: others[name])
    cores = work[layer].cores
    enough = ceil(cores * slowest[layer] / others[then])
    if enough <= cores:
        return None
    before, after = (
        time + nominal[2] / 1e3 for time in (slowest[layer], max(slowest[layer] * cores / enough, others[then]))
    )
    return Proposal(layer, (cores, enough), (before, after), then)


def _lined_up(work: Mapping[str, CoreWork]) -> dict[str, CoreWork]:
    """The work of each layer later by its depth, from one clip into the next, as ``(T * N, 1, cores)``."""

    def later(values: np.ndarray, depth: int) -> np.ndarray:
        return np.roll(_by_time(values), depth, axis=0)

    return {
        name: replace(
            one,
            operations=later(one.operations, depth),
            messages=later(one.messages, depth),
            spikes=later(one.spikes, depth),
            updates=later(one.updates, depth),
        )
        for depth, (name, one) in enumerate(work.items())
    }


def _by_time(values: np.ndarray) -> np.ndarray:
    """``(T, N, cores)`` to ``(N * T, 1, cores)``: clip after clip."""
    return values.transpose(1, 0, 2).reshape(-1, 1, values.shape[2])


def _ends(times: Times) -> tuple[tuple[float, float, float], ...]:
    """Times of an operation, a neuron and the barrier in ns: low, nominal and high."""
    parts = (times.synop, times.neuron, times.barrier)
    low, high = ([one.bounds[end] for one in parts] for end in (0, 1))
    nominal = [one.amount for one in parts]
    return (low[0], low[1], low[2]), (nominal[0], nominal[1], nominal[2]), (high[0], high[1], high[2])


def _core_us(one: CoreWork, times: Times, end: tuple[float, float, float]) -> np.ndarray:
    """Time of each core in each step without the barrier, ``(steps, cores)``."""
    synapses = one.operations.reshape(-1, one.cores) * end[0] / 1e3
    neurons = np.broadcast_to(one.neurons * end[1] / 1e3, synapses.shape)
    return np.asarray(np.maximum(synapses, neurons) if times.combine == "largest" else synapses + neurons)
