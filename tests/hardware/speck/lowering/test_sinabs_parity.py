# SPDX-License-Identifier: Apache-2.0
"""sinabs' discretised forward, the reference and the clocked engine: equal in every spike and every state.

Every comparison also holds sinabs' configuration against our own integers, and counts what it compared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from spikefold.errors import UnsupportedError
from spikefold.export.network import InputSpec, Layer, Network, Op
from spikefold.export.neuron import Fire, Neuron, Reset
from spikefold.export.ops import Conv2d, Dense, SumPool2d
from spikefold.export.passes.quantise import quantise
from spikefold.hardware.simulators import clocked, reference
from spikefold.hardware.simulators.trace import Trace
from spikefold.hardware.speck.chip import NUMBERS
from spikefold.hardware.speck.lowering.sinabs import Discretised, convert, discretised
from spikefold.hardware.speck.lowering.sinabs_check import differences
from spikefold.hardware.speck.lowering.sinabs_runner import run
from spikefold.hardware.speck.placement import place
from spikefold.hardware.speck.split import split_to_fit

ONE = Neuron(np.array(1.0))
MOST = 9
"""Most events of one input in one step."""


def _network(ops: Sequence[Op], shape: tuple[int, int, int] = (2, 12, 10), steps: int = 6) -> Network:
    layers = tuple(Layer(f"{type(op).__name__.lower()}{i}", op) for i, op in enumerate(ops))
    return Network(InputSpec(shape, 1000, steps, MOST), layers, 1)


def _weights(*shape: int, mean: float = 0.06, spread: float = 0.2, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).normal(mean, spread, shape)


def _conv(f: int, c: int, k: int, **options: Any) -> Conv2d:
    return Conv2d(_weights(f, c, k, k), **options)


def _neuron(reset: Reset, max_spikes: int | None) -> Neuron:
    return Neuron(np.array(0.8), reset=reset, max_spikes=max_spikes)


def _frames(network: Network, clips: int = 3, rate: float = 0.6, seed: int = 1) -> np.ndarray:
    shape = (network.input.steps, clips, *network.input.shape)
    return np.random.default_rng(seed).poisson(rate, shape).clip(max=MOST)


def _mixed(neuron: Neuron = ONE, shape: tuple[int, int, int] = (2, 12, 10)) -> Network:
    """Biases, padding and strides that differ in y and x, a pool that drops a row, two dense layers."""
    bias = _weights(4, mean=0, spread=0.1)
    ops: list[Op] = [
        _conv(4, 2, 3, bias=bias, padding=(1, 2), stride=(1, 2)),
        neuron,
        SumPool2d((2, 2)),
        _conv(5, 4, 3, padding=(0, 1), stride=(2, 1)),
        neuron,
    ]
    features, height, width = _network(ops, shape).shapes["neuron4"]
    if height != width:
        return _network(ops, shape)
    dense: list[Op] = [Dense(_weights(8, features * height * width)), neuron, Dense(_weights(4, 8)), neuron]
    return _network([*ops, *dense], shape)


def _same(network: Network, made: Discretised, frames: np.ndarray) -> Trace:
    """Run all three; what they agree on."""
    integer, _ = quantise(network, NUMBERS)
    ours = reference.run(integer, frames, potentials=True)
    for other in (clocked.run(integer, frames, potentials=True), run(made, frames, potentials=True)):
        assert list(ours.layers) == list(other.layers)
        for name, layer in ours.layers.items():
            theirs = other.layers[name]
            assert layer.raster.shape == theirs.raster.shape
            assert int((layer.raster != theirs.raster).sum()) == 0, (other.runner, name)
            assert int((layer.potentials != theirs.potentials).sum()) == 0, (other.runner, name)
    return ours


def _compare(network: Network, frames: np.ndarray) -> dict[str, int]:
    """Convert, check the configuration, run; spikes of each layer."""
    model = convert(network)
    assert differences(model, quantise(network, NUMBERS)[0]) == []
    return {name: layer.spikes for name, layer in _same(network, model, frames).layers.items()}


@pytest.mark.parametrize("max_spikes", [1, 3, None])
@pytest.mark.parametrize("reset", [Reset.ZERO, Reset.SUBTRACT])
@pytest.mark.parametrize(("shape", "spiking"), [((2, 12, 10), 2), ((2, 12, 5), 4)])
def test_resets_and_spike_rules(
    reset: Reset, max_spikes: int | None, shape: tuple[int, int, int], spiking: int
) -> None:
    network = _mixed(_neuron(reset, max_spikes), shape)
    spikes = _compare(network, _frames(network))
    assert len(spikes) == spiking
    assert all(count > 0 for count in spikes.values()), spikes


def test_resets_and_spike_rules_make_a_difference_that_the_comparison_would_see() -> None:
    runs = set()
    for reset in (Reset.ZERO, Reset.SUBTRACT):
        for most in (1, 3, None):
            network = _mixed(_neuron(reset, most))
            runs.add(tuple(_compare(network, _frames(network, rate=2.0)).values()))
    assert len(runs) == 6


@pytest.mark.parametrize("bound", ["weight", "bias", "threshold"])
def test_the_common_scale_is_the_same_whatever_binds_it(bound: str) -> None:
    bias = np.array([0.9, -0.2, 0.1, 0.0]) * {"weight": 0.3, "bias": 3.0, "threshold": 0.3}[bound]
    factor, theta = (100.0, 40_000.0) if bound == "threshold" else (1.0, 1.0)
    first = Conv2d(factor * _weights(4, 2, 3, 3), bias)
    square = _network([first, Neuron(np.array(theta)), Dense(_weights(3, 400)), ONE], (2, 12, 12), steps=60)
    assert quantise(square, NUMBERS)[1][0].bound_by == bound
    assert all(count > 0 for count in _compare(square, _frames(square, rate=3.0)).values())


def test_a_dense_layer_on_a_map_that_is_not_square_is_refused() -> None:
    ops: list[Op] = [_conv(4, 2, 3), ONE, Dense(_weights(3, 320)), ONE]
    with pytest.raises(UnsupportedError, match="10x8"):
        convert(_network(ops))
    with pytest.raises(UnsupportedError, match="10x8"):
        discretised(_network(ops))


def test_a_threshold_keeps_what_float32_would_lose() -> None:
    weight = np.full((1, 2, 1, 1), 127.0)
    network = _network([Conv2d(weight), Neuron(np.array(200.5 + 1e-7)), Conv2d(weight[:, :1]), ONE])
    assert _compare(network, _frames(network, rate=3.0))["neuron1"] > 0
    model = convert(network)
    assert model.configuration()["cnn_layers"][model.layer2core["neuron1"]]["threshold_high"] == 201


def test_the_lower_bound_is_reached_and_held_alike() -> None:
    weight = _weights(4, 2, 5, 5, mean=0.5)
    weight[0] = -1.0
    network = _network([Conv2d(weight), ONE, _conv(3, 4, 3), ONE])
    frames = _frames(network, rate=3.0)
    assert all(count > 0 for count in _compare(network, frames).values())
    states = run(convert(network), frames, potentials=True).layers["neuron1"].potentials
    assert states.min() == NUMBERS.v_min == -16384
    assert int((states[:, :, 0] == NUMBERS.v_min).sum()) > 100


@pytest.mark.parametrize("reset", [Reset.ZERO, Reset.SUBTRACT])
def test_a_neuron_with_a_lower_bound_of_its_own_or_that_fires_above_its_threshold(reset: Reset) -> None:
    kinds: Any = ({"v_min": -1.0}, {"fire": Fire.GT}, {"v_min": -0.3, "fire": Fire.GT, "max_spikes": 2})
    for special in kinds:
        # whole weights, so that states are often exactly on their threshold
        first = Conv2d(np.random.default_rng(0).integers(-1, 3, (4, 2, 3, 3)).astype(float))
        network = _network([first, Neuron(np.array(2.0), reset=reset, **special), _conv(3, 4, 3), ONE])
        plain = _network([first, Neuron(np.array(2.0), reset=reset), _conv(3, 4, 3), ONE])
        frames = _frames(network)
        spikes = _compare(network, frames)
        assert all(count > 0 for count in spikes.values())
        assert spikes != _compare(plain, frames)


@pytest.mark.parametrize("shape", [(4, 1, 1), (2, 6, 6)])
def test_a_dense_layer_may_be_the_first(shape: tuple[int, int, int]) -> None:
    ops: list[Op] = [Dense(_weights(6, int(np.prod(shape)), mean=0.3)), ONE, Dense(_weights(4, 6, mean=0.3)), ONE]
    network = _network(ops, shape)
    assert all(count > 0 for count in _compare(network, _frames(network)).values())


def test_nine_layers_fill_nine_cores() -> None:
    ops = [op for i in range(9) for op in (Conv2d(_weights(2, 2, 3, 3, mean=0.25, seed=i), padding=(1, 1)), ONE)]
    network = _network(ops, (2, 8, 8))
    spikes = _compare(network, _frames(network))
    assert len(spikes) == 9
    assert all(count > 0 for count in spikes.values())
    assert sorted(convert(network).layer2core.values()) == list(range(9))


# --- 100 random networks --------------------------------------------------------------------------

NETWORKS = 100
SEEN = (
    *(f"kernel {side}" for side in (1, 2, 3, 4, 5)),
    *(f"stride {side}" for side in (1, 2, 4)),
    *(f"padding {side}" for side in (0, 1, 2)),
    *("uneven stride", "uneven padding", "pool 2", "pool 4", "bias", "dense"),
    *("reset zero", "reset subtract", "spikes 1", "spikes 3", "spikes None", "several spikes"),
    *("fires >", "lower bound", "layers 1", "layers 2", "layers 3", "layers 4"),
)


def test_a_hundred_random_networks_with_every_layer_active() -> None:
    active, silent, spikes, states = 0, 0, 0, 0
    seen: Counter[str] = Counter()
    for seed in range(2 * NETWORKS):
        if active == NETWORKS:
            break
        rng = np.random.default_rng(seed)
        network = _random(rng)
        model = convert(network)
        assert differences(model, quantise(network, NUMBERS)[0]) == []
        trace = _same(network, model, _frames(network, clips=2, rate=rng.uniform(0.3, 2.0), seed=seed))
        if not all(layer.spikes for layer in trace.layers.values()):
            silent += 1  # compared, but not counted
            continue
        active, spikes = active + 1, spikes + trace.spikes
        states += sum(layer.raster.size for layer in trace.layers.values())
        seen.update(_kinds(network, trace))
    assert active == NETWORKS
    assert silent < 20
    assert spikes > 5_000_000
    assert states > 1_000_000
    assert {kind: seen[kind] for kind in SEEN if seen[kind] < 10} == {}


def _random(rng: np.random.Generator) -> Network:
    """One to four layers: convolutions of any geometry, pools between them, at the end perhaps a dense layer."""
    height, width = (int(side) for side in rng.integers(10, 25, 2))
    square = rng.random() < 0.5
    shape = first = (int(rng.integers(1, 4)), height, height if square else width)
    ops: list[Op] = []
    for index in range(int(rng.choice([1, 2, 3, 4], p=[0.15, 0.2, 0.25, 0.4]))):
        if rng.random() < 0.25 * index and shape[1] == shape[2] <= 16:
            ops += [Dense(_positive(rng, 6, int(np.prod(shape)))), _random_neuron(rng)]
            break
        k, f = int(rng.integers(1, 1 + min(5, *shape[1:]))), int(rng.integers(1, 6))
        sides = rng.choice([1, 2, 4], 2, p=[0.8, 0.14, 0.06]).tolist(), rng.integers(0, min(k, 3), 2).tolist()
        stride, padding = ((y, y if square and rng.random() < 0.6 else x) for y, x in sides)
        bias = rng.normal(0, 0.2, f) if rng.random() < 0.4 else None
        ops += [Conv2d(_positive(rng, f, shape[0], k, k), bias, stride, padding), _random_neuron(rng)]
        shape = ops[-2].output_shape(shape)
        pool = int(rng.choice([1, 2, 4], p=[0.45, 0.3, 0.25]))
        if min(shape[1:]) >= 2 * pool > 2:
            ops.append(SumPool2d((pool, pool)))
            shape = ops[-1].output_shape(shape)
    if isinstance(ops[-1], SumPool2d):
        ops.pop()
    return _network(ops, first)


def _positive(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Weights that excite more than they inhibit, from well below the threshold to several times above it."""
    return rng.normal(rng.uniform(0.05, 0.3), 0.3, shape) * 10 ** rng.uniform(-0.3, 0.8)


