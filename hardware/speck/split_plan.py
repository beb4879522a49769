# SPDX-License-Identifier: Apache-2.0
"""Decides which layers to split over two cores so that all find a place: an exact search that looks at shapes alone.

A layer with f output channels stands on one core, or in two parts on two (`split_channels`). It has no more than two,
for each part is a destination of the layer's sources, and a core has two: so a layer can be split where it is the
only reader of every source. The last layer stays whole, for the classes are read from it. The readers of the parts
see all channels as before, so a split changes no other layer's need, and layers meet in one question only: which
cores are left.

`plan` answers it with a table over the cores left of each kind (Speck has 3, 2, 2 and 2 of four kinds, so 108
entries), layer by layer. In it a layer takes a core that holds it, or two that hold m and n of its f channels with
m + n >= f; the parts are then as equal as m and n allow. Of all plans the table keeps the one with fewest splits,
then with the most equal parts, then the one that splits the earliest layers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from spikefold.export.network import Network
from spikefold.hardware.speck.cores import CORES, Memory, layout, memory_needed, most_features

Parts = tuple[int, ...]
"""Output channels of each part of a layer; one number where it is whole."""


@dataclass(frozen=True)
class Demand:
    """What decides where a layer can stand.

    Attributes:
        name: the weight layer.
        weight: shape ``(f, c, kH, kW)``.
        neuron_map: ``(fH, fW)``.
        bias: whether it has one.
        readers: the weight layers behind it, none for the last.
        splits: whether two cores may share it.
    """

    name: str
    weight: tuple[int, ...]
    neuron_map: tuple[int, ...]
    bias: bool
    readers: tuple[str, ...]
    splits: bool

    @property
    def memory(self) -> Memory:
        """Words that the whole layer needs."""
        return memory_needed(self.weight, self.neuron_map, self.bias)

    def most(self, core: Memory) -> int:
        """How many of its output channels a core holds."""
        features, channels, *kernel = self.weight
        return min(features, most_features(channels, prod(kernel), self.neuron_map, self.bias, core))


def demands(network: Network) -> tuple[Demand, ...]:
    """What each core of the network's `layout` asks for."""
    found = layout(network)
    sent = [found.from_input, *(layer.destinations for layer in found.cores)]
    shared = {to.layer for readers in sent if len(readers) > 1 for to in readers}
    last = network.layers[-1].name
    return tuple(
        Demand(
            layer.name,
            layer.weight.shape,
            layer.neuron_shape[1:],
            layer.bias is not None,
            tuple(to.layer for to in layer.destinations),
            layer.neuron_name != last and layer.name not in shared,
        )
        for layer in found.cores
    )


def whole(wanted: Sequence[Demand]) -> tuple[Demand, ...]:
    """The same without leave to split."""
    return tuple(replace(one, splits=False) for one in wanted)


def plan(wanted: Sequence[Demand], cores: Sequence[Memory] = CORES) -> tuple[Parts, ...] | None:
    """The channels of each layer's parts, or None where the cores cannot take them all."""
    found = _search(whole(wanted), cores)  # the usual case, and far fewer ways
    return _search(wanted, cores) if found is None and any(one.splits for one in wanted) else found


def _search(wanted: Sequence[Demand], cores: Sequence[Memory]) -> tuple[Parts, ...] | None:
    kinds = Counter(cores)
    # cores left of each kind: splits so far, how unequal their parts are, the parts
    reached: dict[Parts, tuple[int, int, tuple[Parts, ...]]] = {tuple(kinds.values()): (0, 0, ())}
    for one in wanted:
        ways = _ways(one, tuple(kinds))
        following: dict[Parts, tuple[int, int, tuple[Parts, ...]]] = {}
        for left, (splits, unequal, parts) in reached.items():
            for taken, sizes in ways:
                after = list(left)
                for kind in taken:
                    after[kind] -= 1
                if min(after) < 0:
                    continue
                state = tuple(after)
                made = (splits + len(sizes) - 1, unequal + max(sizes) - min(sizes), (*parts, sizes))
                if state not in following or made < following[state]:
                    following[state] = made
        reached = following
    return min(reached.values())[2] if reached else None


def _ways(one: Demand, kinds: Sequence[Memory]) -> list[tuple[tuple[int, ...], Parts]]:
    """Every way to hold a layer: the kinds of core it takes, by number, and the channels on each."""
    features, most = one.weight[0], [one.most(kind) for kind in kinds]
    ways: list[tuple[tuple[int, ...], Parts]] = [
        ((kind,), (features,)) for kind, count in enumerate(most) if count == features
    ]
    if one.splits and features > 1:
        for first, m in enumerate(most):
            for second, n in enumerate(most):
                if min(m, n) > 0 and m + n >= features:
                    size = min(max(features // 2, features - n), m)
                    ways.append(((first, second), (size, features - size)))
    return ways


def usable(one: Demand, cores: Sequence[Memory]) -> set[Memory]:
    """The kinds of core that could take the layer, or a part of it together with another core."""
    kinds = Counter(cores)
    ways = [[list(kinds)[kind] for kind in taken] for taken, _ in _ways(one, tuple(kinds))]
    return {kind for taken in ways for kind in taken if not Counter(taken) - kinds}


def shortage(wanted: Sequence[Demand], cores: Sequence[Memory] = CORES) -> tuple[Demand, ...]:
    """Layers that cannot all find a place though any of them less could; empty where there is a plan."""
    if plan(wanted, cores) is not None:
        return ()
    members = list(wanted)
    for one in wanted:
        others = [member for member in members if member is not one]
        if plan(others, cores) is None:
            members = others
    return tuple(members)


def most_channels(members: Sequence[Demand], one: Demand, cores: Sequence[Memory] = CORES) -> int:
    """The most output channels of one layer with which all have a place; 0 if its channels cannot help."""
    low, high = 0, one.weight[0]  # fewer never hurt
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (low, middle - 1) if plan(_narrowed(members, one, middle), cores) is None else (middle, high)
    return low


def _narrowed(members: Sequence[Demand], one: Demand, features: int) -> list[Demand]:
    """The layers with fewer output channels of one; the kernels of its readers shrink with it."""
    found = []
    for member in members:
        f, c, *kernel = member.weight
        c -= one.weight[0] - features if member.name in one.readers else 0
        found.append(replace(member, weight=(features if member is one else f, c, *kernel)))
    return found
