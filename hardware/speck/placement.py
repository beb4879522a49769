# SPDX-License-Identifier: Apache-2.0
"""Places layers on the cores of Speck by an exact search, and checks placements by other means.

Every layer needs a core of its own whose kernel, neuron and bias memories all hold it (`cores`). `place` finds
such an assignment whenever one exists:

1. `split_plan` decides whether there is one, from how many cores of each kind are left. Where there is none, layers
   are left out as long as there is still none: what remains is k + 1 layers that only k cores could take (Hall), none
   of them superfluous. The error names them.
2. A table over all subsets of cores, 2^9 at most, picks the best legal one: first the least peak of load per core,
   then the least memory left unused in the cores taken, so that large memories stay free, then the lowest numbers.

A load is a layer's synaptic operations; a core's time for it is ``load / speed``. One layer a core means that with
equal speeds every placement has the same peak, and the memory decides alone. That is the default: the datasheet gives
no speeds. (Second-hand notes have core 0 about three times as fast; they disagree about which cores are.)

`check_placement` re-checks from the network's own arrays, by the address bits of a kernel and a neuron instead of the
count of words, and takes any assignment, such as sinabs' ``layer2core``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

from spikefold.errors import ConfigError, Issue, UnsupportedError, nearest
from spikefold.export.network import Network, SpikingLayer, WeightLayer
from spikefold.export.ops import Conv2d
from spikefold.hardware.speck.cores import CORES, Memory, layout
from spikefold.hardware.speck.rules import operations, plain_convolution
from spikefold.hardware.speck.split_plan import Demand, demands, plan, shortage, whole
from spikefold.hardware.speck.unplaceable import unplaceable

RULE = "Each layer has a core of its own, whose memories hold it"
KERNEL_BITS, NEURON_BITS, BIAS_BITS = 8, 16, 16
"""Width of a word in each memory."""


@dataclass(frozen=True)
class Placement:
    """A legal assignment.

    Attributes:
        cores: core number by spiking layer, in the network's order; the form of sinabs' ``layer2core``.
        unused_bits: memory left over in the cores taken.
        peak: largest ``load / speed`` of a core; 0 without loads.
    """

    cores: Mapping[str, int]
    unused_bits: int
    peak: float


def place(
    network: Network,
    loads: Mapping[str, float] | None = None,
    *,
    cores: Sequence[Memory] = CORES,
    speeds: Sequence[float] | None = None,
) -> Placement:
    """The best legal placement of the network.

    Args:
        network: real or integer; weight layers, their spiking layers, sum pools and concats of spikes. It is placed
            as it is; `split.split_to_fit` splits layers that are too wide.
        loads: synaptic operations by spiking layer, per clip or second as you like; 0 where a layer is missing.
        cores: memory of each core.
        speeds: relative speed of each core, all alike by default.

    Raises:
        UnsupportedError: a layer makes no core; or no legal placement exists: then with the layers that compete,
            the cores that could take them, and the smallest change that gives them places.
        ConfigError: a load of an unknown layer, a load below 0, or not one speed above 0 for each core.
    """
    loads, speeds = dict(loads or {}), list(speeds or [1.0] * len(cores))
    layers = layout(network).cores
    _check_numbers(loads, speeds, [layer.neuron_name for layer in layers], len(cores))
    issues = operations(network) + [issue for layer in layers for issue in plain_convolution(layer, False)]
    if issues:
        raise UnsupportedError("layers that make no core cannot be placed", where="placement", issues=issues)
    wanted = demands(network)
    if competing := shortage(whole(wanted), cores):
        issue = unplaceable(RULE, competing, cores)
        divided = _divided(wanted, cores)
        raise UnsupportedError(
            "no placement on the cores exists",
            where="placement",
            hint=f"split by output channels: {divided} (`split_to_fit`)" if divided else "",
            issues=[issue],
        )
    needs = [layer.memory for layer in layers]
    times = [[loads.get(layer.neuron_name, 0.0) / speed for speed in speeds] for layer in layers]
    chosen = _best(needs, times, cores)
    names = [layer.neuron_name for layer in layers]
    return Placement(
        dict(zip(names, chosen, strict=True)),
        sum(_bits(cores[core]) - _bits(need) for core, need in zip(chosen, needs, strict=True)),
        max((row[core] for row, core in zip(times, chosen, strict=True)), default=0.0),
    )


def _divided(wanted: Sequence[Demand], cores: Sequence[Memory]) -> str:
    """The layers that would have to be split, with the channels of their parts."""
    found = plan(wanted, cores) or ()
    return ", ".join(
        f"{one.name} into {' and '.join(map(str, parts))}"
        for one, parts in zip(wanted, found, strict=False)
        if len(parts) > 1
    )


def _check_numbers(loads: Mapping[str, float], speeds: Sequence[float], names: Sequence[str], count: int) -> None:
    for name, load in loads.items():
        if name not in names:
            raise ConfigError(f"load of an unknown layer {name!r}", where="loads", hint=nearest(name, names))
        if not isfinite(load) or load < 0:
            raise ConfigError(f"{name}: a load of {load}", where="loads", hint="count synaptic operations, 0 or more")
    if len(speeds) != count or not all(isfinite(speed) and speed > 0 for speed in speeds):
        raise ConfigError(f"speeds {speeds}", where="speeds", hint=f"give {count} numbers above 0, one for each core")


def _best(needs: Sequence[Memory], times: Sequence[Sequence[float]], cores: Sequence[Memory]) -> tuple[int, ...]:
    """Core of each layer: least peak, then least memory taken, then lowest numbers. A legal one must exist."""
    limits = sorted({time for row in times for time in row})
    low, high = 0, len(limits) - 1
    while low < high:  # more time never takes a placement away
        middle = (low + high) // 2
        low, high = (
            (low, middle) if _cheapest(needs, times, cores, limits[middle]) is not None else (middle + 1, high)
        )
    best = _cheapest(needs, times, cores, limits[low])
    if best is None:
        raise ValueError("no legal placement exists")
    return best


def _cheapest(
    needs: Sequence[Memory], times: Sequence[Sequence[float]], cores: Sequence[Memory], limit: float
) -> tuple[int, ...] | None:
    # the memory taken depends on the set of cores alone; in this order the first way to a set has the lowest numbers
    reached: dict[frozenset[int], tuple[int, ...]] = {frozenset(): ()}
    for need, row in zip(needs, times, strict=True):
        following: dict[frozenset[int], tuple[int, ...]] = {}
        for used, chosen in reached.items():
            for core, have in enumerate(cores):
                if core not in used and row[core] <= limit and have.holds(need):
                    following.setdefault(used | {core}, (*chosen, core))
        reached = following
    return min(
        reached.values(), key=lambda chosen: (sum(_bits(cores[core]) for core in chosen), chosen), default=None
    )


def _bits(memory: Memory) -> int:
    return memory.kernel * KERNEL_BITS + memory.neuron * NEURON_BITS + memory.bias * BIAS_BITS


def check_placement(
    network: Network, placement: Mapping[str, int], *, cores: Sequence[Memory] = CORES
) -> list[Issue]:
    """Every way in which an assignment of spiking layers to core numbers is not legal; empty where it is.

    It uses no part of the search: it walks the network itself, and counts address bits. A kernel's address is
    ``[position | output | input]``, a neuron's ``[y | x | channel]``, so a memory of 2^n words holds addresses of n
    bits. Where a memory is no power of two it is stricter than the search.

    Args:
        network: the network that was placed.
        placement: core number by spiking layer, such as ``Placement.cores`` or sinabs' ``layer2core``.
        cores: memory of each core.
    """
    layers = {layer.name: layer for layer in network}
    spiking = network.neurons
    owner: dict[int, str] = {}
    issues = [
        Issue(RULE, name, "a core", "spiking layers of the network", "leave it out")
        for name in sorted(placement.keys() - {layer.name for layer in spiking})
    ]
    for layer in spiking:
        if layer.name not in placement:
            issues.append(Issue(RULE, layer.name, "no core", "one core", "give it one"))
            continue
        core = placement[layer.name]
        if core not in range(len(cores)):
            issues.append(Issue(RULE, layer.name, f"core {core}", f"0 to {len(cores) - 1}", "use one that exists"))
            continue
        if core in owner:
            issues.append(
                Issue(RULE, layer.name, f"core {core}, taken by {owner[core]}", "one layer", "use another core")
            )
        owner.setdefault(core, layer.name)
        source = layers.get(layer.inputs[0])
        if not isinstance(source, WeightLayer):
            issues.append(Issue(RULE, layer.name, "no weights before it", "conv or dense", "put a layer before it"))
            continue
        for what, need, have in _addresses(network, source, layer, cores[core]):
            if need > have:
                issues.append(Issue(RULE, layer.name, f"{what} {need}", f"{have} on core {core}", "use another core"))
    return issues


def _addresses(
    network: Network, source: WeightLayer, spiking: SpikingLayer, core: Memory
) -> list[tuple[str, int, int]]:
    """What, needed, there: address bits of kernel and neurons, words of biases."""
    op, (channels, height, width) = source.op, network.shapes[source.inputs[0]]
    positions = op.weight.shape[2] * op.weight.shape[3] if isinstance(op, Conv2d) else height * width
    features, *sides = network.shapes[spiking.name]

    def width_of(*counts: int) -> int:
        return sum(next(bits for bits in range(64) if 1 << bits >= count) for count in counts)

    return [
        ("kernel address bits", width_of(positions, features, channels), core.kernel.bit_length() - 1),
        ("neuron address bits", width_of(features, *sides), core.neuron.bit_length() - 1),
        ("biases", features if op.bias is not None else 0, core.bias),
    ]
