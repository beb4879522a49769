# SPDX-License-Identifier: Apache-2.0
"""When a layer runs by its events: where that is exact, where it is cheaper, and what it reads there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Fire, Leak, Neuron, Overflow, Reset
from spikefold.export.ops import Concat, Conv2d, Dense, MaxPool2d, SumPool2d
from spikefold.hardware.simulators import clocked, reference
from spikefold.hardware.simulators import sparse as clocked_sparse

IF = Neuron(np.array(5))


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The weight layers' operations that ran by their events, in order."""
    found: list[Any] = []
    run = clocked_sparse.run_block

    def noted(block: Any, *given: Any, **options: Any) -> object:
        found.append(block.op)
        return run(block, *given, **options)

    monkeypatch.setattr(clocked_sparse, "run_block", noted)
    return found


def _compared(network: Network, frames: np.ndarray) -> None:
    one, two = (engine.run(network, frames, potentials=True) for engine in (reference, clocked))
    assert list(one.layers) == list(two.layers)
    for name, ours in one.layers.items():
        theirs = two.layers[name]
        assert ours.spikes > 0, name
        np.testing.assert_array_equal(ours.raster, theirs.raster, err_msg=name)
        np.testing.assert_array_equal(ours.potentials, theirs.potentials, err_msg=name)
        assert (ours.v_range, ours.overflow) == (theirs.v_range, theirs.overflow), name


def _one(weight: list[int], steps: int = 2, bias: int | None = None, **options: Any) -> Network:
    layers = (
        Layer("w", Dense(np.array([weight]), None if bias is None else np.array([bias]))),
        Layer("n", Neuron(**({"threshold": np.array(5)} | options))),
    )
    return Network(InputSpec((len(weight), 1, 1), 1000, steps), layers, 1)


def test_quiet_layers_run_by_events_and_busy_ones_dense(ran: list[Any]) -> None:
    rng = np.random.default_rng(0)
    # a bias of the threshold makes the neurons behind the quiet layer fire nearly always
    quiet, busy = (
        Conv2d(rng.integers(-1, 4, (4, 2, 3, 3)), np.ones(4, int)),
        Conv2d(rng.integers(-9, 12, (64, 4, 5, 5))),
    )
    layers = (Layer("a", quiet), Layer("n", Neuron(np.array(1))), Layer("b", busy), Layer("o", Neuron(np.array(40))))
    network = Network(InputSpec((2, 24, 24), 1000, 6), layers, 1)
    frames = (rng.random((6, 16, 2, 24, 24)) < 0.15).astype(int)
    _compared(network, frames)
    assert ran == [quiet]


