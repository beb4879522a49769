# SPDX-License-Identifier: Apache-2.0
"""The folding passes: the same spikes before and after, on random networks; what cannot be folded is refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikefold.errors import UnsupportedError
from spikefold.export.network import InputSpec, Layer, Network, Op
from spikefold.export.neuron import Leak, Neuron, Order, Reset
from spikefold.export.ops import AvgPool2d, BatchNorm, Conv2d, Dense, Gate, SumPool2d
from spikefold.export.passes.fold_attention import fold_attention
from spikefold.export.passes.fold_batchnorm import fold_batchnorm
from spikefold.export.passes.fold_pooling import fold_pooling
from spikefold.hardware.simulators import reference
from spikefold.hardware.simulators.reference import apply

Pass = Callable[[Network], Network]
EXAMPLES = 120
PASSES = {
    "batchnorm": (fold_batchnorm, BatchNorm),
    "attention": (fold_attention, Gate),
    "pooling": (fold_pooling, AvgPool2d),
}


def _norm(rng: np.random.Generator, channels: int) -> BatchNorm:
    # variances down to far below eps: there, forgetting eps would change the scale by many times
    var = rng.choice([1e-6, 1e-4, 0.3, 2.0], channels)
    gamma = rng.uniform(0.2, 1.0, channels) * np.sqrt(var + 1e-5)
    return BatchNorm(gamma, rng.normal(0.1, 0.2, channels), rng.normal(0, 0.1, channels), var, 1e-5)


def _neuron(rng: np.random.Generator) -> Neuron:
    leak = None if rng.random() < 0.5 else Leak(float(rng.uniform(0.3, 1)))
    return Neuron(
        np.array(float(rng.uniform(0.2, 0.9))), reset=Reset(str(rng.choice(["zero", "subtract"]))), leak=leak
    )


@st.composite
def networks(draw: st.DrawFn) -> tuple[Network, np.ndarray]:
    """One or two blocks of conv, norm, pool, gate, neuron and a gated, normed dense layer; random geometry."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    spec = InputSpec((2, draw(st.integers(6, 11)), draw(st.integers(6, 11))), 1000, 4)
    layers: list[Layer] = []
    shape = spec.shape

    def add(name: str, op: Any) -> None:
        nonlocal shape
        layers.append(Layer(name, op))
        shape = op.output_shape(shape)

    for number in range(draw(st.integers(1, 2))):
        groups = draw(st.sampled_from([1, 2]))
        sides = shape[1:]
        padding = draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
        dilation = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
        kernel = tuple(
            draw(st.integers(1, min(4, (n + 2 * p - 1) // d + 1)))
            for n, p, d in zip(sides, padding, dilation, strict=True)
        )
        weight = rng.normal(0.1, 0.8, (4, shape[0] // groups, *kernel)) / np.sqrt(np.prod(kernel))
        bias = rng.normal(0, 0.1, 4) if draw(st.booleans()) else None
        stride = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
        add(f"conv{number}", Conv2d(weight, bias, stride, padding, dilation, groups))
        add(f"bn{number}", _norm(rng, 4))
        if draw(st.booleans()):
            add(f"gate{number}", Gate(rng.uniform(0.4, 1.5, 4)))
        if draw(st.integers(0, 3)):
            add(f"pool{number}", AvgPool2d(tuple(draw(st.integers(1, min(3, n))) for n in shape[1:])))  # type: ignore[arg-type]
        add(f"sn{number}", _neuron(rng))
    inputs = int(np.prod(shape))
    add("fc", Dense(rng.normal(0.2, 1, (6, inputs)) / np.sqrt(inputs)))
    add("bn", _norm(rng, 6))
    add("gate", Gate(rng.uniform(0.4, 1.5, 6)))
    add("out", _neuron(rng))
    return Network(spec, tuple(layers), 2), rng.poisson(0.7, (4, 3, *spec.shape))


def _currents(network: Network, inputs: np.ndarray) -> np.ndarray:
    """What reaches the first neuron for one batch of inputs."""
    values = {"input": inputs.astype(float)}
    for layer in network:
        x = values[layer.inputs[0]]
        if isinstance(layer.op, Neuron):
            return x
        values[layer.name] = apply(layer.op, x)
    raise AssertionError


def _same(before: Network, after: Network, frames: np.ndarray) -> Counter[str]:
    """Equal currents to 1e-12, equal spikes; how much was compared."""
    one, two = reference.run(before, frames, potentials=True), reference.run(after, frames, potentials=True)
    assert list(one.layers) == list(two.layers)
    np.testing.assert_allclose(_currents(after, frames[0]), _currents(before, frames[0]), rtol=0, atol=1e-12)
    seen: Counter[str] = Counter()
    for name, layer in one.layers.items():
        assert int((layer.raster != two.layers[name].raster).sum()) == 0, name
        np.testing.assert_allclose(layer.potentials, two.layers[name].potentials, rtol=0, atol=1e-10)
        seen["neuron-steps"] += layer.raster.size
        seen["spikes"] += layer.spikes
    seen["every layer fires"] = all(layer.spikes for layer in one.layers.values())
    return seen


def _kinds(network: Network) -> list[str]:
    return [type(layer.op).__name__ for layer in network]


def test_each_pass_keeps_every_spike_is_idempotent_and_leaves_none_of_its_kind() -> None:
    seen: Counter[str] = Counter()

    @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None)
    @given(networks())
    def check(case: tuple[Network, np.ndarray]) -> None:
        network, frames = case
        for name in ("batchnorm", "attention", "pooling"):
            fold, kind = PASSES[name]
            folded = fold(network)
            counted = _same(network, folded, frames)
            held = sum(isinstance(layer.op, kind) for layer in network)
            assert not any(isinstance(layer.op, kind) for layer in folded)
            assert len(folded.layers) == len(network.layers) - held
            assert folded.history == network.history + ((f"fold_{name}",) if held else ())
            assert fold(folded) is folded
            assert folded.neurons[-1].name == "out"
            seen.update(counted)
            seen[name] += held
            network = folded
        assert set(_kinds(network)) == {"Conv2d", "Dense", "Neuron"}

    check()
    assert seen["neuron-steps"] > 100_000, seen
    assert seen["spikes"] > 20_000, seen
    assert seen["every layer fires"] > 2 * EXAMPLES, seen
    assert min(seen[name] for name in PASSES) > 100, seen


def test_gates_and_norms_behind_a_pool_fold_once_the_pool_is_folded() -> None:
    rng = np.random.default_rng(3)
    layers = (
        Layer("conv", Conv2d(rng.normal(0.1, 0.5, (4, 2, 3, 3)), padding=(1, 1))),
        Layer("pool", AvgPool2d((2, 3))),
        Layer("bn", _norm(rng, 4)),
        Layer("gate", Gate(rng.uniform(0.5, 1, 4))),
        Layer("n", Neuron(np.array(0.4))),
    )
    network = Network(InputSpec((2, 8, 9), 1000, 5), layers, 1)
    frames = rng.poisson(0.6, (5, 4, 2, 8, 9))
    folded = fold_attention(fold_batchnorm(fold_pooling(network)))
    assert _kinds(folded) == ["Conv2d", "Neuron"]
    assert folded.history == ("fold_pooling", "fold_batchnorm", "fold_attention")
    assert _same(network, folded, frames)["spikes"] > 100
    for fold in (fold_batchnorm, fold_attention):
        with pytest.raises(UnsupportedError, match="cannot fold every"):
            fold(network)


# ---- batch norm -------------------------------------------------------------------------------------------------


def _norm_network(norm: BatchNorm, bias: np.ndarray | None = None) -> Network:
    rng = np.random.default_rng(1)
    conv = Conv2d(rng.normal(0, 1e-3, (4, 2, 3, 3)), bias, padding=(1, 1))
    layers = (Layer("conv", conv), Layer("bn", norm), Layer("n", Neuron(np.array(0.5))))
    return Network(InputSpec((2, 7, 6), 1000, 6), layers, 1)


def test_a_fold_without_eps_would_be_seen() -> None:
    norm = BatchNorm(np.ones(4), np.zeros(4), np.zeros(4), np.array([1e-6, 1e-4, 1e-2, 1.0]), 1e-5)
    network = _norm_network(norm)
    frames = np.random.default_rng(2).poisson(0.8, (6, 5, 2, 7, 6))
    assert _same(network, fold_batchnorm(network), frames)["spikes"] > 100
    conv = network["conv"].op
    assert isinstance(conv, Conv2d)
    careless = replace(conv, weight=conv.weight / np.sqrt(norm.var)[:, None, None, None], bias=np.zeros(4))
    wrong = Network(network.input, (Layer("conv", careless), Layer("n", network["n"].op)), 1)
    one, two = reference.run(network, frames), reference.run(wrong, frames)
    assert int((one.layers["n"].raster != two.layers["n"].raster).sum()) > 50
    folded = fold_batchnorm(network)["conv"].op
    assert isinstance(folded, Conv2d)
    # variance 1e-6 under an eps of 1e-5: sqrt(11) times between the two
    np.testing.assert_allclose(careless.weight[0] / folded.weight[0], np.sqrt(11), rtol=1e-12)
    np.testing.assert_allclose(careless.weight[1] / folded.weight[1], np.sqrt(1.1), rtol=1e-12)


def test_batch_norm_folds_to_the_numbers_of_its_equation() -> None:
    norm = BatchNorm(np.array([2.0, -1]), np.array([0.5, 3]), np.array([1.0, 2]), np.array([3.75, 0]), 0.25)
    dense = Dense(np.array([[1.0, 2], [3, 4]]), np.array([5.0, 6]))
    layers = (Layer("d", dense), Layer("b", norm), Layer("n", Neuron(np.array(1.0))))
    op = fold_batchnorm(Network(InputSpec((2, 1, 1), 1000, 1), layers, 1))["d"].op
    assert isinstance(op, Dense)
    # s = 2/2, -1/0.5;  bias = s (b - mean) + beta
    np.testing.assert_array_equal(op.weight, [[1, 2], [-6, -8]])
    np.testing.assert_array_equal(op.bias, [1 * (5 - 1) + 0.5, -2 * (6 - 2) + 3])


# ---- pooling ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pool", [(1, 1), (2, 2), (2, 3), (3, 1), (5, 4)])
@pytest.mark.parametrize("kernel", [(1, 1), (2, 3), (3, 3)])
@pytest.mark.parametrize("stride", [(1, 1), (2, 1), (3, 4)])
@pytest.mark.parametrize("groups", [1, 2])
def test_convolution_and_mean_are_one_strided_convolution_at_every_size(
    pool: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int], groups: int
) -> None:
    rng = np.random.default_rng([*pool, *kernel, *stride])
    compared = 0
    for height in range(5, 24):
        for padding, dilation in (((0, 0), (1, 1)), ((1, 2), (2, 1)), ((2, 0), (1, 3))):
            weight, bias = rng.normal(size=(2, 2 // groups, *kernel)), rng.normal(size=2)
            conv = Conv2d(weight, bias, stride, padding, dilation, groups)
            shape = (2, height, 29 - height)
            sides = [n + 2 * p - d * (k - 1) for n, p, d, k in zip(shape[1:], padding, dilation, kernel, strict=True)]
            if min(sides) < 1 or any((n - 1) // s + 1 < q for n, s, q in zip(sides, stride, pool, strict=True)):
                continue
            layers = (Layer("c", conv), Layer("p", AvgPool2d(pool)), Layer("n", Neuron(np.array(1.0))))
            network = Network(InputSpec(shape, 1000, 1), layers, 1)
            folded = fold_pooling(network)
            assert folded.shapes["n"] == network.shapes["n"]
            x = rng.normal(size=(2, *shape))
            np.testing.assert_allclose(_currents(folded, x), _currents(network, x), rtol=0, atol=1e-12)
            compared += 1
    assert compared >= 3 or (pool, stride) == ((5, 4), (3, 4))


def test_a_3x3_convolution_and_a_2x2_mean_have_16_taps() -> None:
    weight = np.arange(9.0).reshape(1, 1, 3, 3)
    conv = Conv2d(weight, padding=(1, 1))
    layers = (Layer("c", conv), Layer("p", AvgPool2d((2, 2))), Layer("n", Neuron(np.array(1.0))))
    op = fold_pooling(Network(InputSpec((1, 8, 8), 1000, 1), layers, 1))["c"].op
    assert isinstance(op, Conv2d)
    assert (op.weight.shape, op.stride, op.padding) == ((1, 1, 4, 4), (2, 2), (1, 1))
    # corner taps come from one tap each, inner ones from four, and nothing is lost
    assert (op.weight[0, 0, 0, 0], op.weight[0, 0, 3, 3]) == (0.0, 8 / 4)
    assert op.weight[0, 0, 1, 1] == (0 + 1 + 3 + 4) / 4
    assert op.weight.sum() == weight.sum()


# ---- refusals ---------------------------------------------------------------------------------------------------


def _refused(fold: Pass, network: Network) -> dict[str, str]:
    with pytest.raises(UnsupportedError) as caught:
        fold(network)
    assert all(issue.where in str(caught.value) for issue in caught.value.issues)
    return {issue.where: issue.got for issue in caught.value.issues}


OPS: dict[str, Op] = {
    "batchnorm": _norm(np.random.default_rng(0), 2),
    "attention": Gate(np.ones(2)),
    "pooling": AvgPool2d((1, 1)),
}


@pytest.mark.parametrize("name", PASSES)
def test_everything_that_cannot_be_folded_is_named_at_once(name: str) -> None:
    op = OPS[name]
    conv = Conv2d(np.ones((2, 2, 1, 1)))
    layers = (
        Layer("on the input", op),
        Layer("c1", conv),
        Layer("good", op),
        Layer("n1", Neuron(np.array(1.0))),
        Layer("after a neuron", op),
        Layer("c2", conv),
        Layer("c3", conv, ("c2",)),
        Layer("of two readers", op, ("c2",)),
        Layer("of two sources", op, ("of two readers", "c3")),
        Layer("after a sum", SumPool2d((1, 1))),
        Layer("behind a pool", op),
        Layer("out", Neuron(np.array(1.0))),
    )
    found = _refused(PASSES[name][0], Network(InputSpec((2, 3, 3), 1000, 1), layers, 1))
    assert list(found) == ["on the input", "after a neuron", "of two readers", "of two sources", "behind a pool"]
    assert found["on the input"] == "follows ('input',)"


def test_pooling_after_a_dense_layer_is_refused() -> None:
    layers = (Layer("d", Dense(np.ones((2, 2)))), Layer("p", AvgPool2d((1, 1))), Layer("n", Neuron(np.array(1.0))))
    with pytest.raises(UnsupportedError, match="average pooling after a dense layer"):
        fold_pooling(Network(InputSpec((2, 1, 1), 1000, 1), layers, 1))


@pytest.mark.parametrize("name", PASSES)
def test_a_network_without_the_operation_is_returned_as_it_is(name: str) -> None:
    layers = (Layer("c", Conv2d(np.ones((1, 2, 1, 1)))), Layer("n", Neuron(np.array(1.0), order=Order.INPUT_FIRST)))
    network = Network(InputSpec((2, 3, 3), 1000, 1), layers, 1, ("made",))
    assert PASSES[name][0](network) is network


def test_readers_of_a_folded_layer_read_the_convolution() -> None:
    rng = np.random.default_rng(0)
    conv = Conv2d(rng.normal(0.2, 0.5, (2, 2, 3, 3)), padding=(1, 1))
    layers = (
        Layer("c", conv),
        Layer("b", _norm(rng, 2)),
        Layer("n", Neuron(np.array(0.3)), ("b",)),
        Layer("m", Neuron(np.array(0.9)), ("b", "n")),
    )
    network = Network(InputSpec((2, 5, 5), 1000, 6), layers, 1)
    folded = fold_batchnorm(network)
    assert (folded["n"].inputs, folded["m"].inputs) == (("c",), ("c", "n"))
    assert _same(network, folded, rng.poisson(0.5, (6, 3, 2, 5, 5)))["spikes"] > 100
