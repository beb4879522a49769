# SPDX-License-Identifier: Apache-2.0
"""The ONNX model, run one step at a time by ONNX's own evaluator, fires the reference's spikes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from spikefold.errors import UnsupportedError
from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Fire, Leak, Neuron, Order, Overflow, Reset
from spikefold.export.ops import AvgPool2d, Conv2d, Dense, Gate, SumPool2d
from spikefold.export.to_onnx import to_model, write
from spikefold.hardware.simulators import reference
from tests.norms import batch_norm

STEPS, CLIPS = 6, 3


def _network(neuron: Neuron, *, real: bool = False, seed: int = 0) -> Network:
    """Grouped, strided, dilated, padded convolutions, a pool of an odd area, dense layers with and without bias."""
    rng = np.random.default_rng(seed)
    unit = 1 / 8 if real else 1  # eighths are exact in float32

    def numbers(*shape: int, low: int = -2, high: int = 4) -> np.ndarray:
        values = rng.integers(low, high, shape)
        return values * unit if real else values

    dtype = np.float64 if real else np.int64
    scaled = replace(neuron, threshold=(neuron.threshold * unit).astype(dtype))
    layers = (
        Layer("c1", Conv2d(numbers(4, 1, 3, 2), numbers(4), (2, 1), (1, 0), (1, 2), 2)),
        Layer("n1", scaled),
        Layer("pool", SumPool2d((1, 3))),
        Layer("c2", Conv2d(numbers(3, 4, 2, 1))),
        Layer("n2", scaled),
        Layer("d1", Dense(numbers(6, 27, low=-1, high=2), numbers(6))),
        Layer("n3", scaled),
        Layer("d2", Dense(numbers(4, 6))),
        Layer("out", scaled),
    )
    return Network(InputSpec((2, 7, 11), 1000, STEPS), layers, 2)


def _frames(network: Network, seed: int = 1, rate: float = 0.5) -> np.ndarray:
    return np.random.default_rng(seed).poisson(rate, (STEPS, CLIPS, *network.input.shape))


def _run(
    model: onnx.ModelProto, network: Network, frames: np.ndarray
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Spikes and states of every layer, stepping the model and feeding its states back."""
    evaluator = ReferenceEvaluator(model)
    names = [layer.name for layer in network.neurons]
    states = {name: np.zeros((frames.shape[1], *network.shapes[name]), np.float32) for name in names}
    spikes: dict[str, list[np.ndarray]] = {name: [] for name in names}
    kept: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for frame in frames:
        feeds = {"frame": frame.astype(np.float32)} | {f"{name}_state": states[name] for name in names}
        found = dict(zip(evaluator.output_names, evaluator.run(None, feeds), strict=True))
        for name in names:
            spikes[name].append(found[f"{name}_spikes"])
            states[name] = found[f"{name}_next"]
            kept[name].append(states[name])
    return {n: np.stack(s) for n, s in spikes.items()}, {n: np.stack(s) for n, s in kept.items()}


def _assert_same(network: Network, frames: np.ndarray) -> dict[str, int]:
    """Every spike and state; spikes of each layer."""
    spikes, states = _run(to_model(network), network, frames)
    ours = reference.run(network, frames, potentials=True).layers
    assert list(spikes) == list(ours)
    for name, layer in ours.items():
        assert spikes[name].dtype == states[name].dtype == np.float32
        assert spikes[name].shape == layer.raster.shape
        assert int((spikes[name] != layer.raster).sum()) == 0, name
        scale = 2 ** network[name].op.state_shift
        np.testing.assert_array_equal(states[name] * scale, layer.potentials)
        assert layer.spikes > 0, name
    return {name: layer.spikes for name, layer in ours.items()}