def _random_neuron(rng: np.random.Generator) -> Neuron:
    return Neuron(
        np.array(rng.choice([0.5, 1.0, 1.7])),
        fire=(Fire.GE, Fire.GT)[int(rng.random() < 0.15)],
        reset=(Reset.ZERO, Reset.SUBTRACT)[rng.integers(2)],
        max_spikes=(1, 3, None)[rng.integers(3)],
        v_min=-1.0 if rng.random() < 0.2 else None,
    )


def _kinds(network: Network, trace: Trace) -> set[str]:
    """What this network is an example of."""
    kinds = {f"layers {len(trace.layers)}"}
    for layer in network:
        op = layer.op
        if isinstance(op, Conv2d):
            kinds |= {f"kernel {op.weight.shape[2]}", *(f"stride {side}" for side in op.stride)}
            kinds |= {f"padding {side}" for side in op.padding}
            kinds |= {
                name for name, (y, x) in (("uneven stride", op.stride), ("uneven padding", op.padding)) if y != x
            }
            kinds |= {"bias"} if op.bias is not None else set()
        elif isinstance(op, SumPool2d):
            kinds.add(f"pool {op.kernel[0]}")
        elif isinstance(op, Dense):
            kinds.add("dense")
        elif isinstance(op, Neuron):
            kinds |= {f"reset {op.reset.value}", f"spikes {op.max_spikes}", f"fires {op.fire.value}"}
            kinds |= {"lower bound"} if op.v_min is not None else set()
            kinds |= {"several spikes"} if trace.layers[layer.name].raster.max() > 1 else set()
    return kinds