@pytest.mark.parametrize(
    ("shape", "op"),
    [
        ((2, 34, 34), Conv2d(np.ones((16, 2, 3, 3), int), None, (2, 2), (1, 1))),
        ((16, 17, 17), Conv2d(np.ones((32, 16, 3, 3), int), None, (2, 2), (1, 1))),
        ((64, 8, 8), Conv2d(np.ones((64, 64, 3, 3), int), None, (1, 1), (1, 1))),
        ((512, 1, 1), Dense(np.ones((256, 512), int))),
    ],
    ids=["first", "second", "wide", "dense layer"],
)
def test_the_rule_turns_once_as_activity_grows(shape: tuple[int, int, int], op: Conv2d | Dense) -> None:
    inputs, outputs = int(np.prod(shape)) * 2000, op.output_shape(shape)
    answers = [clocked_sparse.is_cheaper(op, shape, outputs, inputs * share // 100, 20, 100) for share in range(101)]
    assert answers[:6] == [True] * 6
    assert answers == sorted(answers, reverse=True)
    if op.weight[0].size * len(op.weight) > 1000:
        assert not answers[-1]


def test_one_clip_alone_runs_by_events_where_many_would_not() -> None:
    op, shape = Conv2d(np.ones((64, 64, 3, 3), int), None, (1, 1), (1, 1)), (64, 8, 8)
    outputs = op.output_shape(shape)
    assert clocked_sparse.is_cheaper(op, shape, outputs, 500 * 20, 20, 1)
    assert not clocked_sparse.is_cheaper(op, shape, outputs, 2000 * 20 * 100, 20, 100)


# ---- proven bounds ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("network", "count"),
    [
        # the highest state of two steps is two sums: 2 * w * count, below 2^31 - 1
        (_one([2**30 - 2, 1], threshold=np.array(2**30)), 1),
        (_one([3, 1], threshold=np.array(2**31 - 2)), 1),
        (_one([1, 0], threshold=np.array(3), max_spikes=None, reset=Reset.SUBTRACT), 2**16 - 1),
        (_one([2**9, 0], threshold=np.array(1), max_spikes=2**16 - 1, reset=Reset.SUBTRACT), 1),
        (_one([1, 0], threshold=np.array(1), leak=Leak(1, 20)), 1),
        (_one([1, 0], threshold=np.array(1), reset=Reset.VALUE, reset_value=float(4 - 2**31)), 1),
    ],
    ids=["sum", "threshold", "count", "spikes", "leak", "reset value"],
)
def test_the_bound_is_where_it_says(network: Network, count: int, ran: list[Any]) -> None:
    op, neuron = (layer.op for layer in network)
    assert isinstance(op, Dense)
    assert isinstance(neuron, Neuron)
    assert clocked_sparse.is_exact(op, neuron, count, 2)
    frames = np.array([[count, count], [count, 0]]).reshape(2, 1, 2, 1, 1)
    one, two = (engine.run(network, frames, potentials=True) for engine in (reference, clocked))
    np.testing.assert_array_equal(one.layers["n"].potentials, two.layers["n"].potentials)
    np.testing.assert_array_equal(one.layers["n"].raster, two.layers["n"].raster)
    assert one.layers["n"].v_range == two.layers["n"].v_range
    assert ran == [op]


@pytest.mark.parametrize(
    ("network", "count"),
    [
        (_one([2**30 - 1, -1], threshold=np.array(2**30)), 1),
        (_one([3, 1], threshold=np.array(2**31 - 1)), 1),
        (_one([1, 0], threshold=np.array(3)), 2**16),
        (_one([2**16 - 1, 0], threshold=np.array(1), max_spikes=2**16), 1),
        (_one([2**15, 2**15 - 1], threshold=np.array(1), max_spikes=None), 1),
        (_one([1, 0], leak=Leak(1, 21)), 1),
        (_one([1, 0], current=Leak(1, 21)), 1),
        (_one([1, 0], threshold=np.array(1), reset=Reset.VALUE, reset_value=float(3 - 2**31)), 1),
        (_one([2**23, 0], state_shift=7), 1),
        (_one([1, 0], bias=2**30), 1),
        (_one([2**28, 0], steps=9, current=Leak(1), state_bits=24, overflow=Overflow.SATURATE), 1),
    ],
    ids=["sum", "theta", "count", "spikes", "any", "leak", "current", "reset", "shift", "bias", "adds"],
)
def test_beyond_the_bound_the_dense_engine_runs(network: Network, count: int, ran: list[Any]) -> None:
    op, neuron = (layer.op for layer in network)
    assert isinstance(op, Dense)
    assert isinstance(neuron, Neuron)
    assert not clocked_sparse.is_exact(op, neuron, count, network.input.steps)
    frames = np.full((network.input.steps, 1, 2, 1, 1), count)
    one, two = (engine.run(network, frames, potentials=True) for engine in (reference, clocked))
    np.testing.assert_array_equal(one.layers["n"].potentials, two.layers["n"].potentials)
    np.testing.assert_array_equal(one.layers["n"].raster, two.layers["n"].raster)
    assert not ran


def test_a_width_holds_states_of_any_length_of_clip() -> None:
    op, held = Dense(np.array([[2**22]])), {"state_bits": 24, "overflow": Overflow.SATURATE}
    assert clocked_sparse.is_exact(op, Neuron(np.array(2**22), **held), 1, 10**6)  # type: ignore[arg-type]
    assert not clocked_sparse.is_exact(op, Neuron(np.array(2**22)), 1, 10**6)
    assert not clocked_sparse.is_exact(op, Neuron(np.array(2**22), state_bits=24), 1, 10**6)


# ---- what a layer reads -------------------------------------------------------------------------------------------


def test_every_kind_of_input_and_reader(ran: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Pools, a concatenation, a sum of two, a layer read twice, sums below 0: by events where it may be."""
    monkeypatch.setattr(clocked_sparse, "is_cheaper", lambda *_: True)
    rng = np.random.default_rng(4)

    def conv(c_out: int, c_in: int, groups: int = 1) -> Conv2d:
        return Conv2d(
            rng.integers(-2, 5, (c_out, c_in // groups, 3, 3)),
            rng.integers(0, 3, c_out),
            (1, 1),
            (1, 1),
            (1, 1),
            groups,
        )

    many = Neuron(np.array(9), fire=Fire.GT, reset=Reset.SUBTRACT, max_spikes=None, leak=Leak(7, 3))
    ops: list[Conv2d | Dense] = [
        conv(4, 2),
        conv(4, 4, 2),
        conv(3, 4),
        conv(2, 7),
        conv(2, 2),
        conv(3, 4),
        Dense(rng.integers(-2, 4, (4, 27))),
    ]
    layers = (
        Layer("w1", ops[0]), Layer("n1", many), Layer("w2", ops[1]), Layer("n2", IF, ("w2",)),
        Layer("w3", ops[2], ("n1", "n2")), Layer("n3", IF),
        Layer("both", Concat(), ("n3", "n2")), Layer("w4", ops[3]), Layer("n4", many),
        Layer("twice", ops[4]), Layer("n5", IF, ("twice",)), Layer("n6", many, ("twice",)),
        Layer("most", MaxPool2d((2, 2)), ("n6",)), Layer("all", SumPool2d((2, 2)), ("n5",)),
        Layer("side", Concat(), ("most", "all")), Layer("signed", ops[5]), Layer("sum", Neuron(np.array(3))),
        Layer("fc", ops[6]), Layer("out", IF),
    )  # fmt: skip
    network = Network(InputSpec((2, 6, 6), 1000, 5), layers, 2)
    _compared(network, rng.poisson(0.4, (5, 4, 2, 6, 6)))
    assert ran == [op for op in ops if op is not ops[4]]  # what two layers read is computed once, dense


def test_values_below_0_are_no_events(ran: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clocked_sparse, "is_cheaper", lambda *_: True)
    layers = (
        Layer("signed", Dense(np.array([[1, -2], [-1, 3]]))),
        Layer("w", Dense(np.array([[4, 3], [2, 1]]))),
        Layer("n", Neuron(np.array(3))),
    )
    frames = np.array([[[1, 0], [0, 1]], [[1, 1], [2, 1]]]).reshape(2, 2, 2, 1, 1)
    _compared(Network(InputSpec((2, 1, 1), 1000, 2), layers, 1), frames)
    assert not ran


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int16, np.int64, np.uint64, np.float32])
def test_frames_of_any_type_are_read(dtype: Any, ran: list[Any]) -> None:
    rng = np.random.default_rng(2)
    layers = (Layer("w", Conv2d(rng.integers(-2, 5, (3, 2, 3, 3)))), Layer("n", IF))
    frames = (rng.random((4, 3, 2, 8, 8)) < 0.2).astype(dtype)
    _compared(Network(InputSpec((2, 8, 8), 1000, 4), layers, 1), frames)
    assert len(ran) == 1


def test_frames_in_any_order_of_memory_are_read(ran: list[Any]) -> None:
    rng = np.random.default_rng(3)
    layers = (Layer("w", Conv2d(rng.integers(-2, 5, (3, 2, 3, 3)))), Layer("n", IF))
    frames = (rng.random((2, 8, 8, 3, 4)) < 0.2).astype(np.uint16).transpose(4, 3, 0, 2, 1)
    _compared(Network(InputSpec((2, 8, 8), 1000, 4), layers, 1), frames)
    assert len(ran) == 1
