# SPDX-License-Identifier: Apache-2.0
"""Placement: which of Speck's cores computes which layer. An exact search, and a checker that shares nothing with it.

Every layer needs a core of its own whose kernel, neuron and bias memories all hold it (`speck_cores`). `place` finds
such an assignment whenever one exists:

1. Augmenting paths (Kuhn's maximum bipartite matching) decide whether there is one. Where a layer cannot be added,
   the layers reached from it are a Hall set: k + 1 layers that only k cores could take. None in it is superfluous:
   leave out any of them, and the others have places. The error names it.
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
from spikefold.export.network import Layer, Network
from spikefold.export.neuron import Neuron
from spikefold.export.ops import Conv2d, Dense
from spikefold.hardware.speck import memory as memory_rule
from spikefold.hardware.speck import operations, plain_convolution
from spikefold.hardware.speck_cores import CORES, CoreLayer, Memory, core_layers, memory_needed

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
        network: real or integer; weight layers, their spiking layers and sum pools.
        loads: synaptic operations by spiking layer, per clip or second as you like; 0 where a layer is missing.
        cores: memory of each core.
        speeds: relative speed of each core, all alike by default.

    Raises:
        UnsupportedError: a layer makes no core; or no legal placement exists: then with the layers that compete,
            the cores that could take them, and the smallest change that gives them places.
        ConfigError: a load of an unknown layer, a load below 0, or not one speed above 0 for each core.
    """
    loads, speeds = dict(loads or {}), list(speeds or [1.0] * len(cores))
    layers = core_layers(network)
    _check_numbers(loads, speeds, [layer.neuron_name for layer in layers], len(cores))
    issues = operations(network) + [issue for layer in layers for issue in plain_convolution(layer, False)]
    if issues:
        raise UnsupportedError("layers that make no core cannot be placed", where="placement", issues=issues)
    needs = [layer.memory for layer in layers]
    if competing := _hall_set(needs, cores):
        raise UnsupportedError(
            "no placement on the cores exists", where="placement", issues=[_competition(layers, competing, cores)]
        )
    times = [[loads.get(layer.neuron_name, 0.0) / speed for speed in speeds] for layer in layers]
    chosen = _best(needs, times, cores)
    names = [layer.neuron_name for layer in layers]
    return Placement(
        dict(zip(names, chosen, strict=True)),
        sum(_bits(cores[core]) - _bits(need) for core, need in zip(chosen, needs, strict=True)),
        max((row[core] for row, core in zip(times, chosen, strict=True)), default=0.0),
    )


def _check_numbers(loads: Mapping[str, float], speeds: Sequence[float], names: Sequence[str], count: int) -> None:
    for name, load in loads.items():
        if name not in names:
            raise ConfigError(f"load of an unknown layer {name!r}", where="loads", hint=nearest(name, names))
        if not isfinite(load) or load < 0:
            raise ConfigError(f"{name}: a load of {load}", where="loads", hint="count synaptic operations, 0 or more")
    if len(speeds) != count or not all(isfinite(speed) and speed > 0 for speed in speeds):
        raise ConfigError(f"speeds {speeds}", where="speeds", hint=f"give {count} numbers above 0, one for each core")


def _hall_set(needs: Sequence[Memory], cores: Sequence[Memory]) -> list[int]:
    """Layers (by index) that have one core fewer than they are, no layer too many; empty where all find a place."""
    fitting = [[core for core, have in enumerate(cores) if have.holds(need)] for need in needs]
    taken: dict[int, int] = {}

    def augment(layer: int, seen: set[int]) -> bool:
        for core in fitting[layer]:
            if core not in seen:
                seen.add(core)
                if core not in taken or augment(taken[core], seen):
                    taken[core] = layer
                    return True
        return False

    # a layer that fits no core at all is a set of one
    for layer in sorted(range(len(needs)), key=lambda index: len(fitting[index])):
        seen: set[int] = set()
        if not augment(layer, seen):
            return sorted({layer} | {taken[core] for core in seen})
    return []


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


