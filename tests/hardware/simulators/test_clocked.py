# SPDX-License-Identifier: Apache-2.0
"""The fast engine equals the reference in spikes, states, overflow and range; SpikingJelly is the third opinion."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spikingjelly.activation_based import functional, neuron

from spikefold.errors import NetworkError, UnsupportedError
from spikefold.export.network import InputSpec, Layer, Network, Op
from spikefold.export.neuron import Fire, Leak, Neuron, Order, Overflow, Reset
from spikefold.export.ops import AvgPool2d, BatchNorm, Conv2d, Dense, Gate, Shape, SumPool2d
from spikefold.hardware.simulators import clocked, reference
from spikefold.hardware.simulators import sparse as clocked_sparse
from spikefold.hardware.simulators.trace import Trace

EXAMPLES = 150
WAYS = {"by events": True, "dense": False}
"""How a weight layer and its neurons run, and what the rule must say for it."""


@contextmanager
def forced(by_events: bool) -> Iterator[Counter[str]]:
    """Every layer runs in one way, where it may; counts how often one ran by its events."""
    runs: Counter[str] = Counter()
    run = clocked_sparse.run_block

    def counted(*given: Any, **options: Any) -> object:
        runs["by events"] += 1
        return run(*given, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clocked_sparse, "is_cheaper", lambda *_: by_events)
        patch.setattr(clocked_sparse, "run_block", counted)
        yield runs


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> Iterator[str]:
    """Runs a test in both ways."""
    with forced(WAYS[request.param]):
        yield request.param


# ---- random integer networks ------------------------------------------------------------------------------------


@st.composite
def neurons(draw: st.DrawFn, shape: Shape) -> Neuron:
    """Every option, with small numbers, so that states land on the threshold often."""
    form = draw(st.sampled_from([(), (), (shape[0], 1, 1), shape]))
    threshold = np.random.default_rng(draw(st.integers(0, 999))).integers(1, 4, form)
    reset = draw(st.sampled_from(Reset))
    shift = draw(st.sampled_from([0, 0, 1, 6]))
    leak_shift = draw(st.sampled_from([1, 3, 12]))
    least = 2**leak_shift // 2  # with less, deep layers are silent and compare nothing
    leak = draw(st.none() | st.integers(least, 2**leak_shift).map(lambda keep: Leak(keep, leak_shift)))
    return Neuron(
        threshold,
        fire=draw(st.sampled_from(Fire)),
        reset=reset,
        reset_value=float(draw(st.sampled_from([-3, -1, 1, 2]))) if reset is Reset.VALUE else 0.0,
        leak=leak,
        v_min=draw(st.sampled_from([None, 0.0, -1.0, -4.0])),
        max_spikes=draw(st.sampled_from([1, 1, None, 2])),
        order=draw(st.sampled_from(Order)),
        state_shift=shift,
        state_bits=draw(st.sampled_from([None, 5 + shift, 16])),
        overflow=draw(st.sampled_from(Overflow)),
        current=draw(st.none() | st.integers(0, 2**leak_shift).map(lambda keep: Leak(keep, leak_shift))),
    )


@st.composite
def convolutions(draw: st.DrawFn, shape: Shape) -> Conv2d:
    groups = draw(st.sampled_from([g for g in (1, 1, 2, 3) if shape[0] % g == 0]))
    padding = draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
    dilation = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    kernel = tuple(
        draw(st.integers(1, min(3, (n + 2 * p - 1) // d + 1)))
        for n, p, d in zip(shape[1:], padding, dilation, strict=True)
    )
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    c_out = groups * draw(st.integers(1, 2))
    weight = rng.integers(-2, 5, (c_out, shape[0] // groups, *kernel))
    bias = draw(st.none() | st.just(rng.integers(-1, 4, c_out)))
    return Conv2d(weight, bias, draw(st.tuples(st.integers(1, 3), st.integers(1, 3))), padding, dilation, groups)


@st.composite
def networks(draw: st.DrawFn) -> tuple[Network, np.ndarray]:
    """Two to four weight layers with neurons, pools between, at most 9x9, at most six steps, and their frames."""
    spec = InputSpec(
        (draw(st.integers(1, 3)), draw(st.integers(1, 9)), draw(st.integers(1, 9))), 1000, draw(st.integers(1, 6))
    )
    shape: Shape = spec.shape
    layers: list[Layer] = []

    def add(name: str, op: Op, *inputs: str) -> None:
        nonlocal shape
        layers.append(Layer(name, op, inputs))
        shape = op.output_shape(shape)

    for number in range(draw(st.integers(1, 3))):
        if draw(st.integers(0, 3)) == 0:
            seed, outputs = draw(st.integers(0, 999)), draw(st.integers(1, 6))
            rng = np.random.default_rng(seed)
            weight = rng.integers(-1, 3, (outputs, int(np.prod(shape))))
            add(f"w{number}", Dense(weight, rng.integers(0, 3, outputs) if seed % 2 else None))
        else:
            add(f"w{number}", draw(convolutions(shape)))
        add(f"n{number}", draw(neurons(shape)))
        if draw(st.integers(0, 3)) == 0:
            add(f"p{number}", SumPool2d(tuple(draw(st.integers(1, min(2, n))) for n in shape[1:])))  # type: ignore[arg-type]
    add("w", Dense(np.random.default_rng(len(layers)).integers(-1, 3, (2, int(np.prod(shape))))))
    add("out", draw(neurons(shape)))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    frames = rng.poisson(draw(st.sampled_from([0.4, 0.8, 2.0])), (spec.steps, draw(st.integers(2, 4)), *spec.shape))
    return Network(spec, tuple(layers), 1), frames


def _assert_equal(one: Trace, two: Trace) -> int:
    """Rasters, states, overflow and range of every layer; how many neuron-steps were compared."""
    assert list(one.layers) == list(two.layers)
    compared = 0
    for name, layer in one.layers.items():
        other = two.layers[name]
        assert layer.potentials is not None
        assert other.potentials is not None
        np.testing.assert_array_equal(layer.raster, other.raster, err_msg=name)
        np.testing.assert_array_equal(layer.potentials, other.potentials, err_msg=name)
        assert (layer.overflow, layer.v_range) == (other.overflow, other.v_range), name
        assert layer.raster.dtype == other.raster.dtype == np.uint16
        assert layer.potentials.dtype == other.potentials.dtype
        compared += layer.raster.size
    return compared


def test_every_random_integer_network_runs_as_the_reference_runs_it() -> None:
    seen: Counter[str] = Counter()

    @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None)
    @given(networks())
    def check(case: tuple[Network, np.ndarray]) -> None:
        network, frames = case
        assert network.is_integer
        one = reference.run(network, frames, potentials=True)
        for way, by_events in WAYS.items():
            with forced(by_events) as runs:
                seen["neuron-steps"] += _assert_equal(one, clocked.run(network, frames, potentials=True))
            seen[way] += runs["by events"]
        seen["layers"] += len(network.neurons)
        seen["examples"] += 1
        seen["all layers fire"] += all(layer.spikes for layer in one.layers.values())
        seen["spikes"] += one.spikes
        seen["overflows"] += any(layer.overflow for layer in one.layers.values())
        seen["several spikes"] += any(layer.raster.max() > 1 for layer in one.layers.values())
        seen["below 0"] += any((layer.potentials < 0).any() for layer in one.layers.values())
        for layer in network.neurons:
            assert isinstance(layer.op, Neuron)
            for option in (layer.op.fire, layer.op.reset, layer.op.order, layer.op.overflow):
                seen[str(option)] += 1
            seen["leak"] += layer.op.leak is not None
            seen["current"] += layer.op.current is not None

    check()
    # not quite all: where spikes may be many and subtraction leaves the rest, few layers bound the next one's sums
    assert seen["by events"] >= 0.98 * seen["layers"], seen
    assert seen["dense"] == 0
    assert seen["examples"] >= 150
    assert seen["all layers fire"] >= seen["examples"] / 2, seen
    assert seen["neuron-steps"] > 50_000, seen
    assert seen["spikes"] > 10_000, seen
    for option in (*Fire, *Reset, *Order, *Overflow, "leak", "current", "overflows", "several spikes", "below 0"):
        assert seen[str(option)] >= 20, (option, seen)


@pytest.mark.parametrize("fire", Fire)
@pytest.mark.parametrize("reset", Reset)
@pytest.mark.parametrize("most", [1, None, 2])
@pytest.mark.parametrize("overflow", Overflow)
def test_every_kind_of_neuron_at_and_around_multiples_of_its_threshold(
    fire: Fire, reset: Reset, most: int | None, overflow: Overflow, way: str
) -> None:
    # inputs -9..9 around multiples of 3, for three steps, in a state of 4 bits
    value = -2.0 if reset is Reset.VALUE else 0.0
    kind = Neuron(np.array(3), fire, reset, value, max_spikes=most, state_bits=4, overflow=overflow, v_min=-7.0)
    spec = InputSpec((19, 1, 1), 1000, 3)
    layers = (Layer("w", Conv2d(np.arange(-9, 10).reshape(19, 1, 1, 1), groups=19)), Layer("n", kind))
    one, two = (
        engine.run(Network(spec, layers, 1), np.ones((3, 1, 19, 1, 1), int), potentials=True)
        for engine in (reference, clocked)
    )
    assert _assert_equal(one, two) == 57
    assert one.spikes > 10


# ---- SpikingJelly ------------------------------------------------------------------------------------------------

JELLY: dict[str, tuple[dict[str, Any], Callable[..., Any]]] = {
    "integrate and fire": ({}, lambda **o: neuron.IFNode(**o)),
    "integrate and fire, by subtraction": ({"reset": Reset.SUBTRACT}, lambda **o: neuron.IFNode(**o)),
    "leaky": ({"leak": Leak(0.5)}, lambda **o: neuron.LIFNode(tau=2.0, decay_input=False, **o)),
    "leaky, by subtraction": (
        {"leak": Leak(0.75), "reset": Reset.SUBTRACT},
        lambda **o: neuron.LIFNode(tau=4.0, decay_input=False, **o),
    ),
}


@pytest.mark.parametrize("engine", [clocked, reference], ids=["clocked", "reference"])
@pytest.mark.parametrize("name", JELLY)
def test_spikingjelly_in_double_precision_fires_the_same_spikes(name: str, engine: Any) -> None:
    options, build = JELLY[name]
    rng = np.random.default_rng(5)
    spec = InputSpec((4, 16, 16), 1000, 25)
    weight, bias = rng.integers(-3, 5, (8, 4, 3, 3)).astype(float), rng.integers(-2, 3, 8).astype(float)
    layers = (Layer("w", Conv2d(weight, bias, padding=(1, 1))), Layer("n", Neuron(np.array(6.0), **options)))
    frames = rng.poisson(0.3, (25, 6, 4, 16, 16))
    ours = engine.run(Network(spec, layers, 1), frames, potentials=True).layers["n"]

    soft = options.get("reset") is Reset.SUBTRACT
    node = build(v_threshold=6.0, v_reset=None if soft else 0.0, step_mode="m", store_v_seq=True).double()
    functional.reset_net(node)
    currents = torch.nn.functional.conv2d(
        torch.tensor(frames).double().flatten(0, 1), torch.tensor(weight), torch.tensor(bias), padding=1
    )
    with torch.no_grad():
        theirs = node(currents.unflatten(0, (25, 6))).numpy()
    assert theirs.dtype == np.float64
    assert theirs.size >= 200_000
    assert theirs.mean() >= 0.05
    assert int((theirs != ours.raster).sum()) == 0
    np.testing.assert_array_equal(node.v_seq.numpy(), ours.potentials)


# ---- exactness --------------------------------------------------------------------------------------------------


def _sum_network(weights: list[int], threshold: int, neuron: Neuron | None = None, **options: Any) -> Network:
    kind = neuron or Neuron(np.array(threshold), **options)
    layers = (Layer("w", Dense(np.array([weights]))), Layer("n", kind))
    return Network(InputSpec((len(weights), 1, 1), 1000, 2), layers, 1)


@pytest.mark.parametrize("bits", [23, 24, 25, 30, 40, 52])
def test_sums_beyond_float32_stay_exact(bits: int, way: str) -> None:
    # an odd sum just at the threshold, just below it and just above: float32 would round the three to one
    network = _sum_network([2**bits - 1, 1, 1], 2**bits + 1 if bits < 52 else 2**52 + 1)
    frames = np.array([[1, 1, 0], [1, 1, 1], [1, 0, 0]]).reshape(1, 3, 3, 1, 1)
    one, two = (engine.run(network, frames, potentials=True) for engine in (reference, clocked))
    assert _assert_equal(one, two) == 3
    assert two.layers["n"].raster.ravel().tolist() == [0, 1, 0]
    assert two.layers["n"].v_range == (0, 2**bits + 1)


def test_the_narrowest_exact_float_is_chosen() -> None:
    ones = torch.ones(1, 2, 1, 1, dtype=torch.float64)
    at = {2**24 - 1: torch.float32, 2**24: torch.float64, 2**53 - 1: torch.float64}
    for bound, dtype in at.items():
        assert clocked._exact_dtype(Dense(np.array([[bound - 1, 1]])), ones, "w") is dtype
        assert clocked._exact_dtype(Dense(np.array([[bound - 2, 1]]), np.array([1])), ones, "w") is dtype
        assert clocked._exact_dtype(Dense(np.array([[1 - bound, -1]])), ones, "w") is dtype


def test_sums_beyond_float64_are_refused_with_the_layer_and_the_bound() -> None:
    network = _sum_network([2**53 - 1, 1], 5)
    with pytest.raises(UnsupportedError, match=rf"sums up to {2**53} are not exact in float64") as caught:
        clocked.run(network, np.ones((1, 1, 2, 1, 1), int))
    assert caught.value.where == "w"
    assert reference.run(network, np.ones((1, 1, 2, 1, 1), int)).spikes == 1


def test_more_events_widen_the_bound() -> None:
    network = _sum_network([2**52, 0], 5)
    frames = np.ones((1, 1, 2, 1, 1), int)
    assert clocked.run(network, frames).spikes == 1
    with pytest.raises(UnsupportedError, match="not exact in float64"):
        clocked.run(network, 2 * frames)


# ---- clips and real networks ------------------------------------------------------------------------------------


def _real_network(neuron: Neuron) -> Network:
    rng = np.random.default_rng(8)
    layers = (
        Layer("c", Conv2d(rng.normal(0.0, 0.3, (4, 2, 3, 3)), rng.normal(0, 0.1, 4), padding=(1, 0))),
        Layer("b", BatchNorm(rng.uniform(0.5, 2, 4), rng.normal(0, 0.1, 4), rng.normal(0, 0.1, 4), np.ones(4), 1e-5)),
        Layer("a", AvgPool2d((2, 1))),
        Layer("g", Gate(rng.uniform(0.3, 1, 4))),
        Layer("n", neuron),
        Layer("d", Dense(rng.normal(0.0, 0.2, (6, 4 * 3 * 5)))),
        Layer("o", neuron),
    )
    return Network(InputSpec((2, 7, 7), 1000, 8), layers, 3)


@pytest.mark.parametrize("options", [{}, {"leak": Leak(0.6)}, {"reset": Reset.SUBTRACT}], ids=str)
def test_real_networks_fire_the_same_spikes_as_in_the_reference(options: dict[str, Any]) -> None:
    network = _real_network(Neuron(np.array(0.9), **options))
    frames = np.random.default_rng(1).poisson(0.8, (8, 7, 2, 7, 7))
    one, two = (engine.run(network, frames, potentials=True) for engine in (reference, clocked))
    for name, layer in one.layers.items():
        np.testing.assert_array_equal(layer.raster, two.layers[name].raster)
        np.testing.assert_allclose(layer.potentials, two.layers[name].potentials, atol=1e-12)
        assert 0.01 < layer.raster.mean() < 0.6
    assert one.spikes > 500


@pytest.mark.parametrize("batch", [1, 2, 3, 25])
def test_the_batch_size_changes_nothing(batch: int, way: str) -> None:
    kind = Neuron(np.array(5), leak=Leak(3, 2), state_bits=4, overflow=Overflow.SATURATE)
    weights = Conv2d(np.random.default_rng(0).integers(-3, 5, (3, 2, 3, 3)))
    network = Network(InputSpec((2, 6, 6), 1000, 5), (Layer("c", weights), Layer("n", kind)), 1)
    frames = np.random.default_rng(1).poisson(0.4, (5, 7, 2, 6, 6))
    whole, parts = (
        clocked.run(network, frames, potentials=True),
        clocked.run(network, frames, potentials=True, batch=batch),
    )
    assert _assert_equal(whole, parts) == 5 * 7 * 3 * 16
    assert whole.spikes > 100
    again = clocked.run(network, frames, potentials=True)
    assert _assert_equal(whole, again) > 0


def test_frames_of_another_shape_or_with_too_many_events_are_refused() -> None:
    network = _sum_network([1, 1], 2)
    with pytest.raises(NetworkError, match="do not fit the network's input"):
        clocked.run(network, np.zeros((2, 1, 3, 1, 1), int))
    bounded = Network(replace(network.input, max_count=1), network.layers, 1)
    with pytest.raises(NetworkError, match="a frame holds 2 events of one input"):
        clocked.run(bounded, np.full((2, 1, 2, 1, 1), 2))


@pytest.mark.parametrize("engine", [reference.run, clocked.run])
def test_more_spikes_than_a_raster_can_hold_are_refused(engine: Callable[[Network, np.ndarray], Trace]) -> None:
    """Weight 127, threshold 1: 516 events make 65,532 spikes in one step, 517 make 65,659, which must not wrap."""
    layers = (
        Layer("c", Conv2d(np.full((1, 1, 1, 1), 127))),
        Layer("s", Neuron(np.array(1), reset=Reset.SUBTRACT, max_spikes=None)),
    )
    network = Network(InputSpec((1, 1, 1), 1000, 1), layers, 1)
    assert engine(network, np.full((1, 1, 1, 1, 1), 516, np.uint16)).layers["s"].raster.item() == 65_532
    with pytest.raises(UnsupportedError, match="65659 spikes of one neuron") as caught:
        engine(network, np.full((1, 1, 1, 1, 1), 517, np.uint16))
    assert caught.value.where == "s"