NEURONS = {
    "zero": Neuron(np.array(4)),
    "above only": Neuron(np.array(4), Fire.GT),
    "subtract": Neuron(np.array(4), reset=Reset.SUBTRACT),
    "value": Neuron(np.array(4), reset=Reset.VALUE, reset_value=-2.0),
    "many": Neuron(np.array(3), reset=Reset.SUBTRACT, max_spikes=None),
    "many, above only": Neuron(np.array(3), Fire.GT, Reset.SUBTRACT, max_spikes=None),
    "many, to zero": Neuron(np.array(3), max_spikes=None),
    "at most two": Neuron(np.array(2), reset=Reset.SUBTRACT, max_spikes=2),
    "bounded": Neuron(np.array(3), v_min=-2.0),
    "bounded at 0, by subtraction, many": Neuron(np.array(3), reset=Reset.SUBTRACT, max_spikes=None, v_min=0.0),
    "keeps nothing": Neuron(np.array(3), leak=Leak(0)),
    "keeps everything": Neuron(np.array(3), leak=Leak(1), order=Order.INPUT_FIRST),
    "finer states": Neuron(np.array(3), Fire.GT, state_shift=6, v_min=-128.0),
    "finer states, value": Neuron(np.array(3), reset=Reset.VALUE, reset_value=-64.0, state_shift=6),
}


@pytest.mark.parametrize("name", NEURONS)
def test_integer_networks_fire_the_same_spikes(name: str) -> None:
    network = _network(NEURONS[name])
    assert network.is_integer
    spikes = _assert_same(network, _frames(network))
    assert sum(spikes.values()) > 200, spikes
    if "many" in name:
        assert max(layer.raster.max() for layer in reference.run(network, _frames(network)).layers.values()) > 2


@pytest.mark.parametrize("keep", [0.5, 0.75, 0.25])
@pytest.mark.parametrize("order", Order)
@pytest.mark.parametrize("reset", [Reset.ZERO, Reset.SUBTRACT])
def test_real_leaky_networks_of_dyadic_numbers_fire_the_same_spikes(keep: float, order: Order, reset: Reset) -> None:
    theta = np.array(3 if order is Order.LEAK_FIRST else 1)
    network = _network(Neuron(theta, reset=reset, leak=Leak(keep), order=order), real=True)
    assert not network.is_integer
    assert sum(_assert_same(network, _frames(network)).values()) > 100


@pytest.mark.parametrize("form", [(3, 1, 1), (3, 4, 5)])
@pytest.mark.parametrize("most", [1, None])
def test_thresholds_by_channel_and_by_neuron(form: tuple[int, ...], most: int | None) -> None:
    threshold = np.random.default_rng(0).integers(1, 6, form)
    conv = Conv2d(np.random.default_rng(1).integers(-1, 4, (3, 2, 2, 2)))
    layers = (Layer("c", conv), Layer("n", Neuron(threshold, max_spikes=most)))
    network = Network(InputSpec((2, 5, 6), 1000, STEPS), layers, 1)
    assert _assert_same(network, _frames(network))["n"] > 200


@pytest.mark.parametrize("kernel", [(1, 2), (2, 2), (3, 3), (5, 3), (3, 7), (5, 5), (7, 7)])
def test_pools_of_any_area_sum_exactly(kernel: tuple[int, int]) -> None:
    # a mean times its area is off by a rounding where the area is no power of two, and sums land on the threshold
    for theta in (1, 2, 3, 6, 11, 15):
        layers = (Layer("p", SumPool2d(kernel)), Layer("n", Neuron(np.array(theta))))
        network = Network(InputSpec((2, 15, 15), 1000, STEPS), layers, 1)
        assert _assert_same(network, _frames(network, rate=0.7))["n"] > 0


