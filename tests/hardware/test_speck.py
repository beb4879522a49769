# SPDX-License-Identifier: Apache-2.0
"""Speck's limits: each fits, or fails by exactly one unit, and says by how much and what to do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spikefold.errors import Issue
from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Leak, Neuron, Reset
from spikefold.export.ops import AvgPool2d, Conv2d, Dense, SumPool2d
from spikefold.hardware import speck
from spikefold.hardware.speck import SPECK2F, violations
from spikefold.hardware.speck_cores import CORES, Memory, core_layers, cores_for, memory_needed

FIRE = Neuron(np.array(100), v_min=-1)


def _net(ops: list[object], shape: tuple[int, int, int]) -> Network:
    return Network(InputSpec(shape, 1000, 1), tuple(Layer(f"l{i}", op) for i, op in enumerate(ops)), 1)


def _conv(f: int, c: int, k: int, **options: object) -> Conv2d:
    return Conv2d(np.ones((f, c, k, k), np.int64), **options)


def _one(shape: tuple[int, int, int], *args: int, neuron: Neuron = FIRE, **options: object) -> list[Issue]:
    return violations(_net([_conv(*args, **options), neuron], shape))


def _rules(issues: list[Issue]) -> list[str]:
    return [issue.rule for issue in issues]


def _doc(rule: object) -> str:
    return str(rule.__doc__).rstrip(".")


@pytest.mark.parametrize(
    ("rule", "fits", "fails"),
    [
        (speck.square_kernel, ((1, 20, 20), 1, 1, 16, {}), ((1, 20, 20), 1, 1, 17, {})),
        (speck.stride, ((1, 20, 20), 1, 1, 3, {"stride": (8, 1)}), ((1, 20, 20), 1, 1, 3, {"stride": (1, 9)})),
        (speck.stride, ((1, 20, 20), 1, 1, 3, {"stride": (4, 2)}), ((1, 20, 20), 1, 1, 3, {"stride": (3, 2)})),
        (speck.padding, ((1, 20, 20), 1, 1, 3, {"padding": (7, 0)}), ((1, 20, 20), 1, 1, 3, {"padding": (0, 8)})),
        (speck.features, ((1, 2, 2), 1024, 1, 1, {}), ((1, 2, 2), 1025, 1, 1, {})),
        (speck.features, ((1024, 2, 2), 1, 1024, 1, {}), ((1025, 2, 2), 1, 1025, 1, {})),
        (speck.input_map, ((1, 128, 8), 1, 1, 2, {"stride": (2, 1)}), ((1, 129, 8), 1, 1, 2, {"stride": (2, 1)})),
        (speck.neuron_map, ((1, 8, 64), 1, 1, 1, {}), ((1, 8, 65), 1, 1, 1, {})),
        (speck.memory, ((64, 1, 1), 1024, 64, 1, {}), ((65, 1, 1), 1024, 65, 1, {})),
        (speck.memory, ((1, 64, 64), 16, 1, 1, {}), ((1, 64, 64), 17, 1, 1, {})),
        (speck.plain_convolution, ((2, 8, 8), 2, 2, 3, {}), ((2, 8, 8), 2, 2, 3, {"dilation": (1, 2)})),
        (speck.plain_convolution, ((2, 8, 8), 2, 2, 3, {}), ((2, 8, 8), 2, 1, 3, {"groups": 2})),
    ],
)
def test_a_limit_fits_or_fails_by_one(rule: object, fits: tuple, fails: tuple) -> None:
    *args, options = fits
    assert _one(*args, **options) == []
    *args, options = fails
    found = _one(*args, **options)
    assert _doc(rule) in _rules(found)
    mine = next(issue for issue in found if issue.rule == _doc(rule))
    assert mine.where == "l0"
    assert mine.got
    assert mine.limit
    assert mine.hint


@pytest.mark.parametrize(("side", "bad"), [((2, 2), 0), ((4, 4), 0), ((8, 8), 1), ((2, 1), 1), ((3, 3), 1)])
def test_pools_are_1_2_or_4_and_multiply(side: tuple[int, int], bad: int) -> None:
    ops = [_conv(1, 1, 1), FIRE, SumPool2d(side), _conv(1, 1, 1), FIRE]
    assert _rules(violations(_net(ops, (1, 16, 16)))) == [_doc(speck.pooling)] * bad
    twice = [*ops[:3], SumPool2d((2, 2)), *ops[3:]]
    assert len(violations(_net(twice, (1, 16, 16)))) == (side != (2, 2))


def test_a_dense_layer_is_a_kernel_as_large_as_its_map() -> None:
    def dense(height: int, width: int) -> list[Issue]:
        return violations(_net([Dense(np.ones((2, height * width), np.int64)), FIRE], (1, height, width)))

    assert dense(16, 16) == []
    assert [(issue.got, issue.limit) for issue in dense(17, 17)] == [("17x17", "16x16, square")]
    assert dense(4, 5)[0].hint == "pad it to 5x5"


def test_nine_layers_fit_and_ten_do_not() -> None:
    layers = [op for _ in range(10) for op in (_conv(1, 1, 1), FIRE)]
    assert violations(_net(layers[:18], (1, 4, 4))) == []
    found = violations(_net(layers, (1, 4, 4)))
    assert [(issue.got, issue.limit, issue.hint) for issue in found] == [("10", "9", "leave out 1 layers")]


def test_a_core_has_two_destinations() -> None:
    def fan_out(count: int) -> Network:
        layers = [Layer("a", _conv(1, 1, 1)), Layer("na", FIRE)]
        for i in range(count):
            layers += [Layer(f"b{i}", _conv(1, 1, 1), inputs=("na",)), Layer(f"n{i}", FIRE)]
        return Network(InputSpec((1, 4, 4), 1000, 1), tuple(layers), 1)

    assert violations(fan_out(2)) == []
    assert _rules(violations(fan_out(3))) == [_doc(speck.destinations)]


def test_memory_names_the_smallest_change() -> None:
    (neurons,) = _one((1, 64, 64), 17, 1, 1)
    assert neurons.got == "kernel 32, neuron 69632, bias 0 words"
    assert neurons.hint == "16 instead of 17 output channels would fit, or two cores with 9 each"
    # the fix fits, one channel more does not
    assert _one((1, 64, 64), 16, 1, 1) == []
    (kernel,) = _one((65, 1, 1), 1024, 65, 1)
    assert kernel.hint == "512 instead of 1024 output channels would fit, or two cores with 512 each"
    assert _one((65, 1, 1), 512, 65, 1) == []
    assert _one((65, 1, 1), 513, 65, 1) != []


def test_memory_by_hand() -> None:
    # datasheet 3.2.4.1: 16 -> 32 features, 3x3 on 64x64: kernel 16*32*16 = 8 Ki, neurons 128 Ki
    assert memory_needed((32, 16, 3, 3), (64, 64), True) == Memory(8192, 131072, 32)
    # sides round up to powers of two one by one, kernel positions together
    assert memory_needed((3, 5, 3, 3), (5, 9), False) == Memory(5 * 2 ** (4 + 2), 3 * 8 * 16, 0)
    assert memory_needed((1, 1, 1, 1), (1, 1), False) == Memory(1, 1, 0)
    assert sum(core.kernel for core in CORES) == 272 * 1024
    assert sum(core.neuron for core in CORES) == 327_680
    assert cores_for(Memory(32 * 1024, 1, 0)) == [3, 4, 5, 6]
    assert cores_for(Memory(32 * 1024 + 1, 16 * 1024 + 1, 0)) == []


@pytest.mark.parametrize(
    ("change", "got"),
    [
        ({"threshold": np.array(2**15)}, "threshold 32768..32768"),
        ({"v_min": 0}, "lower bound 0..0"),
        ({"v_min": -(2**15) - 1}, "lower bound -32769..-32769"),
    ],
)
def test_integers_of_the_neuron(change: dict[str, object], got: str) -> None:
    assert _one((1, 4, 4), 1, 1, 1, neuron=replace(FIRE, threshold=np.array(2**15 - 1), v_min=-(2**15))) == []
    (found,) = _one((1, 4, 4), 1, 1, 1, neuron=replace(FIRE, **change))
    assert found.got == got


@pytest.mark.parametrize(("value", "bad"), [(127, 0), (128, 1), (-128, 0), (-129, 1)])
def test_weights_have_eight_bits(value: int, bad: int) -> None:
    conv = Conv2d(np.full((1, 1, 1, 1), value), np.array([2**15 - 1]))
    assert len(violations(_net([conv, FIRE], (1, 4, 4)))) == bad
    real = _net([Conv2d(np.full((1, 1, 1, 1), 500.0)), Neuron(np.array(1.0))], (1, 4, 4))
    assert violations(real) == []


def test_neurons_that_the_chip_has_not() -> None:
    odd = Neuron(np.ones((1, 1, 1)), leak=Leak(0.5), reset=Reset.VALUE, reset_value=-0.5)
    found = violations(_net([Conv2d(np.ones((1, 1, 1, 1))), odd], (1, 4, 4)))
    assert _rules(found) == [_doc(speck.neuron_kind)] * 3


def test_layers_that_make_no_core_are_named() -> None:
    ops = [SumPool2d((2, 2)), Conv2d(np.ones((1, 1, 1, 1))), AvgPool2d((2, 2)), Neuron(np.array(1.0))]
    found = violations(_net(ops, (1, 8, 8)))
    assert [issue.where for issue in found] == ["l0", "l1", "l2", "l3"]
    assert core_layers(_net(ops, (1, 8, 8))) == ()
    assert SPECK2F.violations is violations


def test_every_rule_says_itself() -> None:
    for rule in (*speck.NETWORK_RULES, *speck.CORE_RULES):
        assert rule.__doc__
        assert rule.__doc__.count("\n") == 0
