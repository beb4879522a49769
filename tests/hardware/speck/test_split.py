# SPDX-License-Identifier: Apache-2.0
"""Wide layers on two cores: as few as trying every split would find, the same spikes, and no limit broken."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise, permutations, product
from typing import Any

import numpy as np
import pytest

from spikefold.errors import UnsupportedError
from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Neuron
from spikefold.export.ops import Concat, Conv2d, Dense, SumPool2d
from spikefold.export.passes.split_channels import split_channels
from spikefold.hardware.simulators import reference
from spikefold.hardware.speck import chip as speck
from spikefold.hardware.speck import rules
from spikefold.hardware.speck.cores import CORES, Destination, Memory, core_layers, memory_needed
from spikefold.hardware.speck.placement import check_placement, place
from spikefold.hardware.speck.resources import resources
from spikefold.hardware.speck.split import split_to_fit, splits
from spikefold.hardware.speck.split_plan import demands, usable

FIRE = Neuron(np.array(3), v_min=-20)
Ops = list[Any]


def _net(ops: Ops, shape: tuple[int, int, int], steps: int = 5) -> Network:
    return Network(InputSpec(shape, 1000, steps), tuple(Layer(f"l{i}", op) for i, op in enumerate(ops)), 1)


def _conv(f: int, c: int, k: int = 1, bias: bool = False, **options: Any) -> Conv2d:
    rng = np.random.default_rng([f, c, k])
    return Conv2d(rng.integers(-3, 5, (f, c, k, k)), rng.integers(-1, 2, f) if bias else None, **options)


def _chain(*features: int, side: int, k: int = 1) -> Network:
    padding = (k // 2, k // 2)
    ops = [op for c, f in pairwise(features) for op in (_conv(f, c, k, padding=padding), FIRE)]
    return _net(ops, (features[0], side, side))


def _unfit(network: Network) -> list[str]:
    """The rules that a network breaks as it stands, with no leave to split: the definition, spelt out."""
    issues = [issue for check in rules.NETWORK_RULES[:3] for issue in check(network)]
    issues += [i for core in core_layers(network) for check in rules.CORE_RULES for i in check(core, True)]
    return [issue.rule for issue in issues]


# --- every split by hand --------------------------------------------------------------------------


def _problem(seed: int) -> tuple[Network, list[Memory]]:
    """Two or three layers with few channels, some with a branch beside them, and four to six small cores."""
    rng = np.random.default_rng(seed)
    features = [int(rng.integers(1, 4)), *rng.integers(3, 8, rng.integers(1, 3)).tolist(), int(rng.integers(1, 3))]
    side = int(rng.integers(2, 5))
    layers: list[Layer] = []
    for number, (c, f) in enumerate(pairwise(features)):
        reads = f"n{number - 1}" if number else "input"
        layers += [Layer(f"c{number}", _conv(f, c, 1, rng.random() < 0.5), (reads,)), Layer(f"n{number}", FIRE)]
    if rng.random() < 0.4:  # a second reader of the input or of an inner layer
        at = int(rng.integers(len(features) - 1))
        source = f"n{at - 1}" if at else "input"
        branch = [Layer("b", _conv(int(rng.integers(1, 5)), features[at]), (source,)), Layer("nb", FIRE)]
        layers = [*layers[: 2 * at], *branch, *layers[2 * at :]]
    sizes = rng.integers([4, 4], [7, 7], (int(rng.integers(4, 7)), 2)).tolist()
    return (
        Network(InputSpec((features[0], side, side), 1000, 5), tuple(layers), 1),
        [Memory(2**kernel, 2**neuron, 9) for kernel, neuron in sizes],
    )


def _choices(network: Network) -> Iterator[dict[str, tuple[int, ...]]]:
    """Every way to leave each layer whole or to cut it in two that keeps two destinations for every source."""
    ways = []
    for core in core_layers(network):
        features = core.neuron_shape[0]
        parts: list[tuple[int, ...]] = [(features,)]
        if core.neuron_name != network.layers[-1].name:
            parts += [(first, features - first) for first in range(1, features)]
        ways.append([(core.name, part) for part in parts])
    for chosen in product(*ways):
        parts_of = dict(chosen)
        sources = {name for core in parts_of for name in network[core].inputs}
        sent = {s: sum(len(parts_of[layer.name]) for layer in network.consumers(s)) for s in sources}
        if all(count <= 2 for count in sent.values()):
            yield parts_of


def _placeable(network: Network, parts: dict[str, tuple[int, ...]], cores: list[Memory]) -> bool:
    needs = [
        memory_needed((part, *core.weight.shape[1:]), core.neuron_shape[1:], core.bias is not None)
        for core in core_layers(network)
        for part in parts[core.name]
    ]
    return len(needs) <= len(cores) and any(
        all(core.holds(need) for core, need in zip(order, needs, strict=True))
        for order in permutations(cores, len(needs))
    )


def _cost(parts: dict[str, tuple[int, ...]]) -> tuple[int, int]:
    return sum(len(part) - 1 for part in parts.values()), sum(max(part) - min(part) for part in parts.values())


def test_the_split_is_the_cheapest_of_all() -> None:
    whole = none = branched = 0
    split = [0, 0, 0]
    for seed in range(400):
        network, cores = _problem(seed)
        possible = [_cost(parts) for parts in _choices(network) if _placeable(network, parts, cores)]
        fitted, divided = split_to_fit(network, cores), splits(network, cores)
        if not possible:
            none += 1
            assert fitted is network
            with pytest.raises(UnsupportedError):
                place(network, cores=cores)
            continue
        assert _cost(divided) == min(possible), seed
        assert _unfit(fitted) == []
        assert check_placement(fitted, place(fitted, cores=cores).cores, cores=cores) == []
        assert (fitted is network) == (divided == {})
        whole += not divided
        split[len(divided)] += 1
        branched += bool(divided) and any(layer.name == "b" for layer in network)
    assert (min(whole, none) > 100, split[1] > 50, split[2] > 3, branched > 5) == (True,) * 4, (whole, none, split)


# --- networks that only a split makes fit ---------------------------------------------------------


def _random_wide(seed: int) -> Network:
    """A chain of which one to three layers are too wide for what the others leave, small enough to be run."""
    rng = np.random.default_rng(seed)
    side = int(rng.choice([16, 32]))
    counts = {16: (40, 200), 32: (12, 60)}[side]
    ops: Ops = []
    channels = 1
    for number in range(int(rng.integers(3, 8))):
        k, f = (3 if rng.random() < 0.4 else 1), int(rng.integers(*counts))
        ops += [_conv(f, channels, k, number == 0, padding=(k // 2, k // 2)), FIRE]
        channels = f
    ops += [SumPool2d((4, 4)), _conv(3, channels), FIRE]
    return _net(ops, (1, side, side), 2)


def test_random_networks_fit_by_splitting_and_spike_alike() -> None:
    needed = compared = spikes = refused = 0
    for seed in range(80):
        network = _random_wide(seed)
        divided = splits(network)
        if not divided:
            refused += bool(speck.violations(network))
            continue
        needed += 1
        with pytest.raises(UnsupportedError, match="split by output channels"):
            place(network)
        assert speck.violations(network) == []
        fitted = split_to_fit(network)
        assert _unfit(fitted) == []
        assert splits(fitted) == {}
        assert check_placement(fitted, place(fitted).cores) == []
        if network.shapes["l0"][1] == 16 and compared < 200_000:
            frames = np.random.default_rng(seed).poisson(0.3, (2, 1, *network.input.shape))
            whole, apart = reference.run(network, frames).layers, reference.run(fitted, frames).layers
            for layer in network.neurons:
                names = [name for name in (f"{layer.name}.0", f"{layer.name}.1") if name in apart] or [layer.name]
                joined = np.concatenate([apart[name].raster for name in names], axis=2)
                assert np.array_equal(whole[layer.name].raster, joined), layer.name
                compared, spikes = compared + joined.size, spikes + whole[layer.name].spikes
    assert needed > 20
    assert refused > 2
    assert compared > 200_000
    assert spikes > 10_000


def test_violations_are_those_of_the_network_that_would_be_placed() -> None:
    fits = 0
    for seed in range(80, 120):
        network = _random_wide(seed)
        fitted = split_to_fit(network)
        found = speck.violations(network)
        kept = _unfit(fitted) == [] and rules.placement(fitted) == []
        assert kept == (found == []) == (speck.violations(fitted) == [])
        names = [core.name for core in core_layers(network)]
        for issue in found:
            assert set(issue.where.split(", ")) <= set(names)
        fits += found == []
    assert 10 < fits < 40


# --- by hand --------------------------------------------------------------------------------------


def test_a_split_layer_sends_to_its_reader_side_by_side() -> None:
    network = _chain(1, 24, 4, side=64)  # 24 times 4 Ki neurons, 16 fit one core
    fitted = split_to_fit(network)
    assert splits(network) == {"l0": (12, 12)}
    assert [layer.name for layer in fitted] == ["l0.0", "l1.0", "l0.1", "l1.1", "l1", "l2", "l3"]
    assert [(core.name, core.destinations) for core in core_layers(fitted)] == [
        ("l0.0", (Destination("l2", (1, 1), 0),)),
        ("l0.1", (Destination("l2", (1, 1), 12),)),
        ("l2", ()),
    ]
    assert place(fitted).cores == {"l1.0": 0, "l1.1": 1, "l3": 7}


def test_two_consecutive_layers_in_two_parts_each() -> None:
    # of 20 * 4 Ki neurons, three cores hold 16 * 4 Ki and two 8 * 4 Ki
    assert splits(_chain(1, 20, 20, 1, side=64)) == {"l0": (8, 12), "l2": (10, 10)}
    assert splits(_chain(1, 20, 20, 20, 1, side=64)) == {"l0": (4, 16), "l2": (8, 12), "l4": (8, 12)}
    assert splits(_chain(1, 20, 20, 20, 20, 1, side=64)) == {}
    network = _chain(1, 32, 32, 1, side=32, k=3)
    assert splits(network) == {}
    big = [Memory(2**13, 2**14, 64)] * 5
    assert splits(network, big) == {"l0": (16, 16), "l2": (16, 16)}
    fitted = split_to_fit(network, big)
    sent = {core.name: [to.layer for to in core.destinations] for core in core_layers(fitted)}
    assert sent == {"l0.0": ["l2.0", "l2.1"], "l0.1": ["l2.0", "l2.1"], "l2.0": ["l4"], "l2.1": ["l4"], "l4": []}
    assert check_placement(fitted, place(fitted, cores=big).cores, cores=big) == []


def test_a_layer_with_a_sister_stays_whole() -> None:
    def network(second: bool) -> Network:
        layers = [Layer("a", _conv(24, 1)), Layer("na", FIRE)]
        if second:
            layers += [Layer("b", _conv(24, 1), ("input",)), Layer("nb", FIRE)]
        return Network(
            InputSpec((1, 64, 64), 1000, 1),
            (*layers, Layer("c", _conv(1, 24), ("na", "nb") if second else ("na",)), Layer("nc", FIRE)),
            1,
        )

    assert splits(network(False)) == {"a": (12, 12)}
    assert splits(network(True)) == {}
    assert [issue.where for issue in speck.violations(network(True))] == ["a", "b"]
    assert all("nor do two" not in issue.limit for issue in speck.violations(network(True)))


def test_the_last_layer_stays_whole_and_parts_are_not_split_again() -> None:
    assert splits(_chain(1, 24, side=64)) == {}
    again = split_channels(_chain(1, 72, 1, side=64), "l0", 2)
    assert split_to_fit(again) is again
    assert {issue.where for issue in speck.violations(again)} == {"l0.0", "l0.1"}


def test_unequal_parts_only_where_the_cores_ask_for_them() -> None:
    cores = [Memory(2**10, 2**10, 99), Memory(2**10, 2**8, 99), Memory(2**10, 2**4, 99)]
    network = _chain(1, 18, 1, side=8)  # 18 * 64 neurons: 16 and 4 fit
    assert splits(network, [*cores[:2], Memory(2**10, 2**6, 99)]) == {"l0": (4, 14)}
    assert splits(network, [cores[0], cores[0], Memory(2**10, 2**6, 99)]) == {"l0": (9, 9)}
    assert splits(network, cores) == {}


def test_what_cannot_be_placed_at_all_is_returned_unchanged() -> None:
    for network in (
        _net([_conv(24, 1), FIRE, SumPool2d((2, 2)), _conv(1, 24), _conv(1, 1), FIRE], (1, 64, 64)),
        _net([_conv(24, 1), FIRE, Conv2d(np.ones((2, 12, 1, 1), np.int64), groups=2), FIRE], (1, 64, 64)),
        _chain(1, 200, 1, side=64),
        _chain(1, 2, 2, side=8),
    ):
        assert split_to_fit(network) is network


def test_a_real_network_and_dense_layers_are_split_too() -> None:
    rng = np.random.default_rng(0)
    one = Neuron(np.array(1.0))
    # 128 kernel positions and inputs: 16 * 64 words an output, so 64 outputs fit a core and 100 do not
    network = _net([Conv2d(rng.normal(0.3, 0.3, (16, 1, 1, 1))), one, Dense(rng.normal(0.05, 0.2, (100, 1024))), one,
                    Dense(rng.normal(0.1, 0.2, (10, 100))), one], (1, 8, 8))  # fmt: skip
    assert splits(network) == {"l2": (50, 50)}
    fitted = split_to_fit(network)
    frames = rng.poisson(0.8, (5, 2, 1, 8, 8))
    whole, apart = reference.run(network, frames).layers["l5"], reference.run(fitted, frames).layers["l5"]
    assert np.array_equal(whole.raster, apart.raster)
    assert whole.spikes > 10


def test_resources_count_both_cores_of_a_split_layer() -> None:
    network = _net([_conv(24, 1), FIRE, _conv(4, 24), FIRE], (1, 64, 64))
    found = resources(network)
    assert [(use.layer, use.cores, use.limited_by) for use in found.layers] == [
        ("l0", 2, "neuron"),
        ("l2", 1, "neuron"),
    ]
    assert found.layers[0].memory == {"kernel": (16, 16384), "neuron": (12 * 4096, 65536), "bias": (0, 1024)}
    assert found.cores == 3
    assert found.placement == place(split_to_fit(network)).cores
    unequal = _chain(1, 20, 20, 1, side=64)
    taken = {use.layer: use for use in resources(unequal).layers}
    assert splits(unequal)["l0"] == (8, 12)
    assert taken["l0"].memory["neuron"] == (8 * 4096, 32768)  # full, where 12 fill three quarters of the other
    assert taken["l2"].memory["neuron"] == (10 * 4096, 65536)


def test_the_cores_that_could_take_a_part_are_those_there_are() -> None:
    small, large = Memory(2**10, 2**9, 99), Memory(2**10, 2**10, 99)
    (one, _) = demands(_chain(1, 16, 1, side=8))
    assert one.memory.neuron == 2**10
    assert usable(one, [small, small]) == {small}
    assert usable(one, [small]) == set()
    assert usable(one, [small, large]) == {small, large}


def test_a_concat_of_parts_keeps_its_feature_limit() -> None:
    # two parts of 512 make the 1024 features that a reader may have
    network = _chain(64, 1024, 1, side=2)
    assert speck.violations(network) == []
    assert isinstance(split_channels(network, "l0", 2)["l1"].op, Concat)
    assert speck.violations(split_channels(network, "l0", 2)) == []
    (found,) = [i for i in speck.violations(split_channels(_chain(8, 1025, 1, side=2), "l0", 2)) if i.where == "l2"]
    assert (found.got, found.limit) == ("1025 in", "1024")
    assert len(CORES) == 9
