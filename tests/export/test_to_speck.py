# SPDX-License-Identifier: Apache-2.0
"""sinabs' own discretised network and ours: equal in every field, spike and state, or refused with a reason."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sinabs.layers as sl
import torch
from torch import nn

from spikefold.errors import NetworkError, UnsupportedError
from spikefold.export import to_speck
from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Leak, Neuron, Reset
from spikefold.export.ops import Conv2d, Dense, SumPool2d
from spikefold.export.passes.quantise import quantise
from spikefold.export.speck_check import differences
from spikefold.export.speck_runner import run
from spikefold.export.to_speck import SpeckModel, convert
from spikefold.hardware import reference
from spikefold.hardware.samna_standin import SpeckConfiguration, as_values, fill
from spikefold.hardware.speck import NUMBERS

ONE = Neuron(np.array(1.0))


def _network(ops: list[object], shape: tuple[int, int, int] = (2, 12, 10), steps: int = 6) -> Network:
    layers = tuple(Layer(f"{type(op).__name__.lower()}{i}", op) for i, op in enumerate(ops))
    return Network(InputSpec(shape, 1000, steps), layers, 1)


def _weights(*shape: int, mean: float = 0.06, spread: float = 0.2, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).normal(mean, spread, shape)


def _conv(f: int, c: int, k: int, **options: object) -> Conv2d:
    return Conv2d(_weights(f, c, k, k), **options)


def _neuron(reset: Reset, max_spikes: int | None) -> Neuron:
    return Neuron(np.array(0.8), reset=reset, max_spikes=max_spikes)


def _frames(network: Network, clips: int = 3, rate: float = 0.6, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).poisson(rate, (network.input.steps, clips, *network.input.shape))


def _mixed(neuron: Neuron = ONE, shape: tuple[int, int, int] = (2, 12, 10)) -> Network:
    """Biases, padding and strides that differ in y and x, a pool that drops a row, two dense layers."""
    bias = _weights(4, mean=0, spread=0.1)
    ops = [
        _conv(4, 2, 3, bias=bias, padding=(1, 2), stride=(1, 2)), neuron, SumPool2d((2, 2)),
        _conv(5, 4, 3, padding=(0, 1), stride=(2, 1)), neuron,
    ]  # fmt: skip
    network = _network(ops, shape)
    features = int(np.prod(network.shapes[network.layers[-1].name]))
    side = network.shapes[network.layers[-1].name][1:]
    if side[0] != side[1]:
        return network
    return _network([*ops, Dense(_weights(8, features)), neuron, Dense(_weights(4, 8)), neuron], shape)


def _compare(network: Network, frames: np.ndarray) -> dict[str, int]:
    """Convert, check, run both ways; spikes of each layer."""
    model = convert(network)
    integer, _ = quantise(network, NUMBERS)
    assert differences(model, integer) == []
    ours, theirs = reference.run(integer, frames, potentials=True), run(model, frames, potentials=True)
    assert list(ours.layers) == list(theirs.layers)
    for name, layer in ours.layers.items():
        assert layer.raster.shape == theirs.layers[name].raster.shape
        assert theirs.layers[name].raster.dtype == np.uint16
        assert int((layer.raster != theirs.layers[name].raster).sum()) == 0, name
        assert int((layer.potentials != theirs.layers[name].potentials).sum()) == 0, name
    return {name: layer.spikes for name, layer in ours.layers.items()}


@pytest.mark.parametrize("max_spikes", [1, 3, None])
@pytest.mark.parametrize("reset", [Reset.ZERO, Reset.SUBTRACT])
@pytest.mark.parametrize(("shape", "spiking"), [((2, 12, 10), 2), ((2, 12, 5), 4)])
def test_sinabs_equals_the_reference_in_every_spike_and_state(
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
    theta, rate = (400.0, 200.0) if bound == "threshold" else (1.0, 1.0)
    network = _network(
        [_conv(4, 2, 3, bias=bias), Neuron(np.array(theta)), Dense(_weights(3, 320)), ONE], (2, 12, 10)
    )
    square = _network([_conv(4, 2, 3, bias=bias), Neuron(np.array(theta)), Dense(_weights(3, 400)), ONE], (2, 12, 12))
    assert quantise(square, NUMBERS)[1][0].bound_by == bound
    assert all(count > 0 for count in _compare(square, _frames(square, rate=rate)).values())
    with pytest.raises(UnsupportedError, match="10x8"):
        convert(network)  # a dense layer on a map that is not square


def test_a_threshold_keeps_what_float32_would_lose() -> None:
    weight = np.full((1, 2, 1, 1), 127.0)
    network = _network([Conv2d(weight), Neuron(np.array(200.5 + 1e-7)), Conv2d(weight[:, :1]), ONE])
    assert _compare(network, _frames(network, rate=3.0))["neuron1"] > 0
    assert convert(network).configuration()["cnn_layers"][0]["threshold_high"] == 201


def test_the_lower_bound_is_reached_and_held_alike() -> None:
    weight = _weights(4, 2, 5, 5, mean=0.5)
    weight[0] = -1.0
    network = _network([Conv2d(weight), ONE, _conv(3, 4, 3), ONE])
    frames = _frames(network, rate=3.0)
    assert all(count > 0 for count in _compare(network, frames).values())
    model = convert(network)
    states = run(model, frames, potentials=True).layers["neuron1"].potentials
    assert states.min() == NUMBERS.v_min == -16384
    assert int((states[:, :, 0] == NUMBERS.v_min).sum()) > 100
    assert states.max() < convert(network).configuration()["cnn_layers"][0]["threshold_high"]


def test_random_networks_agree() -> None:
    nets = spikes = states = silent = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        network = _random(rng)
        found = _compare(network, _frames(network, clips=2, seed=seed))
        nets, spikes = nets + 1, spikes + sum(found.values())
        silent += sum(count == 0 for count in found.values())
        states += sum(int(np.prod(network.shapes[name])) * 12 for name in found)
    assert nets == 60
    assert spikes > 50_000
    assert states > 200_000
    assert silent < 20


def _random(rng: np.random.Generator) -> Network:
    shape = first = tuple(int(side) for side in (rng.integers(1, 4), rng.integers(8, 18), rng.integers(8, 18)))
    ops: list[object] = []
    for _ in range(int(rng.integers(1, 4))):
        k, f = int(rng.integers(1, 4)), int(rng.integers(1, 6))
        weight = rng.normal(rng.uniform(-0.05, 0.2), 0.3, (f, shape[0], k, k)) * 10 ** rng.uniform(-0.5, 1)
        bias = rng.normal(0, 0.2, f) if rng.random() < 0.4 else None
        stride, padding = (tuple(int(n) for n in rng.integers(*limits, 2)) for limits in ((1, 3), (0, 3)))
        ops += [Conv2d(weight, bias, stride, padding), _random_neuron(rng)]
        shape = ops[-2].output_shape(shape)
        if min(shape[1:]) < 4:
            break
        if rng.random() < 0.5:
            ops.append(SumPool2d((2, 2)))
            shape = ops[-1].output_shape(shape)
    if shape[1] == shape[2]:
        ops += [Dense(rng.normal(0.1, 0.3, (6, int(np.prod(shape))))), _random_neuron(rng)]
    if isinstance(ops[-1], SumPool2d):
        ops.pop()
    return _network(ops, first)


def _random_neuron(rng: np.random.Generator) -> Neuron:
    reset = (Reset.ZERO, Reset.SUBTRACT)[rng.integers(2)]
    return Neuron(np.array(rng.choice([0.5, 1.0, 1.7])), reset=reset, max_spikes=(1, 3, None)[rng.integers(3)])


@pytest.mark.parametrize("shape", [(4, 1, 1), (2, 6, 6)])
def test_a_dense_layer_may_be_the_first(shape: tuple[int, int, int]) -> None:
    ops = [Dense(_weights(6, int(np.prod(shape)), mean=0.3)), ONE, Dense(_weights(4, 6, mean=0.3)), ONE]
    network = _network(ops, shape)
    assert all(count > 0 for count in _compare(network, _frames(network)).values())


def test_nine_layers_fill_nine_cores() -> None:
    ops = [op for i in range(9) for op in (Conv2d(_weights(2, 2, 3, 3, mean=0.25, seed=i), padding=(1, 1)), ONE)]
    network = _network(ops, (2, 8, 8))
    spikes = _compare(network, _frames(network))
    assert len(spikes) == 9
    assert all(count > 0 for count in spikes.values())
    assert sorted(convert(network).layer2core.values()) == list(range(9))


# --- differences ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pair() -> tuple[SpeckModel, Network]:
    network = _mixed(shape=(2, 12, 5))
    return convert(network), quantise(network, NUMBERS)[0]


def _planted(network: Network, index: int, **changes: object) -> Network:
    layers = list(network.layers)
    layers[index] = replace(layers[index], op=replace(layers[index].op, **changes))
    return network.rewritten(layers, "planted")


def _bumped(array: np.ndarray, index: tuple[int, ...] = (0,)) -> np.ndarray:
    changed = array.copy()
    changed[index] += 1
    return changed


def test_planted_changes_are_found(pair: tuple[SpeckModel, Network]) -> None:
    model, network = pair
    conv, neuron = network.layers[0].op, network.layers[1].op
    planted = {
        "weights": _planted(network, 0, weight=_bumped(conv.weight, (3, 1, 2, 0))),
        "biases": _planted(network, 0, bias=_bumped(conv.bias, (2,))),
        "threshold": _planted(network, 1, threshold=neuron.threshold + 1),
        "lower bound": _planted(network, 1, v_min=neuron.v_min - 1),
        "reset to zero": _planted(network, 1, reset=Reset.SUBTRACT),
    }
    assert differences(model, network) == []
    for field, changed in planted.items():
        found = differences(model, changed)
        assert [issue.rule.rsplit(": ")[-1] for issue in found] == [field]
        assert found[0].where == "conv2d0"
    swapped = differences(model, _planted(network, 0, weight=np.swapaxes(conv.weight, 2, 3)))
    assert [issue.rule.rsplit(": ")[-1] for issue in swapped] == ["weights"]
    assert "of 72 differ" in swapped[0].got


def test_stride_and_padding_exchanged_in_x_and_y_are_found(pair: tuple[SpeckModel, Network]) -> None:
    model, _ = pair
    square = _network([_conv(4, 2, 3, padding=(1, 2), stride=(1, 2)), ONE], (2, 12, 12))
    turned = _network([_conv(4, 2, 3, padding=(2, 1), stride=(2, 1)), ONE], (2, 12, 12))
    found = differences(convert(square), quantise(turned, NUMBERS)[0])
    assert {issue.rule.rsplit(": ")[-1] for issue in found} >= {"output shape", "stride", "padding"}
    assert differences(model, quantise(square, NUMBERS)[0])[0].where == "network"


def test_a_pool_of_another_size_and_a_core_too_many_are_found() -> None:
    def pooled(side: int) -> Network:
        ops = [_conv(4, 2, 3, padding=(1, 1)), ONE, SumPool2d((side, side)), _conv(3, 4, 3, padding=(1, 1)), ONE]
        return _network(ops, (2, 8, 8))

    model = convert(pooled(2))
    found = differences(model, quantise(pooled(4), NUMBERS)[0])
    assert "destinations" in {issue.rule.rsplit(": ")[-1] for issue in found}
    model.samna_configuration.cnn_layers[8].weights = [[[[1]]]]
    assert [i.rule.rsplit(": ")[-1] for i in differences(model, quantise(pooled(2), NUMBERS)[0])] == ["cores in use"]


# --- refusals -------------------------------------------------------------------------------------


def test_everything_unsupported_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(to_speck, "_dynapcnn_network", lambda: pytest.fail("sinabs was reached"))
    ops = [
        Conv2d(_weights(4, 1, 3, 3), groups=2), ONE,
        Conv2d(_weights(4, 4, 3, 3), dilation=(2, 2)), Neuron(np.array(1.0), leak=Leak(0.5)),
        Conv2d(_weights(4, 4, 3, 2), stride=(3, 1), padding=(8, 8)), ONE,
    ]  # fmt: skip
    with pytest.raises(UnsupportedError) as caught:
        convert(_network(ops, (2, 32, 32)))
    assert {issue.where for issue in caught.value.issues} == {"conv2d0", "conv2d2", "neuron3", "conv2d4"}
    assert len(caught.value.issues) == 6


def test_branches_are_refused() -> None:
    layers = (
        Layer("a", _conv(2, 2, 1)), Layer("na", ONE), Layer("b", _conv(2, 2, 1)), Layer("nb", ONE),
        Layer("c", _conv(2, 2, 1), inputs=("na", "nb")), Layer("nc", ONE),
    )  # fmt: skip
    with pytest.raises(UnsupportedError, match="chain"):
        convert(Network(InputSpec((2, 4, 4), 1000, 2), layers, 1))


def test_a_failed_placement_says_what_every_layer_needs() -> None:
    # four layers of 64 Ki neurons, three cores with so many
    ops = [op for _ in range(4) for op in (Conv2d(np.ones((16, 16, 1, 1))), ONE)]
    with pytest.raises(UnsupportedError) as caught:
        convert(_network(ops, (16, 64, 64), steps=1))
    assert len(caught.value.issues) == 4
    assert {issue.got for issue in caught.value.issues} == {"kernel 256, neuron 65536, bias 0 words"}
    assert {issue.limit for issue in caught.value.issues} == {"cores [0, 1, 2]"}
    assert len(convert(_network(ops[:6], (16, 64, 64), steps=1)).layer2core) == 3


def test_frames_of_another_shape_are_refused(pair: tuple[SpeckModel, Network]) -> None:
    with pytest.raises(NetworkError, match="do not fit"):
        run(pair[0], np.zeros((2, 1, 2, 5, 12)))


# --- the model ------------------------------------------------------------------------------------


def test_every_run_starts_from_zero_and_leaves_the_model_alone(pair: tuple[SpeckModel, Network]) -> None:
    model, network = pair
    before = model.configuration()
    for clips in (3, 1, 4):
        frames = _frames(network, clips=clips)
        ours, theirs = reference.run(network, frames), run(model, frames)
        assert ours.spikes > 0
        assert all(np.array_equal(ours.layers[n].raster, theirs.layers[n].raster) for n in ours.layers)
        assert all(layer.potentials is None for layer in theirs.layers.values())
    assert model.configuration() == before
    assert not any(layer.spk_layer.is_state_initialised() for layer in model.network.dynapcnn_layers.values())


def test_the_document_holds_the_configuration_and_loads(pair: tuple[SpeckModel, Network], tmp_path: Path) -> None:
    model, _ = pair
    model.write(tmp_path / "net.json")
    assert [path.name for path in tmp_path.iterdir()] == ["net.json"]
    document = json.loads((tmp_path / "net.json").read_text())
    assert document["format"] == "spikefold-speck-1"
    assert document["layer2core"] == dict(model.layer2core)
    loaded = SpeckConfiguration()
    fill(loaded, document["configuration"])
    assert as_values(loaded) == model.configuration()
    assert loaded.cnn_layers[0].threshold_low == -16384
    assert loaded.cnn_layers[0].leak_enable is True


def test_notes_name_what_the_chip_does_otherwise(pair: tuple[SpeckModel, Network]) -> None:
    notes = "\n".join(pair[0].notes)
    assert "conv2d0: the chip adds biases on each tick" in notes
    assert "cannot cap spikes a step" in notes
    loose = convert(_network([Conv2d(np.full((1, 2, 1, 1), 3.0)), Neuron(np.array(1.0), max_spikes=None)]))
    assert loose.notes == ("conv2d0: a weight is 3.02 thresholds, yet the chip fires at most once for an event",)


def test_torch_is_left_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    state, dtype = torch.get_rng_state(), torch.get_default_dtype()
    convert(_mixed())
    assert torch.equal(state, torch.get_rng_state())
    assert torch.get_default_dtype() is dtype
    assert capsys.readouterr().out == ""


# --- faults of sinabs 3.1.3 that this path goes round ---------------------------------------------


def _sinabs(weight: np.ndarray, **options: object) -> object:
    conv = nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[2:], bias=False)
    conv.weight.data = torch.tensor(weight, dtype=torch.float32)
    network = to_speck._dynapcnn_network()
    layers = nn.Sequential(conv, sl.IAFSqueeze(num_timesteps=1, **options))
    return network(layers, input_shape=(2, 12, 10), batch_size=1, discretize=True)


def test_fault_no_lower_bound_erases_small_weights() -> None:
    weight = np.clip(_weights(4, 2, 3, 3), -0.4, 0.4)
    theirs = _sinabs(weight, min_v_mem=None).dynapcnn_layers[0].conv_layer.weight
    assert int((theirs != 0).sum()) == 0
    ours = convert(_network([Conv2d(weight), ONE]))
    assert np.abs(ours.configuration()["cnn_layers"][0]["weights"]).max() >= 127


def test_fault_float32_rounds_otherwise() -> None:
    # 0.5 units above a whole number, but for what float32 loses
    weight = np.full((1, 2, 1, 1), 127.0)
    weight[0, 1] = 2.5 - 1e-9
    single = _sinabs(weight, min_v_mem=-1.0).dynapcnn_layers[0].conv_layer.weight
    ours = convert(_network([Conv2d(weight + 0.0), ONE])).configuration()["cnn_layers"][0]["weights"]
    weight[0, 1] = 3.5 - 1e-9
    single_up = _sinabs(weight, min_v_mem=-1.0).dynapcnn_layers[0].conv_layer.weight
    ours_up = convert(_network([Conv2d(weight), ONE])).configuration()["cnn_layers"][0]["weights"]
    assert (single[0, 1].item(), ours[0][1]) == (2.0, [[2]])
    assert (single_up[0, 1].item(), ours_up[0][1]) == (4.0, [[3]])


def test_fault_an_undeployed_network_cannot_be_reset() -> None:
    with pytest.raises(AttributeError):
        _sinabs(_weights(4, 2, 3, 3), min_v_mem=-1.0).reset_states()


def test_fault_groups_pass_silently_in_sinabs_and_not_here() -> None:
    conv = nn.Conv2d(2, 4, 3, groups=2)
    layers = nn.Sequential(conv, sl.IAFSqueeze(num_timesteps=1, min_v_mem=-1.0))
    made = to_speck._dynapcnn_network()(layers, input_shape=(2, 8, 8), batch_size=1, discretize=True)
    assert made.dynapcnn_layers[0].conv_layer.weight.shape == (4, 1, 3, 3)
    with pytest.raises(ValueError, match="not valid"):
        made.make_config(device="speck2fdevkit")  # the stand-in's own rules catch it
    with pytest.raises(UnsupportedError, match="groups 2"):
        convert(_network([Conv2d(_weights(4, 1, 3, 3), groups=2), ONE]))
