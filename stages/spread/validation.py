# SPDX-License-Identifier: Apache-2.0
"""``validate`` on many workers: each compares the runners of a chip on a range of the clips."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import prod

import numpy as np

from spikefold.export.network import Network
from spikefold.hardware.registry import chip_named
from spikefold.hardware.simulators.compare import Comparison, FirstMismatch
from spikefold.hardware.simulators.parity import Parity, check
from spikefold.hardware.simulators.trace import concatenate
from spikefold.session import Reporter
from spikefold.stages.spread.engine import Cluster, Task, spread
from spikefold.stages.spread.worker import with_threads
from spikefold.train.processes.device import threads_of_process


@dataclass(frozen=True, eq=False)
class _Range:
    """The clips from ``start`` on, of which the vendor's simulator is given the first ``vendor_clips``."""

    chip: str
    networks: tuple[Network, Network]
    start: int
    frames: np.ndarray
    vendor_clips: int
    threads: int


def compare_spread(
    networks: Mapping[str, tuple[Network, Network]],
    frames: np.ndarray,
    vendor_clips: int,
    reporter: Reporter,
    cluster: Cluster,
) -> dict[str, Parity]:
    """As `compare_runners` with silent layers allowed, in every number, by the workers of a cluster.

    Each chip's clips are cut into as many ranges as there are workers, for a vendor's simulator may take seconds to
    start.

    Args, raises: as there.
    """
    tasks = [task for name, both in networks.items() for task in _tasks(name, both, frames, vendor_clips, cluster)]
    parts = spread(_compared, tasks, cluster, reporter, "validate")
    found = {}
    for name, (_, integer) in networks.items():
        mine = [(task.argument.start, part) for task, part in zip(tasks, parts, strict=True) if part.chip == name]
        found[name] = joined(mine, integer)
        for comparison in found[name].comparisons:
            reporter.line(f"{name}: {comparison.describe()}")
    return found


def _tasks(
    name: str, networks: tuple[Network, Network], frames: np.ndarray, vendor_clips: int, cluster: Cluster
) -> Iterator[Task[_Range]]:
    clips, count = frames.shape[1], threads_of_process()
    ends = np.linspace(0, clips, min(clips, cluster.workers) + 1).astype(int).tolist()
    for start, end in pairwise(ends):
        vendor = min(max(vendor_clips - start, 0), end - start)
        given = _Range(name, networks, start, np.ascontiguousarray(frames[:, start:end]), vendor, count)
        yield Task(f"{name}, clips {start} to {end - 1}", given, end - start)


def _compared(given: _Range) -> Parity:
    real, integer = given.networks
    simulator = chip_named(given.chip).vendor_simulator if given.vendor_clips else None
    with with_threads(given.threads):
        vendor = None if simulator is None else simulator(real, integer)
        return check(given.chip, integer, given.frames, vendor, given.vendor_clips, allow_silent=True)


def joined(parts: Sequence[tuple[int, Parity]], network: Network) -> Parity:
    """What one comparison of all the clips would have found.

    Args:
        parts: the first clip of each range, and what was found in it; the ranges in order, without gaps.
        network: the chip's integer network.
    """
    whole = parts[0][1]
    comparisons = []
    for place in range(len(whole.comparisons)):  # the first range has every runner that another one has
        of_runner = [(start, part.comparisons[place]) for start, part in parts if place < len(part.comparisons)]
        comparisons.append(_added(of_runner, network))
    traces = [part.simulated for _, part in parts if part.simulated is not None]
    return replace(whole, comparisons=tuple(comparisons), simulated=concatenate(traces) if traces else None)


def _added(parts: Sequence[tuple[int, Comparison]], network: Network) -> Comparison:
    """Spikes and mismatches add; a layer was compared where it fired in any of the ranges."""
    layers = [layer.name for layer in network.neurons]
    silent = tuple(name for name in layers if all(name in part.silent for _, part in parts))
    firsts = [replace(part.first, clip=part.first.clip + start) for start, part in parts if part.first is not None]
    return replace(
        parts[0][1],
        layers=len(layers) - len(silent),
        clips=sum(part.clips for _, part in parts),
        neurons=sum(prod(network.shapes[name]) for name in layers if name not in silent),
        spikes=sum(part.spikes for _, part in parts),
        mismatches=sum(part.mismatches for _, part in parts),
        first=min(firsts, key=lambda one: _order(one, layers), default=None),
        silent=silent,
    )


def _order(first: FirstMismatch, layers: Sequence[str]) -> tuple[int, int, int, tuple[int, int, int]]:
    """As one comparison looks: the earliest layer, its earliest step, the first clip, the first neuron."""
    return layers.index(first.layer), first.step, first.clip, first.neuron