def _competition(layers: Sequence[CoreLayer], competing: Sequence[int], cores: Sequence[Memory]) -> Issue:
    members = [layers[index] for index in competing]
    able = [core for core, have in enumerate(cores) if any(have.holds(layer.memory) for layer in members)]
    used = f"{len(members)} layers: " if len(members) > 1 else ""
    used += "; ".join(f"{layer.name} needs {layer.memory}" for layer in members)
    allowed = "; ".join(f"core {core} has {cores[core]}" for core in able)
    limit = f"{len(able)} that could take them: {allowed}" if able else "no core holds it"
    hint = _smallest_change(members, cores) or _fallback(members, cores)
    return Issue(RULE, ", ".join(layer.name for layer in members), used, limit, hint)


def _smallest_change(members: Sequence[CoreLayer], cores: Sequence[Memory]) -> str:
    """The fewest output channels, relative to what there were, to take from one layer that gives all a place."""
    found: list[tuple[float, int, int, CoreLayer]] = []
    for position, layer in enumerate(members):
        count = layer.weight.shape[0]
        low, high = 0, count - 1  # the most channels with which all have a place; fewer never hurt
        while low < high and layer.destinations:  # the channels of the last layer are the classes
            middle = (low + high + 1) // 2
            low, high = (low, middle - 1) if _hall_set(_narrowed(members, layer, middle), cores) else (middle, high)
        if low:
            found.append((1 - low / count, position, low, layer))
    if not found:
        return ""
    _, _, most, layer = min(found, key=lambda item: item[:2])
    return f"{most} instead of {layer.weight.shape[0]} output channels of {layer.name} would give all of them a place"


def _narrowed(members: Sequence[CoreLayer], layer: CoreLayer, channels: int) -> list[Memory]:
    """Needs with fewer output channels of one layer; its readers' kernels shrink with it."""
    readers, needs = [name for name, _ in layer.destinations], []
    for member in members:
        f, c, *kernel = member.weight.shape
        shape = (channels if member is layer else f, channels if member.name in readers else c, *kernel)
        needs.append(memory_needed(shape, member.neuron_shape[1:], member.bias is not None))
    return needs


def _fallback(members: Sequence[CoreLayer], cores: Sequence[Memory]) -> str:
    if len(members) > len(cores):
        return f"leave out {len(members) - len(cores)} layers"
    if len(members) == 1 and tuple(cores) == CORES and (issues := memory_rule(members[0], True)):
        return issues[0].hint
    return f"stride or pool before {members[0].name}"


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
    spiking = [layer for layer in network if isinstance(layer.op, Neuron)]
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
        if source is None or not isinstance(source.op, Conv2d | Dense):
            issues.append(Issue(RULE, layer.name, "no weights before it", "conv or dense", "put a layer before it"))
            continue
        for what, need, have in _addresses(network, source, layer, cores[core]):
            if need > have:
                issues.append(Issue(RULE, layer.name, f"{what} {need}", f"{have} on core {core}", "use another core"))
    return issues


def _addresses(network: Network, source: Layer, spiking: Layer, core: Memory) -> list[tuple[str, int, int]]:
    """What, needed, there: address bits of kernel and neurons, words of biases."""
    op, (channels, height, width) = source.op, network.shapes[source.inputs[0]]
    if not isinstance(op, Conv2d | Dense):
        raise TypeError(f"{source.name} has no weights")
    positions = op.weight.shape[2] * op.weight.shape[3] if isinstance(op, Conv2d) else height * width
    features, *sides = network.shapes[spiking.name]

    def width_of(*counts: int) -> int:
        return sum(next(bits for bits in range(64) if 1 << bits >= count) for count in counts)

    return [
        ("kernel address bits", width_of(positions, features, channels), core.kernel.bit_length() - 1),
        ("neuron address bits", width_of(features, *sides), core.neuron.bit_length() - 1),
        ("biases", features if op.bias is not None else 0, core.bias),
    ]
