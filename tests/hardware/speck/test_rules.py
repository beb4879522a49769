# SPDX-License-Identifier: Apache-2.0
"""Speck's limits: each fits, or fails by exactly one unit, and says by how much and what to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikefold.errors import Issue, UnsupportedError
from spikefold.export.network import INPUT, InputSpec, Layer, Network
from spikefold.export.neuron import Leak, Neuron, Reset
from spikefold.export.ops import AvgPool2d, Concat, Conv2d, Dense, SumPool2d
from spikefold.hardware.speck import rules as speck
from spikefold.hardware.speck.chip import DYNAPCNN, SPECK2E, SPECK2F, violations
from spikefold.hardware.speck.cores import (
    CORES,
    Destination,
    Memory,
    core_layers,
    memory_needed,
    most_features,
)
from spikefold.hardware.speck.placement import check_placement, place

FIRE = Neuron(np.array(100), v_min=-1)
Shape = tuple[int, int, int]


def _net(ops: list[Any], shape: Shape) -> Network:
    return Network(InputSpec(shape, 1000, 1), tuple(Layer(f"l{i}", op) for i, op in enumerate(ops)), 1)


def _graph(shape: Shape, **layers: tuple[Any, ...]) -> Network:
    """Layers by name: an operation and the layers it reads."""
    made = tuple(Layer(name, op, tuple(reads)) for name, (op, *reads) in layers.items())
    return Network(InputSpec(shape, 1000, 1), made, 1)


def _conv(f: int, c: int, k: int | tuple[int, int] = 1, **options: Any) -> Conv2d:
    sides = (k, k) if isinstance(k, int) else k
    return Conv2d(np.ones((f, c, *sides), np.int64), **options)


def _one(shape: Shape, *args: Any, neuron: Neuron = FIRE, **options: Any) -> Network:
    return _net([_conv(*args, **options), neuron], shape)


def _rules(issues: list[Issue]) -> list[str]:
    return [issue.rule for issue in issues]


def _doc(rule: Any) -> str:
    return str(rule.__doc__).rstrip(".")


# --- one unit more --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Limit:
    """``build(most)`` keeps every rule; ``build(most + step)`` breaks this one, at that layer, and what follows."""

    what: str
    rule: Callable[..., list[Issue]]
    build: Callable[[int], Network]
    most: int
    step: int = 1
    where: str = "l0"
    also: tuple[Callable[..., list[Issue]], ...] = field(default=())


def _dense(f: int, shape: Shape, value: int = 1) -> Network:
    return _net([Dense(np.full((f, int(np.prod(shape))), value)), FIRE], shape)


def _pools(*sides: tuple[int, int]) -> Network:
    return _net([_conv(1, 1), FIRE, *map(SumPool2d, sides), _conv(1, 1), FIRE], (1, 40, 40))


def _readers(count: int, source: str) -> Network:
    """``count`` layers that read the input, a core, or a part in a concat."""
    layers: dict[str, tuple[Any, ...]] = {
        "a": (_conv(2, 2), INPUT),
        "na": (FIRE, "a"),
        "b": (_conv(2, 2), "na"),
        "nb": (FIRE, "b"),
    }
    if source == "both":
        layers |= {"b": (_conv(2, 2), INPUT), "both": (Concat(), "na", "nb")}
    for number in range(count - (source == INPUT)):
        layers[f"r{number}"] = (_conv(1, 4 if source == "both" else 2), source)
        layers[f"n{number}"] = (FIRE, f"r{number}")
    return _graph((2, 4, 4), **layers)


def _side_by_side(count: int) -> Network:
    """A layer whose spikes one reader takes ``count`` times, side by side."""
    return _graph(
        (1, 4, 4),
        a=(_conv(1, 1), INPUT),
        na=(FIRE, "a"),
        b=(_conv(1, 1), INPUT),
        nb=(FIRE, "b"),
        both=(Concat(), *["na"] * count, "nb"),
        l0=(_conv(1, count + 1), "both"),
        n0=(FIRE, "l0"),
    )


def _parts(second: int) -> Network:
    """512 features and some more, side by side for one reader."""
    return _graph(
        (1, 1, 1),
        a=(_conv(512, 1), INPUT),
        na=(FIRE, "a"),
        b=(_conv(second, 1), INPUT),
        nb=(FIRE, "b"),
        both=(Concat(), "na", "nb"),
        l0=(_conv(1, 512 + second), "both"),
        n0=(FIRE, "l0"),
    )


def _chain(count: int, f: int, side: int) -> Network:
    return _net([op for _ in range(count) for op in (_conv(f, f), FIRE)], (f, side, side))


def _neuron(**changes: int) -> Network:
    values: dict[str, Any] = {key: np.array(value) if key == "threshold" else value for key, value in changes.items()}
    return _one((1, 4, 4), 1, 1, neuron=replace(FIRE, **values))


def _weight(value: int, bias: int | None = None) -> Network:
    return _net([Conv2d(np.full((1, 1, 1, 1), value), None if bias is None else np.array([bias])), FIRE], (1, 4, 4))


MAP = (1, 20, 20)
STRIDES = ((2, 1), (4, 1), (8, 1), (4, -1), (8, -1))
LIMITS = [
    Limit("kernel", speck.square_kernel, lambda n: _one(MAP, 1, 1, n), 16),
    Limit("kernel of a dense layer", speck.square_kernel, lambda n: _dense(2, (1, n, n)), 16),
    Limit("kernel wider than high", speck.square_kernel, lambda n: _one(MAP, 1, 1, (3, n)), 3),
    Limit("kernel higher than wide", speck.square_kernel, lambda n: _one(MAP, 1, 1, (n, 3)), 3),
    Limit("kernel narrower than high", speck.square_kernel, lambda n: _one(MAP, 1, 1, (3, n)), 3, -1),
    Limit("dense on a map wider than high", speck.square_kernel, lambda n: _dense(2, (1, 4, n)), 4),
    Limit("dense on a map higher than wide", speck.square_kernel, lambda n: _dense(2, (1, n, 4)), 4),
    *(Limit(f"stride y {n} {step:+}", speck.stride, lambda n: _one(MAP, 1, 1, 3, stride=(n, 1)), n, step)
      for n, step in STRIDES),
    *(Limit(f"stride x {n} {step:+}", speck.stride, lambda n: _one(MAP, 1, 1, 3, stride=(1, n)), n, step)
      for n, step in STRIDES),
    Limit("padding y", speck.padding, lambda n: _one(MAP, 1, 1, 3, padding=(n, 0)), 7),
    Limit("padding x", speck.padding, lambda n: _one(MAP, 1, 1, 3, padding=(0, n)), 7),
    Limit("dilation y", speck.plain_convolution, lambda n: _one(MAP, 1, 1, 3, dilation=(n, 1)), 1),
    Limit("dilation x", speck.plain_convolution, lambda n: _one(MAP, 1, 1, 3, dilation=(1, n)), 1),
    Limit("groups", speck.plain_convolution, lambda n: _one((2, 8, 8), 2, 2 // n, 3, groups=n), 1),
    Limit("features out", speck.features, lambda n: _one((1, 2, 2), n, 1), 1024),
    Limit("features in", speck.features, lambda n: _one((n, 2, 2), 1, n), 1024),
    Limit("features out of a dense layer", speck.features, lambda n: _dense(n, (1, 2, 2)), 1024),
    Limit("features in, side by side", speck.features, _parts, 512),
    Limit("input rows", speck.input_map, lambda n: _one((1, n, 8), 1, 1, 2, stride=(2, 1)), 128),
    Limit("input columns", speck.input_map, lambda n: _one((1, 8, n), 1, 1, 2, stride=(1, 2)), 128),
    Limit("neuron rows", speck.neuron_map, lambda n: _one((1, n, 8), 1, 1), 64),
    Limit("neuron columns", speck.neuron_map, lambda n: _one((1, 8, n), 1, 1), 64),
    Limit("neuron rows by padding", speck.neuron_map, lambda n: _one((1, 57 + n, 8), 1, 1, 8, padding=(3, 0)), 8, 1),
    Limit("pool", speck.pooling, lambda n: _pools((n, n)), 2, 1, "l1"),
    Limit("pool by 4", speck.pooling, lambda n: _pools((n, n)), 4, 1, "l1"),
    Limit("pool along x alone", speck.pooling, lambda n: _pools((1, n)), 1, 1, "l1"),
    Limit("pool along y more", speck.pooling, lambda n: _pools((n, 2)), 2, 1, "l1"),
    Limit("pools multiply", speck.pooling, lambda n: _pools((2, 2), (n, n)), 2, 1, "l1"),
    Limit("destinations of a core", speck.destinations, lambda n: _readers(n - 1, "na"), 2, 1, "na"),
    Limit("destinations of a part", speck.destinations, lambda n: _readers(n, "both"), 2, 1, "na"),
    Limit("destinations, twice to one core", speck.destinations, _side_by_side, 2, 1, "na"),
    Limit("destinations of the input", speck.input_destinations, lambda n: _readers(n, INPUT), 2, 1, INPUT),
    Limit("cores", speck.core_count, lambda n: _chain(n, 1, 4), 9, 1, "network"),
    # 64 Ki kernel words on cores 5 and 6
    Limit("kernel words by inputs", speck.placement, lambda n: _one((n, 1, 1), 1024, n), 64),
    Limit("kernel words by outputs", speck.placement, lambda n: _one((128, 1, 1), n, 128), 512),
    Limit("kernel words by positions", speck.placement, lambda n: _one((32, 9, 9), 32, 32, n), 8),
    Limit("kernel words of a dense layer", speck.placement, lambda n: _dense(n, (16, 8, 8)), 64),
    # 64 Ki neuron words on cores 0 to 2
    Limit("neuron words by features", speck.placement, lambda n: _one((1, 64, 64), n, 1), 16),
    Limit("neuron words by rows", speck.placement, lambda n: _one((1, n, 64), 32, 1), 32),
    Limit("neuron words by columns", speck.placement, lambda n: _one((1, 64, n), 32, 1), 32),
    Limit("neuron words by few features", speck.placement, lambda n: _one((1, 64, 33), n, 1), 16),
    # 32 Ki kernel words leave 32 Ki neuron words (cores 3 and 4), 64 Ki leave 16 Ki
    Limit("neurons beside 32 Ki kernel", speck.placement, lambda n: _one((64, n, 32), 32, 64, 3, padding=(1, 1)), 32),
    Limit("neurons beside 64 Ki kernel", speck.placement, lambda n: _one((256, n, 32), 16, 256, 3, padding=(1, 1)),
          32),
    Limit("kernel beside 64 Ki neurons", speck.placement, lambda n: _one((n, 63, 63), 16, n, 8, padding=(4, 4)), 16),
    Limit("kernel beside 32 Ki neurons", speck.placement, lambda n: _one((n, 32, 32), 32, n, 3, padding=(1, 1)), 64),
    Limit("bias words", speck.placement, lambda n: _net([_conv(n, 1, bias=np.ones(n, np.int64)), FIRE], (1, 1, 1)),
          1024, 1, "l0", (speck.features,)),
    # whole on cores 0 to 2, and a fourth in halves on 3 and 4
    Limit("layers of 64 Ki neurons", speck.placement, lambda n: _chain(n, 16, 64), 4, 1, "l0, l2, l4, l6, l8"),
    # whole on cores 5 and 6, and a third in halves on 3 and 4
    Limit("layers of 64 Ki kernel", speck.placement, lambda n: _chain(n, 256, 2), 3, 1, "l0, l2, l4, l6"),
    Limit("weight", speck.integer_ranges, _weight, 127),
    Limit("weight below 0", speck.integer_ranges, _weight, -128, -1),
    Limit("weight of a dense layer", speck.integer_ranges, lambda n: _dense(1, (1, 2, 2), n), 127),
    Limit("dense weight below 0", speck.integer_ranges, lambda n: _dense(1, (1, 2, 2), n), -128, -1),
    Limit("bias", speck.integer_ranges, lambda n: _weight(1, n), 2**15 - 1),
    Limit("bias below 0", speck.integer_ranges, lambda n: _weight(1, n), -(2**15), -1),
    Limit("threshold", speck.integer_ranges, lambda n: _neuron(threshold=n), 2**15 - 1),
    Limit("lower bound", speck.integer_ranges, lambda n: _neuron(v_min=n), -(2**15), -1),
    Limit("lower bound at 0", speck.integer_ranges, lambda n: _neuron(v_min=n), -1),
]  # fmt: skip


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.what)
def test_a_limit_fits_or_fails_by_one(limit: Limit) -> None:
    assert violations(limit.build(limit.most)) == []
    found = violations(limit.build(limit.most + limit.step))
    assert set(_rules(found)) == {_doc(rule) for rule in (limit.rule, *limit.also)}
    mine = [issue for issue in found if issue.rule == _doc(limit.rule)]
    assert mine[0].where == limit.where
    assert all(issue.got and issue.limit and issue.hint for issue in found)


def test_there_are_sixty_limits_of_every_rule_that_counts() -> None:
    assert len(LIMITS) == len({limit.what for limit in LIMITS}) >= 60
    uncounted = {speck.operations, speck.neuron_kind}
    assert {limit.rule for limit in LIMITS} == {*speck.NETWORK_RULES, *speck.CORE_RULES} - uncounted


# --- the rest -------------------------------------------------------------------------------------


def test_a_dense_layer_is_a_kernel_as_large_as_its_map() -> None:
    assert [(issue.got, issue.limit) for issue in violations(_dense(2, (1, 17, 17)))] == [("17x17", "16x16, square")]
    assert violations(_dense(2, (1, 4, 5)))[0].hint == "pad it to 5x5"


def test_ten_layers_are_one_too_many_and_each_is_judged_alone() -> None:
    (many,) = violations(_chain(10, 1, 4))
    assert (many.got, many.limit, many.hint) == ("10", "9", "leave out 1 layers")
    wide = [_conv(17, 1), FIRE, _conv(1, 17), FIRE]
    found = violations(_net([*wide, *_ops(_chain(8, 1, 64))], (1, 64, 64)))
    assert _rules(found) == [_doc(speck.core_count)]  # in two parts the first would fit
    found = violations(_net([_conv(40, 1), FIRE, _conv(1, 40), FIRE, *_ops(_chain(8, 1, 64))], (1, 64, 64)))
    assert [(issue.rule, issue.where) for issue in found[1:]] == [(_doc(speck.placement), "l0")]


def _ops(network: Network) -> list[Any]:
    return [layer.op for layer in network]


def test_a_place_names_the_smallest_change() -> None:
    (neurons,) = violations(_one((1, 64, 64), 17, 1, 1))
    assert neurons.got == "kernel 32, neuron 69632, bias 0 words"
    assert neurons.limit.startswith("no core holds it: core 0, 1, 2: kernel 16384, neuron 65536, bias 1024 words; ")
    # the classes cannot be split; the fix fits
    assert neurons.hint == "16 instead of 17 output channels of l0 would fit"
    (kernel,) = violations(_one((65, 1, 1), 1024, 65, 1))
    assert kernel.hint == "512 instead of 1024 output channels of l0 would fit"
    assert violations(_one((65, 1, 1), 512, 65, 1)) == []
    assert violations(_one((65, 1, 1), 513, 65, 1)) != []
    # an inner layer has two cores: 16 channels on each
    (inner,) = violations(_net([_conv(33, 1), FIRE, _conv(1, 33), FIRE], (1, 64, 64)))
    assert inner.limit.startswith("no core holds it, nor do two hold its parts: core 0")
    assert inner.hint == "32 instead of 33 output channels of l0 would fit"
    assert violations(_net([_conv(32, 1), FIRE, _conv(1, 32), FIRE], (1, 64, 64))) == []
    # a kernel for one output alone is too large: there are no channels to take away
    (hopeless,) = violations(_one((257, 16, 16), 1, 257, 16))
    assert hopeless.hint == "stride or pool before l0"


def test_layers_that_compete_are_named_with_what_there_is() -> None:
    (found,) = violations(_chain(4, 256, 2))
    assert found.where == "l0, l2, l4, l6"
    assert found.got.startswith("4 layers: l0 needs kernel 65536, neuron 1024, bias 0 words; l2 needs")
    assert found.limit == (
        "9 that could take them or their parts: core 0, 1, 2: kernel 16384, neuron 65536, bias 1024 words; "
        "core 3, 4: kernel 32768, neuron 32768, bias 1024 words; core 5, 6: kernel 65536, neuron 16384, bias 1024 "
        "words; core 7, 8: kernel 16384, neuron 16384, bias 1024 words"
    )
    assert found.hint == "128 instead of 256 output channels of l0 would give all of them a place"
    changed = [_conv(128, 256), FIRE, _conv(256, 128), *_ops(_chain(4, 256, 2))[3:]]
    assert violations(_net(changed, (256, 2, 2))) == []
    changed = [_conv(129, 256), FIRE, _conv(256, 129), *_ops(_chain(4, 256, 2))[3:]]
    assert violations(_net(changed, (256, 2, 2))) != []


def test_several_shortages_are_all_named() -> None:
    ops = [_conv(40, 1, 1), FIRE, _conv(1, 40), FIRE, _conv(33, 1), FIRE, _conv(1, 33), FIRE]
    assert [issue.where for issue in violations(_net(ops, (1, 64, 64)))] == ["l0", "l4"]


def test_memory_by_hand() -> None:
    # datasheet 3.2.4.1: 16 -> 32 features, 3x3 on 64x64: kernel 16*32*16 = 8 Ki, neurons 128 Ki
    assert memory_needed((32, 16, 3, 3), (64, 64), True) == Memory(8192, 131072, 32)
    # sides round up to powers of two one by one, kernel positions together
    assert memory_needed((3, 5, 3, 3), (5, 9), False) == Memory(5 * 2 ** (4 + 2), 3 * 8 * 16, 0)
    assert memory_needed((1, 1, 1, 1), (1, 1), False) == Memory(1, 1, 0)
    assert sum(core.kernel for core in CORES) == 272 * 1024
    assert sum(core.neuron for core in CORES) == 327_680
    need = Memory(32 * 1024, 1, 0)
    assert [number for number, core in enumerate(CORES) if core.holds(need)] == [3, 4, 5, 6]
    assert not any(core.holds(Memory(32 * 1024 + 1, 16 * 1024 + 1, 0)) for core in CORES)


@given(
    st.integers(1, 40),
    st.sampled_from([1, 2, 3, 4]),
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.booleans(),
    st.builds(Memory, st.integers(0, 3000), st.integers(0, 2000), st.integers(0, 30)),
)
def test_the_most_features_of_a_core_are_those_that_the_formula_allows(
    channels: int, side: int, neuron_map: tuple[int, int], bias: bool, core: Memory
) -> None:
    fits = [f for f in range(1, 2100) if core.holds(memory_needed((f, channels, side, side), neuron_map, bias))]
    assert most_features(channels, side * side, neuron_map, bias, core) == len(fits) == max(fits, default=0)


def test_a_bound_of_a_real_network_is_not_an_integer_range() -> None:
    real = _net([Conv2d(np.full((1, 1, 1, 1), 500.0)), Neuron(np.array(1.0))], (1, 4, 4))
    assert violations(real) == []
    (found,) = violations(_neuron(threshold=2**15))
    assert found.got == "threshold 32768..32768"


def test_neurons_that_the_chip_has_not() -> None:
    odd = Neuron(np.ones((1, 1, 1)), leak=Leak(0.5), reset=Reset.VALUE, reset_value=-0.5)
    found = violations(_net([Conv2d(np.ones((1, 1, 1, 1))), odd], (1, 4, 4)))
    assert _rules(found) == [_doc(speck.neuron_kind)] * 3


def test_layers_that_make_no_core_are_named() -> None:
    ops = [SumPool2d((2, 2)), Conv2d(np.ones((1, 1, 1, 1))), AvgPool2d((2, 2)), Neuron(np.array(1.0))]
    found = violations(_net(ops, (1, 8, 8)))
    assert [issue.where for issue in found] == ["l0", "l1", "l2", "l3"]
    assert core_layers(_net(ops, (1, 8, 8))) == ()
    mixed = _graph(
        (1, 4, 4),
        a=(_conv(1, 1), INPUT),
        na=(FIRE, "a"),
        both=(Concat(), "na", INPUT),
        b=(_conv(1, 2), "both"),
        nb=(FIRE, "b"),
    )
    assert [(issue.where, issue.got) for issue in violations(mixed)] == [("both", "a concat with the input")]


def test_destinations_behind_concats_and_pools() -> None:
    network = _graph(
        (1, 16, 16), a=(_conv(3, 1), INPUT), na=(FIRE, "a"), b=(_conv(2, 1), INPUT), nb=(FIRE, "b"),
        pa=(SumPool2d((2, 2)), "na"), pb=(SumPool2d((2, 2)), "nb"), both=(Concat(), "pb", "pa"),
        pool=(SumPool2d((2, 2)), "both"), c=(_conv(1, 5), "pool"), nc=(FIRE, "c"),
        d=(_conv(1, 5), "both"), nd=(FIRE, "d"),
    )  # fmt: skip
    sent = {core.name: core.destinations for core in core_layers(network)}
    assert sent == {
        "a": (Destination("c", (4, 4), 2), Destination("d", (2, 2), 2)),
        "b": (Destination("c", (4, 4), 0), Destination("d", (2, 2), 0)),
        "c": (),
        "d": (),
    }
    assert violations(network) == []
    assert check_placement(network, place(network).cores) == []


def test_destinations_of_a_concat_in_a_concat_and_of_a_layer_read_twice() -> None:
    network = _graph(
        (1, 4, 4),
        a=(_conv(2, 1), INPUT),
        na=(FIRE, "a"),
        b=(_conv(3, 1), INPUT),
        nb=(FIRE, "b"),
        inner=(Concat(), "na", "nb"),
        outer=(Concat(), "nb", "inner"),
        c=(_conv(2, 8), "outer"),
        nc=(FIRE, "c"),
        d=(_conv(1, 2), "nc", "nc"),
        nd=(FIRE, "d"),
    )
    sent = {core.name: core.destinations for core in core_layers(network)}
    assert sent == {
        "a": (Destination("c", (1, 1), 3),),
        "b": (Destination("c", (1, 1), 5), Destination("c", (1, 1), 0)),
        "c": (Destination("d"), Destination("d")),
        "d": (),
    }


def test_the_three_chips_and_what_a_network_takes_of_them() -> None:
    chips = (SPECK2F, SPECK2E, DYNAPCNN)
    assert [chip.name for chip in chips] == ["speck2f", "speck2e", "dynapcnndevkit"]
    network = _net(
        [_conv(16, 2, 3, bias=np.ones(16, np.int64), padding=(1, 1)), FIRE, _conv(4, 16), FIRE], (2, 60, 60)
    )
    for chip in chips:
        assert chip.violations is violations
        assert len(chip.rules) == len(speck.NETWORK_RULES) + len(speck.CORE_RULES)
        found = chip.resources(network)
        assert dict(found.placement) == place(network).cores == {"l1": 0, "l3": 7}
        assert [(use.layer, use.cores, use.limited_by) for use in found.layers] == [
            ("l0", 1, "neuron"),
            ("l2", 1, "neuron"),
        ]
        assert found.layers[0].memory == {"kernel": (512, 16384), "neuron": (65536, 65536), "bias": (16, 1024)}
        assert (found.cores, found.chips, found.estimate) == (2, 1, False)
    with pytest.raises(UnsupportedError):
        SPECK2F.resources(_one((1, 64, 64), 17, 1, 1))


def test_every_rule_says_itself() -> None:
    for rule in (*speck.NETWORK_RULES, *speck.CORE_RULES):
        assert rule.__doc__
        assert rule.__doc__.count("\n") == 0
