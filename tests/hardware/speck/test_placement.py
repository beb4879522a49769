# SPDX-License-Identifier: Apache-2.0
"""Placement on Speck's cores: as good as trying every permutation, checked by other code, refused with the reason."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise, permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikefold.errors import ConfigError, UnsupportedError
from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Neuron
from spikefold.export.ops import Conv2d, Dense, SumPool2d
from spikefold.hardware.speck.cores import CORES, Memory, core_layers
from spikefold.hardware.speck.lowering.sinabs import convert
from spikefold.hardware.speck.placement import RULE, check_placement, place

FIRE = Neuron(np.array(1.0))
Ops = list[Any]


def _net(ops: Ops, shape: tuple[int, int, int]) -> Network:
    return Network(InputSpec(shape, 1000, 1), tuple(Layer(f"l{i}", op) for i, op in enumerate(ops)), 1)


def _conv(f: int, c: int, k: int = 1, bias: bool = False, **options: Any) -> Conv2d:
    weight = np.random.default_rng([f, c, k]).normal(0.1, 0.2, (f, c, k, k))
    return Conv2d(weight, np.full(f, 0.1) if bias else None, **options)


def _chain(*features: int, side: int, k: int = 1) -> Network:
    """``features[0]`` inputs, then one layer for each further number, on maps of one size."""
    return _net(
        [op for c, f in pairwise(features) for op in (_conv(f, c, k, padding=(k // 2,) * 2), FIRE)],
        (features[0], side, side),
    )


def _bits(memory: Memory) -> int:
    return 8 * memory.kernel + 16 * (memory.neuron + memory.bias)


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """One to five layers on small maps, some pooled, the last one dense at times."""
    count, channels = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    side = draw(st.integers(4, 9))
    shape, ops = (channels, side, side), list[Any]()
    for _ in range(count):
        features, k = draw(st.integers(1, 9)), draw(st.sampled_from([1, 3]))
        ops += [_conv(features, channels, k, draw(st.booleans()), padding=(k // 2, k // 2)), FIRE]
        channels = features
        if side >= 4 and draw(st.booleans()):
            ops, side = [*ops, SumPool2d((2, 2))], side // 2
    if isinstance(ops[-1], SumPool2d):
        ops, side = ops[:-1], 2 * side + 1
        side = _net(ops, shape).shapes[f"l{len(ops) - 1}"][1]
    if draw(st.booleans()) and count < 5:
        ops += [Dense(np.ones((draw(st.integers(1, 6)), channels * side * side))), FIRE]
    return _net(ops, shape)


@st.composite
def core_tables(draw: st.DrawFn) -> tuple[Memory, ...]:
    """Up to six small cores, so that about as many networks fit as do not."""
    size = st.builds(
        Memory, st.integers(6, 12).map((2).__pow__), st.integers(8, 12).map((2).__pow__), st.sampled_from([6, 9, 9])
    )
    return tuple(draw(st.lists(size, min_size=2, max_size=6)))


def _legal(network: Network, cores: tuple[Memory, ...], chosen: tuple[int, ...]) -> bool:
    layers = core_layers(network)
    return len(set(chosen)) == len(chosen) == len(layers) and all(
        cores[core].holds(layer.memory) for core, layer in zip(chosen, layers, strict=True)
    )


def _every_legal(network: Network, cores: tuple[Memory, ...]) -> list[tuple[int, ...]]:
    orders = permutations(range(len(cores)), len(core_layers(network)))
    return [chosen for chosen in orders if _legal(network, cores, chosen)]


@given(networks(), core_tables(), st.data())
def test_found_if_and_only_if_some_permutation_is_legal_and_then_the_best(
    network: Network, cores: tuple[Memory, ...], data: st.DataObject
) -> None:
    layers = core_layers(network)
    loads = {layer.neuron_name: data.draw(st.integers(0, 20)) for layer in layers}
    speeds = [data.draw(st.sampled_from([1, 2, 4])) for _ in cores]
    legal = _every_legal(network, cores)
    if not legal:
        with pytest.raises(UnsupportedError) as caught:
            place(network, loads, cores=cores, speeds=speeds)
        _is_a_hall_set(network, cores, caught.value.issues[0].where.split(", "))
        return

    def score(chosen: tuple[int, ...]) -> tuple[float, int, tuple[int, ...]]:
        peak = max(loads[layer.neuron_name] / speeds[core] for layer, core in zip(layers, chosen, strict=True))
        return peak, sum(_bits(cores[core]) for core in chosen), chosen

    best = min(map(score, legal))
    found = place(network, loads, cores=cores, speeds=speeds)
    assert (found.peak, tuple(found.cores.values())) == (best[0], best[2])
    assert found.unused_bits == best[1] - sum(_bits(layer.memory) for layer in layers)
    assert list(found.cores) == [layer.neuron_name for layer in layers]
    assert check_placement(network, found.cores, cores=cores) == []


def _is_a_hall_set(network: Network, cores: tuple[Memory, ...], names: list[str]) -> None:
    """More layers than cores that could take them, and none of the layers superfluous."""
    needs = [layer.memory for layer in core_layers(network) if layer.name in names]
    assert len(needs) == len(names)
    assert sum(any(core.holds(need) for need in needs) for core in cores) == len(needs) - 1
    for left_out in range(len(needs)):
        others = needs[:left_out] + needs[left_out + 1 :]
        orders = permutations(cores, len(others))
        assert any(all(map(Memory.holds, order, others)) for order in orders)


@given(networks(), core_tables(), st.data())
def test_the_checker_agrees_with_the_definition_on_any_assignment(
    network: Network, cores: tuple[Memory, ...], data: st.DataObject
) -> None:
    names = [layer.neuron_name for layer in core_layers(network)]
    for _ in range(10):
        chosen = tuple(data.draw(st.integers(0, len(cores) - 1)) for _ in names)
        issues = check_placement(network, dict(zip(names, chosen, strict=True)), cores=cores)
        assert (issues == []) == _legal(network, cores, chosen)


@given(networks(), st.data())
def test_every_mutation_is_rejected(network: Network, data: st.DataObject) -> None:
    found = dict(place(network).cores)
    assert check_placement(network, found) == []
    name = data.draw(st.sampled_from(sorted(found)))
    mutants: list[dict[str, int]] = [
        {key: core for key, core in found.items() if key != name},
        found | {name: len(CORES)},
        found | {name: -1},
        found | {"nowhere": next(core for core in range(len(CORES)) if core not in found.values())},
    ]
    mutants += [found | {name: core} for key, core in found.items() if key != name]
    for mutant in mutants:
        assert check_placement(network, mutant), mutant


def test_a_core_too_small_is_rejected_with_used_and_allowed() -> None:
    network = _chain(1, 16, side=64)  # 64 Ki neurons: cores 0 to 2
    assert place(network).cores == {"l1": 0}
    assert [check_placement(network, {"l1": core}) == [] for core in range(9)] == [True] * 3 + [False] * 6
    (issue,) = check_placement(network, {"l1": 5})
    assert (issue.rule, issue.where) == (RULE, "l1")
    assert (issue.got, issue.limit) == ("neuron address bits 16", "14 on core 5")
    (bias,) = check_placement(_net([_conv(3, 1, bias=True), FIRE], (1, 2, 2)), {"l1": 0}, cores=[Memory(64, 64, 2)])
    assert (bias.got, bias.limit) == ("biases 3", "2 on core 0")


def test_large_memories_stay_free() -> None:
    # small layers take the two cores with 16 Ki each first
    assert place(_chain(1, 2, 2, side=8)).cores == {"l1": 7, "l3": 8}
    assert place(_chain(1, 2, 2, 2, side=8)).cores == {"l1": 3, "l3": 7, "l5": 8}
    assert place(_chain(1, 2, side=2)).unused_bits == _bits(CORES[7]) - (8 * 2 + 16 * 2 * 4)


def test_loads_decide_only_where_speeds_differ() -> None:
    network = _chain(1, 2, 2, side=8)
    loads = {"l1": 10.0, "l3": 30.0}
    assert place(network, loads).cores == place(network).cores
    assert place(network, loads).peak == 30
    assert place(network).peak == 0
    fast = place(network, loads, speeds=[3, *[1] * 8])
    assert (dict(fast.cores), fast.peak) == ({"l1": 7, "l3": 0}, 10)


def test_three_layers_compete_for_two_cores() -> None:
    # 256 -> 256 with 1x1: 64 Ki words of kernel, which cores 5 and 6 alone hold; with 128 outputs it is 32 Ki
    network = _chain(256, 256, 256, 256, 4, side=2)
    with pytest.raises(UnsupportedError) as caught:
        place(network)
    (issue,) = caught.value.issues
    assert issue.where == "l0, l2, l4"
    assert issue.got.startswith("3 layers: l0 needs kernel 65536, neuron 1024, bias 0 words; l2 needs")
    assert issue.limit == "2 that could take them: core 5, 6: kernel 65536, neuron 16384, bias 1024 words"
    assert issue.hint == "128 instead of 256 output channels of l0 would give all of them a place"
    assert caught.value.exit_code == 3
    assert caught.value.hint == "split by output channels: l0 into 128 and 128 (`split_to_fit`)"
    # the change is enough, and one channel more is not
    fixed = _chain(256, 128, 256, 256, 4, side=2)
    assert check_placement(fixed, place(fixed).cores) == []
    assert place(fixed).cores["l1"] in (3, 4, 5, 6)
    with pytest.raises(UnsupportedError):
        place(_chain(256, 129, 256, 256, 4, side=2))


def test_the_classes_are_taken_away_last() -> None:
    # one output fewer would do, but it would be a class
    with pytest.raises(UnsupportedError) as caught:
        place(_chain(256, 256, 256, 129, side=2))
    assert caught.value.issues[0].where == "l0, l2, l4"
    assert caught.value.issues[0].hint.startswith("128 instead of 256 output channels of l0")
    assert len(place(_chain(256, 256, 256, 128, side=2)).cores) == 3


def test_a_layer_moves_where_another_needs_its_core() -> None:
    # l0 takes core 0 first; only when it moves to 1 have both layers with many neurons a place
    cores = [Memory(1024, 1024, 1), Memory(1024, 16, 1), Memory(16, 1024, 1)]
    network = _net(
        [_conv(8, 128, 1, stride=(8, 8)), FIRE, _conv(1, 8, padding=(8, 8)), FIRE, _conv(1, 1), FIRE], (128, 8, 8)
    )
    needs = [layer.memory for layer in core_layers(network)]
    assert [[core for core in range(3) if cores[core].holds(need)] for need in needs] == [[0, 1], [0, 2], [0, 2]]
    assert place(network, cores=cores).cores == {"l1": 1, "l3": 0, "l5": 2}


def test_fewer_channels_shrink_the_next_kernel_too() -> None:
    # l0 needs 512 * 128 words and l2 120 * 512; l0 would need 64 channels for the smaller core, l2 reads 96 of them
    cores = [Memory(65536, 65536, 1024), Memory(49152, 65536, 1024), Memory(64, 64, 64)]
    with pytest.raises(UnsupportedError) as caught:
        place(_chain(512, 120, 512, 1, side=2), cores=cores)
    (issue,) = caught.value.issues
    assert issue.where == "l0, l2"
    assert issue.hint == "96 instead of 120 output channels of l0 would give all of them a place"


def test_a_layer_that_fits_no_core_stands_alone() -> None:
    with pytest.raises(UnsupportedError) as caught:
        place(_chain(1, 17, 1, side=64))
    (issue,) = caught.value.issues
    assert (issue.where, issue.limit[:17]) == ("l0", "no core holds it:")
    assert issue.hint == "16 instead of 17 output channels of l0 would fit"
    assert caught.value.hint == "split by output channels: l0 into 8 and 9 (`split_to_fit`)"
    with pytest.raises(UnsupportedError) as caught:
        place(_chain(1, 17, side=64))  # the channels of the last layer are the classes
    assert caught.value.issues[0].hint == "16 instead of 17 output channels of l0 would fit"
    assert caught.value.hint == ""


def test_ten_layers_have_nine_cores() -> None:
    with pytest.raises(UnsupportedError) as caught:
        place(_chain(*[2] * 11, side=4))
    assert caught.value.issues[0].got.startswith("10 layers: ")
    assert caught.value.issues[0].hint == "leave out 1 layers"
    assert sorted(place(_chain(*[2] * 10, side=4)).cores.values()) == list(range(9))


def test_what_makes_no_core_is_refused_not_left_out() -> None:
    with pytest.raises(UnsupportedError, match="l1"):
        place(_net([_conv(1, 1), _conv(1, 1), FIRE], (1, 4, 4)))
    with pytest.raises(UnsupportedError, match="groups 2"):
        place(_net([_conv(2, 1, groups=2), FIRE], (2, 4, 4)))
    network = _net([_conv(1, 1), FIRE, FIRE], (1, 4, 4))
    assert [issue.got for issue in check_placement(network, {"l1": 0, "l2": 1})] == ["no weights before it"]


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"loads": {"l2": 1.0}}, "loads"),
        ({"loads": {"l1": -1.0}}, "loads"),
        ({"loads": {"l1": float("nan")}}, "loads"),
        ({"speeds": [1.0]}, "speeds"),
        ({"speeds": [0.0] * 9}, "speeds"),
    ],
)
def test_wrong_numbers_are_named(options: dict[str, Any], where: str) -> None:
    with pytest.raises(ConfigError) as caught:
        place(_chain(1, 2, side=4), **options)
    assert caught.value.where == where


@pytest.mark.parametrize(
    "network",
    [
        _chain(2, 4, 4, 4, side=8, k=3),
        _chain(*[2] * 10, side=8, k=3),
        # one layer for each kind of core: 64 Ki neurons, 32 Ki and 32 Ki, 64 Ki kernel, small
        _net(
            [_conv(16, 2, 3, padding=(1, 1)), FIRE, _conv(32, 16, 3, padding=(1, 1), stride=(2, 2)), FIRE,
             SumPool2d((4, 4)), _conv(128, 32, 3, padding=(1, 1)), FIRE, SumPool2d((4, 4)),
             Dense(np.full((10, 512), 0.05)), FIRE],
            (2, 64, 64),
        ),
    ],
)  # fmt: skip
def test_sinabs_placement_and_ours_are_both_legal(network: Network) -> None:
    theirs, ours = convert(network).layer2core, place(network)
    assert check_placement(network, theirs) == []
    assert check_placement(network, ours.cores) == []
    assert list(theirs) == list(ours.cores)
    # ours leaves no more unused in the cores it takes
    assert sum(_bits(CORES[core]) for core in ours.cores.values()) <= sum(
        _bits(CORES[core]) for core in theirs.values()
    )


def test_an_integer_network_is_placed_as_the_real_one() -> None:
    real = _chain(2, 4, 4, side=8)
    whole = [
        replace(
            layer,
            op=Conv2d(np.ones(layer.op.weight.shape, np.int64))
            if isinstance(layer.op, Conv2d)
            else Neuron(np.array(100), v_min=-1),
        )
        for layer in real
    ]
    assert place(replace(real, layers=tuple(whole))) == place(real)


def _dynap_cnn_net_a() -> Network:
    """The nine-layer network of sinabs' ``tests/test_dynapcnn/test_large_net.py``, its mean pools as sums."""
    half = SumPool2d((2, 2))
    layers: list[tuple[int, int, int, dict[str, Any], bool]] = [
        (16, 2, 2, {"stride": (2, 2)}, False),
        (16, 16, 3, {}, True),
        (32, 16, 3, {}, True),
        (32, 32, 3, {}, True),
        (64, 32, 3, {}, True),
        (64, 64, 3, {}, True),
        (256, 64, 2, {}, False),
        (128, 256, 1, {}, False),
        (1, 128, 1, {}, False),
    ]
    ops: Ops = []
    for f, c, k, options, pooled in layers:
        padding = (1, 1) if k == 3 else (0, 0)
        ops += [_conv(f, c, k, padding=padding, **options), FIRE, *([half] if pooled else [])]
    return _net(ops, (2, 128, 128))


def test_the_large_network_of_sinabs_is_placed() -> None:
    network = _dynap_cnn_net_a()
    names = [layer.neuron_name for layer in core_layers(network)]
    assert [network.shapes[name] for name in names] == [
        (16, 64, 64),
        (16, 64, 64),
        (32, 32, 32),
        (32, 16, 16),
        (64, 8, 8),
        (64, 4, 4),
        (256, 1, 1),
        (128, 1, 1),
        (1, 1, 1),
    ]
    found = place(network).cores
    assert check_placement(network, found) == []
    assert sorted(found.values()) == list(range(9))
    # sinabs' tests: this order is valid, the order of the layers is not
    assert check_placement(network, dict(zip(names, [0, 1, 2, 7, 4, 5, 6, 3, 8], strict=True))) == []
    wrong = check_placement(network, dict(zip(names, range(9), strict=True)))
    assert [(issue.where, issue.got, issue.limit) for issue in wrong] == [
        (names[7], "kernel address bits 15", "14 on core 7")
    ]
