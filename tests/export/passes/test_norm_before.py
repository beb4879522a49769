# SPDX-License-Identifier: Apache-2.0
"""Batch norm before weights, and means of spikes: into the weights that read them, spike for spike, or refused."""

from __future__ import annotations

from itertools import permutations, product
from typing import Any

import numpy as np
import pytest

from spikefold.errors import UnsupportedError
from spikefold.export.network import InputSpec, Layer, Network, Op
from spikefold.export.neuron import Neuron
from spikefold.export.ops import AvgPool2d, BatchNorm, Concat, Conv2d, Dense, Gate, MaxPool2d, SumPool2d
from spikefold.export.passes.fold import FOLDS, fold
from spikefold.export.passes.fold_batchnorm_before import fold_batchnorm_before
from spikefold.export.passes.fold_spike_pooling import fold_spike_pooling
from spikefold.export.passes.norms_first import norms_first
from spikefold.hardware.simulators import reference
from spikefold.hardware.simulators.flips import flips
from tests.norms import batch_norm

ONE = Neuron(np.array(1.0))


def _norm(rng: np.random.Generator, channels: int, *, shifted: bool = True) -> BatchNorm:
    var = rng.choice([1e-6, 0.3, 2.0], channels)
    gamma = rng.uniform(0.4, 1.2, channels) * np.sqrt(var + 1e-5)
    beta, mean = (
        (rng.normal(0.1, 0.1, channels), rng.normal(0, 0.1, channels)) if shifted else np.zeros((2, channels))
    )
    return BatchNorm(gamma, beta, mean, var, 1e-5)


def _network(*ops: Op, shape: tuple[int, int, int] = (2, 7, 6), seed: int = 0) -> tuple[Network, np.ndarray]:
    layers = tuple(Layer(f"{type(op).__name__.lower()}{i}", op) for i, op in enumerate(ops))
    frames = np.random.default_rng(seed).poisson(0.7, (6, 4, *shape))
    return Network(InputSpec(shape, 1000, 6, int(frames.max())), layers, 1), frames


def _same(before: Network, after: Network, frames: np.ndarray) -> int:
    """No flip at all on these inputs, and spikes in every layer (`flips` refuses silence)."""
    report = flips(before, after, frames)
    assert (report.roots, report.consequences, report.layers) == ((), 0, len(before.neurons))
    return report.spikes


def _issues(call: Any, network: Network) -> dict[str, str]:
    with pytest.raises(UnsupportedError) as caught:
        call(network)
    assert all(issue.hint and issue.where in str(caught.value) for issue in caught.value.issues)
    return {issue.where: issue.got for issue in caught.value.issues}