# --- residual sums --------------------------------------------------------------------------------

MANY = Neuron(np.array(1.0), max_spikes=None)
POOL, POOL4 = SumPool2d((2, 2)), SumPool2d((4, 4))


def _wired(*layers: tuple[str, Op, tuple[str, ...]]) -> Network:
    """Each weight layer named by a letter, its neurons ``n`` and that letter."""
    made: list[Layer] = []
    for name, op, inputs in layers:
        made.append(Layer(name, op, inputs))
        if not isinstance(op, SumPool2d):
            made.append(Layer(f"n{name}", MANY))
    return Network(InputSpec((2, 8, 8), 1000, 5, MOST), tuple(made), 1)


def _three(seed: int, **options: Any) -> Conv2d:
    return Conv2d(_weights(3, 3, 3, 3, mean=0.08, seed=seed), padding=(1, 1), **options)


A = ("a", Conv2d(_weights(3, 2, 3, 3, mean=0.08), padding=(1, 1)), ())
RESIDUAL = {
    "a sum": _wired(A, ("b", _three(1), ("na",)), ("c", _three(2), ("na", "nb"))),
    "two in a row": _wired(A, ("b", _three(1), ("na",)), ("c", _three(2), ("na", "nb")), ("d", _three(3), ("nc",)),
                           ("e", _three(4), ("nc", "nd"))),
    "parallel": _wired(A, ("b", _three(1), ("na",)), ("c", _three(2), ("na",)), ("d", _three(3), ("nb", "nc"))),
    "both pooled": _wired(A, ("p", POOL, ("na",)), ("b", _three(1), ("p",)), ("q", POOL, ("na",)),
                          ("c", _three(2), ("q", "nb"))),
    "one pool for both": _wired(A, ("p", POOL, ("na",)), ("b", _three(1), ("p",)), ("c", _three(2), ("p", "nb"))),
    "pools of two sizes": _wired(A, ("p", POOL, ("na",)), ("b", _three(1, stride=(2, 2)), ("p",)),
                                 ("q", POOL4, ("na",)), ("c", _three(2), ("q", "nb"))),
    "pools before the sum": _wired(A, ("b", _three(1), ("na",)), ("c", _three(2), ("na",)), ("p", POOL, ("nb",)),
                                   ("q", POOL, ("nc",)), ("d", _three(3), ("p", "q"))),
    "dense": _wired(A, ("b", _three(1), ("na",)), ("c", Dense(_weights(5, 192)), ("na", "nb")),
                    ("d", Dense(_weights(5, 5, mean=0.4)), ("nc",)),
                    ("e", Dense(_weights(5, 5, mean=0.4)), ("nc", "nd"))),
}  # fmt: skip


