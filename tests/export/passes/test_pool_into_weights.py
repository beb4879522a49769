# SPDX-License-Identifier: Apache-2.0
"""Pools in the weights behind them, kernels made square: the same integers for every geometry, or left as it was."""

from __future__ import annotations

import numpy as np
import pytest

from spikefold.errors import NetworkError
from spikefold.export.network import INPUT, InputSpec, Layer, Network
from spikefold.export.neuron import Neuron
from spikefold.export.ops import Conv2d, Dense, SumPool2d
from spikefold.export.passes.expand_kernels import expand_kernels
from spikefold.export.passes.pool_into_weights import pool_into_weights
from spikefold.export.passes.square_kernels import square_kernels
from spikefold.hardware.simulators.reference import apply

CASES = 300
FIRE = Neuron(np.array(2, np.int64))


def _conv(rng: np.random.Generator, channels: int) -> Conv2d:
    def pair(low: int, high: int) -> tuple[int, int]:
        return int(rng.integers(low, high)), int(rng.integers(low, high))

    groups = int(rng.choice([1, channels]))
    weight = rng.integers(-9, 10, (2 * groups, channels // groups, *pair(1, 4)))
    bias = rng.integers(-3, 4, 2 * groups) if rng.integers(2) else None
    return Conv2d(weight, bias, pair(1, 4), pair(0, 3), pair(1, 3), groups)


def _of(ops: list[Conv2d | Dense | SumPool2d], shape: tuple[int, int, int]) -> Network:
    layers = [Layer(f"l{index}", op) for index, op in enumerate((*ops, FIRE))]
    return Network(InputSpec(shape, 1000, 2), tuple(layers), 1)


def _values(network: Network, x: np.ndarray) -> np.ndarray:
    """What drives the neurons."""
    for layer in network.layers[:-1]:
        x = apply(layer.op, x)
    return x


def test_a_sum_pool_and_the_weights_behind_it_are_one_layer_for_every_geometry() -> None:
    rng, folded, kept, dense = np.random.default_rng(0), 0, 0, 0
    while folded + kept < CASES:
        shape = (int(rng.integers(1, 4)), int(rng.integers(4, 12)), int(rng.integers(4, 12)))
        pools = [SumPool2d((int(rng.integers(1, 4)), int(rng.integers(1, 4)))) for _ in range(rng.integers(1, 3))]
        sides = [side // int(np.prod([p.kernel[axis] for p in pools])) for axis, side in enumerate(shape[1:])]
        if min(sides) < 1:
            continue
        columns = shape[0] * sides[0] * sides[1]
        weights = _conv(rng, shape[0]) if rng.integers(3) else Dense(rng.integers(-5, 6, (3, columns)))
        try:
            before = _of([*pools, weights], shape)
            _ = before.shapes
        except NetworkError:
            continue
        after = pool_into_weights(before)
        x = rng.integers(0, 4, (3, *shape))
        assert np.array_equal(_values(before, x), _values(after, x))
        gone = not any(isinstance(layer.op, SumPool2d) for layer in after)
        folded, kept, dense = folded + gone, kept + (not gone), dense + (gone and isinstance(weights, Dense))
        if isinstance(weights, Dense) or not any(weights.padding):
            assert gone
    assert folded > 0.7 * CASES
    assert kept > 0.02 * CASES, "a window that would reach dropped rows keeps its pool"
    assert dense > 0.1 * CASES


def test_pools_that_several_read_or_that_read_several_go_and_the_rest_stays() -> None:
    rng = np.random.default_rng(1)

    def conv(inputs: int) -> Conv2d:
        return Conv2d(rng.integers(-2, 5, (2, inputs, 1, 1)))

    layers = (
        Layer("pool", SumPool2d((2, 2)), (INPUT,)),
        Layer("a", conv(2), ("pool",)), Layer("na", FIRE, ("a",)),
        Layer("b", conv(2), ("pool",)), Layer("nb", FIRE, ("b",)),
        Layer("pa", SumPool2d((2, 2)), ("na",)), Layer("pb", SumPool2d((2, 2)), ("nb",)),
        Layer("c", conv(2), ("pa", "pb")), Layer("nc", FIRE, ("c",)),
    )  # fmt: skip
    network = Network(InputSpec((2, 8, 8), 1000, 2), layers, 1)
    every, first = pool_into_weights(network), pool_into_weights(network, only=("pool",))
    assert [layer.name for layer in every] == ["a", "na", "b", "nb", "c", "nc"]
    assert every["c"].inputs == ("na", "nb")
    assert [layer.name for layer in first] == ["a", "na", "b", "nb", "pa", "pb", "c", "nc"]
    assert pool_into_weights(first, only=("pool",)) is first


@pytest.mark.parametrize("dilated", [False, True])
def test_kernels_are_square_wherever_zeros_can_make_them_so(dilated: bool) -> None:
    rng, squared, kept = np.random.default_rng(2), 0, 0
    while squared + kept < CASES:
        shape = (int(rng.integers(1, 3)), int(rng.integers(4, 12)), int(rng.integers(4, 12)))
        op: Conv2d | Dense = _conv(rng, shape[0])
        if not rng.integers(4):
            op = Dense(rng.integers(-5, 6, (3, int(np.prod(shape)))))
        elif not dilated:
            op = Conv2d(op.weight, op.bias, op.stride, op.padding, (1, 1), op.groups)
        try:
            before = _of([op], shape)
            _ = before.shapes
        except NetworkError:
            continue
        after = square_kernels(expand_kernels(before) if dilated else before)
        x = rng.integers(0, 4, (3, *shape))
        assert np.array_equal(_values(before, x), _values(after, x))
        made = after.layers[0].op
        sides = made.weight.shape[2:] if isinstance(made, Conv2d) else shape[1:]
        squared, kept = squared + (sides[0] == sides[1]), kept + (sides[0] != sides[1])
    assert squared > 0.7 * CASES
    assert kept > 0, "an odd difference that no stride swallows"