def test_several_inputs_are_added() -> None:
    rng = np.random.default_rng(2)
    kind = Neuron(np.array(3))
    layers = (
        Layer("a", Conv2d(rng.integers(-1, 3, (2, 2, 3, 3)), padding=(1, 1)), ("input",)),
        Layer("n", kind, ("a",)),
        Layer("b", Conv2d(rng.integers(-1, 3, (2, 2, 1, 1))), ("input", "n")),
        Layer("m", kind, ("a", "b")),
    )
    network = Network(InputSpec((2, 5, 4), 1000, STEPS), layers, 1)
    assert min(_assert_same(network, _frames(network)).values()) > 50


def test_one_clip_and_many_clips_take_the_same_model() -> None:
    network = _network(NEURONS["zero"])
    frames = _frames(network)
    model = to_model(network)
    whole, _ = _run(model, network, frames)
    for clip in range(CLIPS):
        alone, _ = _run(model, network, frames[:, clip : clip + 1])
        for name, raster in whole.items():
            np.testing.assert_array_equal(alone[name][:, 0], raster[:, clip])
    assert sum(raster.sum() for raster in whole.values()) > 200


# ---- the file ---------------------------------------------------------------------------------------------------


def test_the_file_is_a_checked_model_of_standard_operators_with_the_documented_names(tmp_path: Path) -> None:
    network = _network(NEURONS["subtract"])
    write(network, tmp_path / "net.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]
    model = onnx.load(tmp_path / "net.onnx")
    onnx.checker.check_model(model, full_check=True)
    names = ["n1", "n2", "n3", "out"]
    assert [i.name for i in model.graph.input] == ["frame", *(f"{name}_state" for name in names)]
    assert [o.name for o in model.graph.output] == [f"{n}_{kind}" for n in names for kind in ("spikes", "next")]
    assert {node.domain for node in model.graph.node} == {""}
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 17)]
    shapes = [[d.dim_param or d.dim_value for d in i.type.tensor_type.shape.dim] for i in model.graph.input]
    assert shapes[:2] == [["N", 2, 7, 11], ["N", *network.shapes["n1"]]]
    spikes, _ = _run(model, network, _frames(network))
    np.testing.assert_array_equal(spikes["out"], reference.run(network, _frames(network)).layers["out"].raster)


# ---- refusals ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "op",
    [batch_norm(np.ones((4, 2))), Gate(np.ones(2)), AvgPool2d((1, 1))],
    ids=lambda op: type(op).__name__,
)
def test_what_must_be_folded_first_is_refused_with_its_name(op: object, tmp_path: Path) -> None:
    layers = (Layer("guilty", op), Layer("n", Neuron(np.array(1.0))))  # type: ignore[arg-type]
    with pytest.raises(UnsupportedError, match=f"{type(op).__name__} has no place in the ONNX file") as caught:
        write(Network(InputSpec((2, 3, 3), 1000, STEPS), layers, 1), tmp_path / "net.onnx")
    assert (caught.value.where, caught.value.hint) == ("guilty", "fold it first")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("neuron", "message"),
    [
        (Neuron(np.array(3), leak=Leak(5, 3)), "an integer leak is not exact in float32"),
        (Neuron(np.array(3), state_bits=4, overflow=Overflow.SATURATE), "a state of 4 bits"),
        (Neuron(np.array(3), state_bits=4, overflow=Overflow.WRAP), "a state of 4 bits"),
    ],
)
def test_a_neuron_that_the_model_cannot_carry_is_refused(neuron: Neuron, message: str) -> None:
    layers = (Layer("w", Dense(np.ones((1, 1), int))), Layer("guilty", neuron))
    with pytest.raises(UnsupportedError, match=message) as caught:
        to_model(Network(InputSpec((1, 1, 1), 1000, STEPS), layers, 1))
    assert [issue.where for issue in caught.value.issues] == ["guilty"]


def test_a_forbidding_state_is_carried_for_it_never_changes_a_value() -> None:
    network = _network(replace(NEURONS["zero"], state_bits=16, overflow=Overflow.FORBID, v_min=-(2.0**14)))
    assert sum(_assert_same(network, _frames(network)).values()) > 200