@pytest.mark.parametrize("network", RESIDUAL.values(), ids=RESIDUAL)
def test_residual_sums(network: Network) -> None:
    spikes = _compare(network, _frames(network))
    assert len(spikes) == len(network.neurons) >= 3
    assert all(count > 100 for count in spikes.values()), spikes
    # the sum matters: without its first branch, other spikes
    last = next(layer for layer in reversed(network.layers) if len(layer.inputs) > 1)
    alone = [Layer(la.name, la.op, la.inputs[1:] if la is last else la.inputs) for la in network]
    frames = _frames(network)
    other = reference.run(quantise(network.rewritten(alone, "alone"), NUMBERS)[0], frames)
    assert {name: layer.spikes for name, layer in other.layers.items()} != spikes


# --- no cores: sinabs judges what no core holds as a whole ----------------------------------------


def test_a_layer_that_must_be_split_over_two_cores_is_judged_whole() -> None:
    # 80 Ki words of kernel, and no core has more than 64
    ops: list[Op] = [
        Conv2d(_weights(40, 2, 3, 3, mean=0.2)),
        ONE,
        Conv2d(_weights(128, 40, 3, 3, mean=0.01, spread=0.06)),
        ONE,
        SumPool2d((2, 2)),
        Conv2d(_weights(4, 128, 1, 1)),
        ONE,
    ]
    network = _network(ops, (2, 12, 12), steps=3)
    with pytest.raises(UnsupportedError, match="no placement") as caught:
        convert(network)
    assert "conv2d2 into 64 and 64" in caught.value.hint
    made, frames = discretised(network), _frames(network, clips=1)
    whole = _same(network, made, frames)
    assert all(layer.spikes > 100 for layer in whole.layers.values())
    # what goes to the chip: other layers, the same output
    parts = split_to_fit(quantise(network, NUMBERS)[0])
    assert len(place(parts).cores) == len(whole.layers) + 1
    assert np.array_equal(clocked.run(parts, frames).layers["neuron6"].raster, whole.layers["neuron6"].raster)


def test_eleven_layers_are_judged_without_cores() -> None:
    ops = [op for i in range(11) for op in (Conv2d(_weights(2, 2, 3, 3, mean=0.25, seed=i), padding=(1, 1)), ONE)]
    network = _network(ops, (2, 8, 8))
    trace = _same(network, discretised(network), _frames(network))
    assert len(trace.layers) == 11
    assert all(layer.spikes > 0 for layer in trace.layers.values())