# ---- batch norm before weights ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("groups", "shifted", "bias"), [*product([1, 2], [True, False], [True, False])])
def test_batch_norm_on_the_input_and_on_spikes_folds_forward(groups: int, shifted: bool, bias: bool) -> None:
    rng = np.random.default_rng(groups)
    pads = (0, 0) if shifted else (1, 2)
    biases = rng.normal(0, 0.1, 4) if bias else None
    first = Conv2d(rng.normal(0.1, 0.4, (4, 2 // groups, 3, 2)), biases, (1, 1), pads, (1, 2), groups)
    second = Conv2d(rng.normal(0.1, 0.4, (4, 4 // groups, 2, 2)), None, (2, 1), pads, groups=groups)
    before: list[Op] = [_norm(rng, 2, shifted=shifted), first, ONE, _norm(rng, 4, shifted=shifted), second, ONE]
    network, frames = _network(*before, seed=groups)
    inputs = int(np.prod(network.shapes["neuron5"]))
    bias_out = rng.normal(0, 0.1, 5) if bias else None
    tail: list[Op] = [_norm(rng, 4), Dense(rng.normal(0.1, 0.4, (5, inputs)), bias_out), Neuron(np.array(0.7))]
    network, frames = _network(*before, *tail, seed=groups)
    folded = fold_batchnorm_before(network)
    assert [type(layer.op) for layer in folded] == [Conv2d, Neuron, Conv2d, Neuron, Dense, Neuron]
    assert folded.history == ("fold_batchnorm_before",)
    assert _same(network, folded, frames) > 300
    assert fold_batchnorm_before(folded) is folded
    # without a shift there is nothing to add, and no bias is invented
    assert (folded["conv2d4"].op.bias is None) == (not shifted)


def test_the_numbers_of_the_equation() -> None:
    norm = BatchNorm(np.array([2.0, 3]), np.array([1.0, 0]), np.array([0.5, 4]), np.array([3.75, 0]), 0.25)
    dense = Dense(np.array([[1.0, 2, 3, 4], [5, 6, 7, 8]]), np.array([10.0, 20]))
    network, _ = _network(norm, dense, ONE, shape=(2, 1, 2))
    op = fold_batchnorm_before(network)["dense1"].op
    assert isinstance(op, Dense)
    # s = 2/2, 3/0.5;  t = 1 - 1*0.5, 0 - 6*4;  columns in C, H, W order
    np.testing.assert_array_equal(op.weight, [[1, 2, 18, 24], [5, 6, 42, 48]])
    np.testing.assert_array_equal(op.bias, [10 + 0.5 * 3 - 24 * 7, 20 + 0.5 * 11 - 24 * 15])


@pytest.mark.parametrize("pool", [AvgPool2d((2, 3)), SumPool2d((2, 3))])
def test_batch_norm_folds_through_a_pool(pool: AvgPool2d | SumPool2d) -> None:
    rng = np.random.default_rng(3)
    area = 1 if isinstance(pool, AvgPool2d) else 6
    conv = Conv2d(rng.normal(0.3, 0.5, (3, 2, 2, 2)) / area)
    network, frames = _network(_norm(rng, 2), pool, conv, Neuron(np.array(0.6)), shape=(2, 9, 10))
    assert _same(network, fold_batchnorm_before(network), frames) > 50


def test_two_batch_norms_and_two_readers() -> None:
    rng = np.random.default_rng(4)
    layers = (
        Layer("b1", _norm(rng, 2)),
        Layer("b2", _norm(rng, 2)),
        Layer("c1", Conv2d(rng.normal(0.2, 0.4, (3, 2, 3, 3))), ("b2",)),
        Layer("c2", Conv2d(rng.normal(0.2, 0.4, (3, 2, 3, 3))), ("b2",)),
        Layer("n1", ONE, ("c1",)),
        Layer("n2", ONE, ("c2",)),
        Layer("d", Dense(rng.normal(0.1, 0.3, (4, 60))), ("n1", "n2")),
        Layer("o", ONE),
    )
    frames = rng.poisson(0.6, (6, 4, 2, 7, 6))
    network = Network(InputSpec((2, 7, 6), 1000, 6), layers, 1)
    folded = fold_batchnorm_before(network)
    assert [layer.name for layer in folded] == ["c1", "c2", "n1", "n2", "d", "o"]
    assert folded["c1"].inputs == folded["c2"].inputs == ("input",)
    assert _same(network, folded, frames) > 200


def test_a_shift_before_padding_is_refused_and_folding_it_anyway_would_be_seen() -> None:
    rng = np.random.default_rng(5)
    norm, conv = _norm(rng, 2), Conv2d(rng.normal(0.2, 0.4, (3, 2, 3, 3)), padding=(1, 1))
    network, frames = _network(norm, conv, ONE)
    found = _issues(fold_batchnorm_before, network)
    assert list(found) == ["batchnorm0"]
    assert "shift 0." in found["batchnorm0"]
    assert "conv2d1 pads (1, 1)" in found["batchnorm0"]
    careless = fold_batchnorm_before(_network(norm, Conv2d(conv.weight), ONE)[0])["conv2d1"].op
    assert isinstance(careless, Conv2d)
    wrong = Network(
        network.input, (Layer("c", Conv2d(careless.weight, careless.bias, padding=(1, 1))), Layer("neuron2", ONE)), 1
    )
    one, two = (reference.run(net, frames).layers["neuron2"].raster for net in (network, wrong))
    assert int((one != two).sum()) > 20
    np.testing.assert_array_equal(one[..., 1:-1, 1:-1], two[..., 1:-1, 1:-1])


def test_every_batch_norm_without_a_way_forward_is_named_and_those_behind_weights_are_left_alone() -> None:
    rng = np.random.default_rng(0)
    conv, norm = Conv2d(rng.normal(size=(2, 2, 1, 1))), _norm(rng, 2)
    layers = (
        Layer("on spikes", norm), Layer("n0", ONE),
        Layer("c", conv), Layer("mine not", norm), Layer("n1", ONE),
        Layer("max", norm), Layer("m", MaxPool2d((1, 1))), Layer("c1", conv), Layer("n2", ONE),
        Layer("half", norm), Layer("c2", conv, ("half", "n1")), Layer("n3", ONE),
        Layer("good", norm), Layer("c3", conv), Layer("o", ONE),
    )  # fmt: skip
    network = Network(InputSpec((2, 3, 3), 1000, 1), layers, 1)
    found = _issues(fold_batchnorm_before, network)
    assert list(found) == ["on spikes", "max", "half"]
    assert found["on spikes"] == "n0 (Neuron) reads it"
    assert found["half"] == "c2 reads ['half', 'n1']"
    left, _ = _network(conv, AvgPool2d((1, 1)), Gate(np.ones(2)), norm, ONE)
    assert fold_batchnorm_before(left) is left


# ---- means of spikes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("window", [(2, 2), (3, 2), (1, 3)])
def test_means_of_spikes_and_of_the_input_become_sums(window: tuple[int, int]) -> None:
    rng = np.random.default_rng(window[0])
    ops: list[Op] = [
        AvgPool2d((1, 2)),
        Conv2d(rng.normal(0.4, 0.5, (4, 1, 2, 2)), groups=2),
        Neuron(np.array(0.8)),
        AvgPool2d(window),
        Gate(np.array([0.5, 0.75, 1, 2])),
        MaxPool2d((1, 1)),
        AvgPool2d((2, 1)),
        SumPool2d((1, 2)),
    ]
    network, frames = _network(*ops, ONE, shape=(2, 14, 26))
    inputs = int(np.prod(network.shapes["sumpool2d7"]))
    network, frames = _network(
        *ops, Dense(rng.normal(0.3, 0.6, (5, inputs))), Neuron(np.array(0.5)), shape=(2, 14, 26)
    )
    folded = fold_spike_pooling(network)
    assert not any(isinstance(layer.op, AvgPool2d) for layer in folded)
    assert folded.history == ("fold_spike_pooling",)
    assert [layer.name for layer in folded] == [layer.name for layer in network]
    before, after = network["dense8"].op, folded["dense8"].op
    np.testing.assert_array_equal(after.weight, before.weight / (2 * window[0] * window[1]))
    np.testing.assert_array_equal(folded["conv2d1"].op.weight, network["conv2d1"].op.weight / 2)
    assert _same(network, folded, frames) > 200
    assert fold_spike_pooling(folded) is folded


def test_a_mean_that_reaches_a_layer_beside_others_has_the_same_area_or_is_refused() -> None:
    conv = Conv2d(np.full((2, 2, 1, 1), 0.3))

    def layers(kernel: tuple[int, int], join: str) -> tuple[Layer, ...]:
        together = (
            (Layer("join", Concat(), ("p1", "p2")), Layer("d", Dense(np.full((2, 36), 0.2))))
            if join
            else (Layer("d", Dense(np.full((2, 18), 0.2)), ("p1", "p2")),)
        )
        return (
            Layer("c1", conv, ("input",)),
            Layer("n1", Neuron(np.array(0.4)), ("c1",)),
            Layer("p1", AvgPool2d((2, 2)), ("n1",)),
            Layer("p2", AvgPool2d((2, 2)) if kernel == (2, 2) else SumPool2d((2, 2)), ("n1",)),
            *together,
            Layer("o", ONE),
        )

    frames = np.random.default_rng(0).poisson(0.5, (6, 4, 2, 6, 6))
    for kernel, join in (((2, 2), ""), ((2, 2), "side by side"), ((1, 1), "side by side")):
        network = Network(InputSpec((2, 6, 6), 1000, 6), layers(kernel, join), 1)
        assert _same(network, fold_spike_pooling(network), frames) > 100
    network = Network(InputSpec((2, 6, 6), 1000, 6), layers((1, 1), ""), 1)
    assert "pooled over different areas" in _issues(fold_spike_pooling, network)["d"]


def test_every_reader_that_cannot_take_the_factor_is_named() -> None:
    conv = Conv2d(np.ones((2, 2, 1, 1)))
    layers = (
        Layer("p0", AvgPool2d((2, 1))),
        Layer("direct", ONE),
        Layer("p1", AvgPool2d((1, 2))),
        Layer("norm", batch_norm(np.ones((4, 2)))),
        Layer("c1", conv),
        Layer("behind weights", AvgPool2d((1, 1))),
        Layer("n1", ONE),
        Layer("p2", AvgPool2d((1, 2)), ("direct",)),
        Layer("beside", ONE, ("c1", "p2")),
        Layer("c2", conv),
        Layer("o", ONE),
    )
    network = Network(InputSpec((2, 4, 4), 1000, 1), layers, 1)
    found = _issues(fold_spike_pooling, network)
    assert list(found) == ["direct", "norm", "beside"]
    assert found["direct"] == "a spiking layer that reads a mean of spikes"
    assert "means of spikes beside the output of weights" in found["beside"]


# ---- all folds --------------------------------------------------------------------------------------------------


def test_fold_removes_all_of_it_in_one_order() -> None:
    rng = np.random.default_rng(9)
    network, frames = _network(
        _norm(rng, 2), AvgPool2d((2, 1)), Conv2d(rng.normal(0.2, 0.5, (3, 2, 3, 3))), _norm(rng, 3),
        AvgPool2d((2, 2)), Gate(rng.uniform(0.5, 1, 3)), Neuron(np.array(0.6)), AvgPool2d((2, 2)), _norm(rng, 3),
        Dense(rng.normal(0.2, 0.6, (4, 3 * 2 * 3))), _norm(rng, 4), Neuron(np.array(0.6)), shape=(2, 20, 14),
    )  # fmt: skip
    folded = fold(network)
    assert [type(layer.op) for layer in folded] == [SumPool2d, Conv2d, Neuron, SumPool2d, Dense, Neuron]
    # everything was in order already
    assert folded.history == tuple(step.__name__ for step in FOLDS if step is not norms_first)
    assert _same(network, folded, frames) > 200
    assert fold(folded) is folded


@pytest.mark.parametrize("order", list(permutations("npg")), ids="".join)
@pytest.mark.parametrize("zero", [False, True])
def test_batch_norm_pool_and_gate_fold_from_any_order(order: tuple[str, ...], zero: bool) -> None:
    rng = np.random.default_rng(1)
    factors = rng.uniform(0.4, 1.2, 3) * [1, 1, 0 if zero else 1]
    kinds: dict[str, Op] = {"n": _norm(rng, 3), "p": AvgPool2d((2, 2)), "g": Gate(factors)}
    conv = Conv2d(rng.normal(0.2, 0.5, (3, 2, 3, 3)), rng.normal(0, 0.1, 3), padding=(1, 1))
    network, frames = _network(conv, *(kinds[kind] for kind in order), Neuron(np.array(0.5)), shape=(2, 9, 8))
    ordered = norms_first(network)
    between = [type(layer.op) for layer in ordered][1:-1]
    # a gate before the batch norm goes into it
    absorbed = order.index("g") < order.index("n")
    assert between == [BatchNorm, AvgPool2d] if absorbed else [BatchNorm, AvgPool2d, Gate]
    assert _same(network, ordered, frames) > 100
    assert norms_first(ordered) is ordered
    folded = fold(network)
    assert [type(layer.op) for layer in folded] == [Conv2d, Neuron]
    assert _same(network, folded, frames) > 100


def test_what_has_other_readers_or_a_factor_a_neuron_stays_where_it_is() -> None:
    rng = np.random.default_rng(2)
    conv, norm, gate = Conv2d(rng.normal(size=(2, 2, 1, 1))), _norm(rng, 2), Gate(rng.uniform(0.5, 1, (2, 3, 3)))
    layers = (
        Layer("p", AvgPool2d((1, 1))),
        Layer("b", norm),
        Layer("c", conv),
        Layer("g", gate),
        Layer("b2", norm),
        Layer("n", ONE),
        Layer("c2", conv),
        Layer("p2", AvgPool2d((1, 1))),
        Layer("b3", norm),
        Layer("o", ONE, ("b3", "p2")),
    )
    network = Network(InputSpec((2, 3, 3), 1000, 1), layers, 1)
    assert norms_first(network) is network
