# SPDX-License-Identifier: Apache-2.0
"""The specification itself: the neuron against numbers worked out by hand, the operations against scalar loops."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from spikefold.errors import NetworkError
from spikefold.export.network import InputSpec, Layer, Network, Op
from spikefold.export.neuron import Fire, Leak, Neuron, Order, Overflow, Reset
from spikefold.export.ops import AvgPool2d, BatchNorm, Conv2d, Dense, Gate, SumPool2d
from spikefold.hardware.simulators import reference
from spikefold.hardware.simulators.reference import apply


@dataclass
class Golden:
    """One neuron with weight 1 and bias ``bias``, driven by ``drive`` events a step, and what it must do."""

    drive: list[int]
    spikes: list[int]
    states: list[float]
    weight: int = 1
    bias: int | None = None
    threshold: int = 3
    overflow: int = 0
    neuron: dict[str, Any] = field(default_factory=dict)


LEAKY = {"leak": Leak(1, 1)}  # keeps half, toward zero
LASTING = {"current": Leak(1, 1)}
MANY = {"max_spikes": None}
SUBTRACT = {"reset": Reset.SUBTRACT}
GOLDENS = {
    "fires at equality, resets to 0": Golden([1, 2, 1], [0, 1, 0], [1, 0, 1]),
    "above only: equality is not enough": Golden([1, 2, 1], [0, 0, 1], [1, 3, 0], neuron={"fire": Fire.GT}),
    "one below the threshold is silent": Golden([2, 0, 0], [0, 0, 0], [2, 2, 2]),
    "zero drops what is above": Golden([5, 1], [1, 0], [0, 1]),
    "subtraction keeps what is above": Golden([5, 1], [1, 1], [2, 0], neuron=SUBTRACT),
    "one spike a step, the rest stays": Golden([10, 0, 0, 0], [1, 1, 1, 0], [7, 4, 1, 1], neuron=SUBTRACT),
    "value replaces the state": Golden(
        [4, 2, 3], [1, 0, 1], [-2, 0, -2], neuron={"reset": Reset.VALUE, "reset_value": -2.0}
    ),
    "value above the threshold fires for ever": Golden(
        [3, 0, 0], [1, 1, 1], [4, 4, 4], neuron={"reset": Reset.VALUE, "reset_value": 4.0}
    ),
    "several spikes, at equality": Golden([9, 2, 1], [3, 0, 1], [0, 2, 0], neuron=MANY | SUBTRACT),
    "several spikes, above only": Golden([9, 1, 0], [2, 1, 0], [3, 1, 1], neuron=MANY | SUBTRACT | {"fire": Fire.GT}),
    "several spikes between multiples": Golden([8, 0], [2, 0], [2, 2], neuron=MANY | SUBTRACT),
    "several spikes between multiples, above only": Golden(
        [8, 0], [2, 0], [2, 2], neuron=MANY | SUBTRACT | {"fire": Fire.GT}
    ),
    "several spikes reset to 0 once": Golden([11, 1], [3, 0], [0, 1], neuron=MANY),
    "at most two spikes": Golden([11, 0, 0], [2, 1, 0], [5, 2, 2], neuron=SUBTRACT | {"max_spikes": 2}),
    "no negative spikes": Golden([9], [0], [-9], weight=-1, neuron=MANY | SUBTRACT),
    "a bias acts each step": Golden([0, 0, 0, 0], [0, 1, 0, 1], [2, 0, 2, 0], bias=2),
    "a bias acts beside the input": Golden([1, 0, 1], [1, 0, 1], [0, 2, 0], bias=2),
    "leak before the input": Golden([4, 2, 4], [0, 0, 1], [4, 4, 0], threshold=5, neuron=LEAKY),
    "leak after the input": Golden(
        [4, 2, 9], [0, 0, 1], [2, 2, 0], threshold=5, neuron=LEAKY | {"order": Order.INPUT_FIRST}
    ),
    "a leak rounds down above 0": Golden([7, 0, 0, 0], [0] * 4, [7, 3, 1, 0], threshold=9, neuron=LEAKY),
    "a leak rounds up below 0": Golden([7, 0, 0, 0], [0] * 4, [-7, -3, -1, 0], weight=-1, neuron=LEAKY),
    "a leak of 3/4 toward zero": Golden(
        [7, 0, 0, 0], [0] * 4, [-7, -5, -3, -2], weight=-1, neuron={"leak": Leak(3, 2)}
    ),
    "a leak that keeps nothing": Golden([2, 2, 3], [0, 0, 1], [2, 2, 0], neuron={"leak": Leak(0, 4)}),
    "a leak that keeps everything": Golden([2, 0, 1], [0, 0, 1], [2, 2, 0], neuron={"leak": Leak(16, 4)}),
    "a lower bound": Golden([5, 1, 5], [0, 0, 0], [-4, -4, -4], weight=-1, neuron={"v_min": -4.0}),
    "a lower bound of 0": Golden([5, 0], [0, 0], [0, 0], weight=-1, neuron={"v_min": 0.0}),
    "the lower bound acts after the reset": Golden(
        [3, 2], [1, 0], [-1, 1], neuron={"v_min": -1.0, "reset": Reset.VALUE, "reset_value": -5.0}
    ),
    "a saturating state": Golden(
        [9, 9, 0], [0, 0, 0], [-7, -7, -7], weight=-1, overflow=2,
        neuron={"state_bits": 4, "overflow": Overflow.SATURATE},
    ),
    "a saturating state fires from its top": Golden(
        [9, 0, 0], [1, 1, 0], [4, 1, 1], overflow=1,
        neuron=SUBTRACT | {"state_bits": 4, "overflow": Overflow.SATURATE},
    ),
    "a wrapping state, from the top": Golden(
        [8, 0], [0, 0], [-8, -8], overflow=1, neuron={"state_bits": 4, "overflow": Overflow.WRAP}
    ),
    "a wrapping state, up to its top": Golden(
        [7, 1], [1, 0], [0, 1], neuron={"state_bits": 4, "overflow": Overflow.WRAP}
    ),
    "a wrapping state, down to its bottom": Golden(
        [8, 0], [0, 0], [-8, -8], weight=-1, neuron={"state_bits": 4, "overflow": Overflow.WRAP}
    ),
    "a wrapping state, from the bottom": Golden(
        [10, 0], [1, 0], [0, 0], weight=-1, overflow=1, neuron={"state_bits": 4, "overflow": Overflow.WRAP}
    ),
    "a forbidden overflow is counted and left": Golden(
        [9, 0, 1], [0, 0, 0], [-9, -9, -10], weight=-1, overflow=3,
        neuron={"state_bits": 4, "overflow": Overflow.FORBID},
    ),
    "the edges of a forbidding state are no overflow": Golden(
        [8, 0], [0, 0], [-8, -8], weight=-1, overflow=0, neuron={"state_bits": 4, "overflow": Overflow.FORBID}
    ),
    "a current goes on after its input": Golden([4, 0, 0, 0], [0] * 4, [4, 6, 7, 7], threshold=9, neuron=LASTING),
    "a current rounds up below 0": Golden([7, 0, 0], [0] * 3, [-7, -10, -11], weight=-1, threshold=9, neuron=LASTING),
    "a spike leaves the current": Golden([6, 0, 0], [1, 0, 0], [0, 3, 4], threshold=5, neuron=LASTING),
    "a bias charges the current": Golden([0, 0, 0], [0, 0, 1], [2, 5, 0], bias=2, threshold=6, neuron=LASTING),
    "current and leak": Golden([8, 0, 0], [0, 0, 0], [8, 8, 6], threshold=9, neuron=LASTING | LEAKY),
    "current and leak, after the input": Golden(
        [8, 0, 0], [0, 0, 0], [4, 4, 3], threshold=9, neuron=LASTING | LEAKY | {"order": Order.INPUT_FIRST}
    ),
    "a current that keeps nothing": Golden([2, 0, 1], [0, 0, 1], [2, 2, 0], neuron={"current": Leak(0, 4)}),
    "a current that keeps everything": Golden([1, 0, 0], [0, 0, 1], [1, 2, 0], neuron={"current": Leak(16, 4)}),
    "a current too wide is counted and left": Golden(
        [9, 0, 0], [0, 0, 0], [-7, -7, -7], weight=-1, overflow=4, threshold=7,
        neuron=LASTING | {"state_bits": 4, "overflow": Overflow.SATURATE},
    ),
    "finer currents": Golden([1, 0, 0], [0, 0, 1], [4, 7, 0], threshold=2,
                             neuron=LASTING | {"state_shift": 2, "fire": Fire.GE, "current": Leak(3, 2)}),
    "finer states: input and threshold scale": Golden(
        [1, 0, 2, 0, 1], [0, 0, 1, 0, 0], [4, 2, 0, 0, 4], threshold=2,
        neuron={"state_shift": 2, "leak": Leak(1, 1), "fire": Fire.GT},
    ),
    "finer states: equality is at the scaled threshold": Golden(
        [1, 1, 1], [0, 1, 0], [8, 0, 8], threshold=2, neuron={"state_shift": 3}
    ),
    "finer states: the lower bound counts in them": Golden(
        [1, 0], [0, 0], [-3, -3], weight=-1, neuron={"state_shift": 3, "v_min": -3.0}
    ),
}  # fmt: skip


def _driven(golden: Golden) -> tuple[Network, np.ndarray]:
    bias = None if golden.bias is None else np.array([golden.bias])
    neuron = Neuron(np.array(golden.threshold), **golden.neuron)
    layers = (Layer("w", Dense(np.array([[golden.weight]]), bias)), Layer("n", neuron))
    network = Network(InputSpec((1, 1, 1), 1000, len(golden.drive)), layers, 1)
    return network, np.array(golden.drive).reshape(-1, 1, 1, 1, 1)


@pytest.mark.parametrize("name", GOLDENS)
def test_a_neuron_does_what_was_worked_out_by_hand(name: str) -> None:
    golden = GOLDENS[name]
    network, frames = _driven(golden)
    trace = reference.run(network, frames, potentials=True).layers["n"]
    assert trace.potentials is not None
    assert trace.raster.ravel().tolist() == golden.spikes
    assert trace.potentials.ravel().tolist() == golden.states
    assert trace.overflow == golden.overflow
    assert (trace.raster.dtype, trace.potentials.dtype) == (np.uint16, np.int64)
    assert trace.raster.shape == (len(golden.drive), 1, 1, 1, 1)


def test_there_are_enough_goldens_and_most_of_them_fire() -> None:
    assert len(GOLDENS) >= 30
    assert sum(any(golden.spikes) for golden in GOLDENS.values()) >= 20


def test_the_state_range_is_that_before_the_reset_and_holds_0() -> None:
    network, frames = _driven(Golden([5, 1, 2], [], []))
    assert reference.run(network, frames).layers["n"].v_range == (0, 5)
    network, frames = _driven(Golden([5, 1, 2], [], [], weight=-1))
    assert reference.run(network, frames).layers["n"].v_range == (-8, 0)


def test_a_real_leak_is_a_product_and_does_not_round() -> None:
    layers = (Layer("w", Dense(np.array([[1.0]]))), Layer("n", Neuron(np.array(2.0), leak=Leak(0.25))))
    network = Network(InputSpec((1, 1, 1), 1000, 4), layers, 1)
    trace = reference.run(network, np.array([1, 1, 0, 2]).reshape(4, 1, 1, 1, 1), potentials=True).layers["n"]
    assert trace.potentials is not None
    assert trace.potentials.ravel().tolist() == [1.0, 1.25, 0.3125, 0.0]
    assert trace.raster.ravel().tolist() == [0, 0, 0, 1]


def test_thresholds_by_channel_and_by_neuron() -> None:
    frames = np.full((1, 1, 2, 1, 2), 3)
    for threshold, fired in (([[[3]], [[4]]], [1, 1, 0, 0]), ([[[3, 4]], [[9, 1]]], [1, 0, 0, 1])):
        layers = (Layer("p", SumPool2d((1, 1))), Layer("n", Neuron(np.array(threshold))))
        trace = reference.run(Network(InputSpec((2, 1, 2), 1000, 1), layers, 1), frames)
        assert trace.layers["n"].raster.ravel().tolist() == fired


# ---- clips ------------------------------------------------------------------------------------------------------


def _random_network(seed: int = 0, steps: int = 7) -> tuple[Network, np.ndarray]:
    rng = np.random.default_rng(seed)
    neuron = Neuron(np.array(4), reset=Reset.SUBTRACT, max_spikes=None, v_min=-6.0)
    conv = Conv2d(rng.integers(-2, 4, (3, 2, 3, 2)), np.array([1, -1, 0]), padding=(1, 0))
    layers = (
        Layer("c", conv),
        Layer("n", neuron),
        Layer("p", SumPool2d((2, 2))),
        Layer("d", Dense(rng.integers(-2, 3, (4, 12)))),
        Layer("o", neuron),
    )
    network = Network(InputSpec((2, 5, 5), 1000, steps), layers, 2)
    return network, rng.poisson(0.5, (steps, 6, 2, 5, 5))


def test_clips_in_one_batch_equal_clips_one_by_one_and_a_second_run_equals_the_first() -> None:
    network, frames = _random_network()
    whole, again = (reference.run(network, frames, potentials=True) for _ in range(2))
    for name, layer in whole.layers.items():
        assert layer.spikes > 50, name
        assert layer.potentials is not None
        np.testing.assert_array_equal(layer.raster, again.layers[name].raster)
        for clip in range(6):
            alone = reference.run(network, frames[:, clip : clip + 1], potentials=True).layers[name]
            np.testing.assert_array_equal(alone.raster[:, 0], layer.raster[:, clip])
            np.testing.assert_array_equal(alone.potentials[:, 0], layer.potentials[:, clip])


def test_each_clip_starts_from_zero_state() -> None:
    network, frames = _driven(Golden([2, 0], [], []))
    twice = np.concatenate([frames, frames], axis=1)
    trace = reference.run(network, twice, potentials=True).layers["n"]
    assert trace.potentials is not None
    assert trace.potentials[:, :, 0, 0, 0].tolist() == [[2, 2], [2, 2]]
    assert trace.spikes == 0


def test_without_events_only_biases_fire() -> None:
    network, frames = _random_network()
    silent = reference.run(network, np.zeros_like(frames))
    assert all((layer.raster == layer.raster[:, :1]).all() for layer in silent.layers.values())
    assert silent.spikes > 0
    ops = [replace(la.op, bias=None) if isinstance(la.op, Conv2d) else la.op for la in network]
    without = tuple(Layer(la.name, op) for la, op in zip(network, ops, strict=True))
    assert reference.run(Network(network.input, without, 2), np.zeros_like(frames)).spikes == 0


def test_permuting_channels_permutes_spikes() -> None:
    network, frames = _random_network()
    order = np.array([2, 0, 1])
    conv, dense = network["c"].op, network["d"].op
    assert isinstance(conv, Conv2d)
    assert isinstance(dense, Dense)
    assert conv.bias is not None
    columns = dense.weight.reshape(4, 3, 4)[:, order].reshape(4, 12)
    changed: dict[str, Op] = {
        "c": Conv2d(conv.weight[order], conv.bias[order], padding=conv.padding),
        "d": Dense(columns),
    }
    other = Network(network.input, tuple(Layer(la.name, changed.get(la.name, la.op)) for la in network), 2)
    one, two = reference.run(network, frames), reference.run(other, frames)
    np.testing.assert_array_equal(one.layers["n"].raster[:, :, order], two.layers["n"].raster)
    np.testing.assert_array_equal(one.layers["o"].raster, two.layers["o"].raster)
    assert min(layer.spikes for layer in one.layers.values()) > 50


@pytest.mark.parametrize("shape", [(5, 2, 5, 5), (7, 6, 2, 5, 4), (7, 6, 5, 5, 2), (7, 6, 1, 5, 5)])
def test_frames_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    network, _ = _random_network()
    with pytest.raises(NetworkError, match=r"do not fit the network's input \(T, N, \*\(2, 5, 5\)\)"):
        reference.run(network, np.zeros(shape, int))


def test_more_events_than_the_network_was_made_for_are_refused() -> None:
    network, frames = _random_network()
    bounded = Network(InputSpec((2, 5, 5), 1000, 7, int(frames.max())), network.layers, 2)
    assert reference.run(bounded, frames).spikes == reference.run(network, frames).spikes > 0
    frames[3, 2, 1, 4, 4] = frames.max() + 1
    with pytest.raises(NetworkError, match="events of one input, the network was made for at most"):
        reference.run(bounded, frames)


# ---- operations against scalar loops ----------------------------------------------------------------------------


def _loop_conv(op: Conv2d, x: np.ndarray) -> np.ndarray:
    """Every output position and tap, one at a time, straight from the definition."""
    shape = op.output_shape(x.shape[1:])
    y = np.zeros((len(x), *shape), x.dtype)
    c_out, c_in, height, width = op.weight.shape
    for n, o, row, column in itertools.product(range(len(x)), *map(range, shape)):
        total = 0 if op.bias is None else op.bias[o]
        first = o // (c_out // op.groups) * c_in
        for c, ky, kx in itertools.product(range(c_in), range(height), range(width)):
            at = row * op.stride[0] - op.padding[0] + ky * op.dilation[0]
            across = column * op.stride[1] - op.padding[1] + kx * op.dilation[1]
            if 0 <= at < x.shape[2] and 0 <= across < x.shape[3]:
                total += op.weight[o, c, ky, kx] * x[n, first + c, at, across]
        y[n, o, row, column] = total
    return y


@pytest.mark.parametrize("seed", range(24))
def test_convolution_equals_a_loop_over_positions_and_taps(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = int(rng.choice([1, 1, 2, 3]))
    c_in, c_out = int(rng.integers(1, 3)), groups * int(rng.integers(1, 3))
    kernel, stride, padding, dilation = (
        (int(rng.integers(low, high)), int(rng.integers(low, high))) for low, high in ((1, 5), (1, 4), (0, 4), (1, 3))
    )
    bias = rng.integers(-9, 9, c_out) if seed % 2 else None
    op = Conv2d(rng.integers(-9, 10, (c_out, c_in, *kernel)), bias, stride, padding, dilation, groups)
    reach = [(k - 1) * d + 1 - 2 * p for k, d, p in zip(kernel, dilation, padding, strict=True)]
    sides = [max(1, least) + int(rng.integers(2, 6)) for least in reach]
    x = rng.integers(0, 4, (2, c_in * groups, *sides))
    expected = _loop_conv(op, x)
    np.testing.assert_array_equal(apply(op, x), expected)
    assert apply(op, x).dtype == np.int64
    assert np.count_nonzero(expected) > 0


def test_pools_drop_the_rest_and_differ_by_their_area() -> None:
    x = np.arange(2 * 5 * 7).reshape(1, 2, 5, 7)
    expected = np.array(
        [[x[0, c, 2 * i : 2 * i + 2, 3 * j : 3 * j + 3].sum() for j in range(2)] for c in range(2) for i in range(2)]
    ).reshape(1, 2, 2, 2)
    np.testing.assert_array_equal(apply(SumPool2d((2, 3)), x), expected)
    np.testing.assert_array_equal(apply(AvgPool2d((2, 3)), x), expected / 6)


def test_dense_flattens_in_c_h_w_order() -> None:
    x = np.arange(12).reshape(1, 2, 3, 2)
    weight = np.zeros((2, 12), int)
    weight[0, 1], weight[1, 6] = 1, 10  # (0, 0, 1) and (1, 0, 0)
    np.testing.assert_array_equal(apply(Dense(weight, np.array([100, 200])), x)[0, :, 0, 0], [101, 260])


def test_batch_norm_and_gate_by_hand() -> None:
    norm = BatchNorm(np.array([2.0, -1]), np.array([0.5, 0]), np.array([1.0, 3]), np.array([8.0, 0]), 1.0)
    x = np.array([4.0, 5.0]).reshape(1, 2, 1, 1)
    # 2 * (4 - 1) / sqrt(8 + 1) + 0.5 = 2.5;  -(5 - 3) / sqrt(0 + 1) = -2
    np.testing.assert_allclose(apply(norm, x).ravel(), [2.5, -2.0], rtol=1e-15)
    np.testing.assert_array_equal(apply(Gate(np.array([0.5, 3])), x).ravel(), [2.0, 15.0])


def test_layers_with_several_inputs_add_them_up() -> None:
    layers = (
        Layer("a", SumPool2d((1, 1))),
        Layer("n", Neuron(np.array(1))),
        Layer("m", Neuron(np.array(3)), ("input", "a", "n")),
    )
    network = Network(InputSpec((1, 1, 3), 1000, 1), layers, 1)
    trace = reference.run(network, np.array([0, 1, 2]).reshape(1, 1, 1, 1, 3), potentials=True)
    assert trace.layers["m"].raster.ravel().tolist() == [0, 1, 1]
    assert trace.layers["m"].v_range == (0, 5)
