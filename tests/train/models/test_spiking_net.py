# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spikingjelly.activation_based import base, functional, layer, neuron, surrogate

from spikefold.config import ModelConfig
from spikefold.train.models.attention import ASA, Attention
from spikefold.train.models.attention_compared import SA, TCSA
from spikefold.train.models.fast_if import FastIF
from spikefold.train.models.fast_lif import FastLIF
from spikefold.train.models.mean_pool import MeanPool
from spikefold.train.models.spiking_net import SpikingNet

STEPS, CLASSES = 2, 3
Reduction = Literal["pool", "stride", "spike_max", "spike_mean"]


def _net(
    reduction: Reduction,
    strides: tuple[int, ...],
    sides: tuple[int, int],
    attention: Literal["none", "asa1", "asa2", "sa", "tcsa"] = "asa1",
    voters: int = 2,
) -> SpikingNet:
    config = ModelConfig(
        channels=tuple(range(3, 3 + len(strides))),
        strides=strides,
        reduction=reduction,
        attention=attention,
        voters=voters,
    )
    return SpikingNet(config, (2, *sides), STEPS, CLASSES)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(1, 3), min_size=1, max_size=3), st.integers(7, 23), st.integers(7, 23))
def test_however_it_is_reduced_the_network_has_the_same_features(strides: list[int], height: int, width: int) -> None:
    frames = torch.zeros(STEPS, 2, 2, height, width)
    for stride in strides:
        height, width = height // stride, width // stride
    if min(height, width) < 1:
        return
    sizes = []
    for reduction in ("pool", "stride", "spike_max", "spike_mean"):
        net = _net(reduction, tuple(strides), frames.shape[3:])  # type: ignore[arg-type]
        features = net.layers[:-2](frames)
        assert features.shape == (STEPS, 2, (2 + len(strides)) * height * width)
        sizes.append(features.shape)
    assert len(sizes) == 4
    assert len(set(sizes)) == 1


@pytest.mark.parametrize("reduction", ["pool", "stride", "spike_max", "spike_mean"])
@pytest.mark.parametrize("attention", ["none", "asa1", "asa2", "sa", "tcsa"])
def test_current_and_spikes_come_by_step_clip_class_and_voter(
    reduction: Reduction, attention: Literal["none", "asa1", "asa2", "sa", "tcsa"]
) -> None:
    net = _net(reduction, (1, 2), (9, 7), attention, voters=4)
    current, spikes = net(5 * torch.rand(STEPS, 5, 2, 9, 7))
    assert current.shape == spikes.shape == (STEPS, 5, CLASSES, 4)
    assert set(spikes.unique().tolist()) <= {0.0, 1.0}


def test_the_voters_of_a_class_stand_side_by_side() -> None:
    net = _net("stride", (2,), (8, 8), voters=4)
    with torch.no_grad():
        last = net.layers.get_parameter("fc.weight")
        last.zero_()
        last[4:8] = 1
    net.eval()
    current, _ = net(50 * torch.rand(STEPS, 6, 2, 8, 8))
    assert current[:, :, 1].sum() > 0
    assert current[:, :, [0, 2]].abs().sum() == 0


def test_order_of_a_block_is_that_of_the_paper() -> None:
    names = [name for name, _ in _net("pool", (1, 2), (8, 8)).layers.named_children()]
    assert names == ["conv1", "bn1", "asa1", "sn1", "conv2", "bn2", "pool2", "asa2", "sn2", "flatten", "fc", "out"]


@pytest.mark.parametrize(("reduction", "kind"), [("spike_max", layer.MaxPool2d), ("spike_mean", MeanPool)])
def test_pools_on_spikes_follow_the_neurons(reduction: Reduction, kind: type) -> None:
    layers = dict(_net(reduction, (1, 3, 2), (12, 12)).layers.named_children())
    assert list(layers) == [
        "conv1", "bn1", "asa1", "sn1", "conv2", "bn2", "asa2", "sn2", "pool2", "conv3", "bn3", "asa3", "sn3", "pool3",
        "flatten", "fc", "out",
    ]  # fmt: skip
    assert [(type(layers[f"pool{n}"]), layers[f"pool{n}"].kernel_size) for n in (2, 3)] == [(kind, 3), (kind, 2)]
    assert {(layers[f"conv{n}"].kernel_size, layers[f"conv{n}"].stride) for n in (1, 2, 3)} == {((3, 3), (1, 1))}


def test_hidden_dense_layers_stand_between_flatten_and_output_each_with_neurons() -> None:
    config = ModelConfig(channels=(3, 4), strides=(2, 2), hidden=(7, 5), voters=2)
    layers = dict(SpikingNet(config, (2, 8, 12), STEPS, CLASSES).layers.named_children())
    assert list(layers)[8:] == ["flatten", "fc3", "sn3", "fc4", "sn4", "fc", "out"]
    sizes = [(layers[name].in_features, layers[name].out_features) for name in ("fc3", "fc4", "fc")]
    assert sizes == [(4 * 2 * 3, 7), (7, 5), (5, CLASSES * 2)]


@pytest.mark.parametrize(("conv", "dense"), [(False, False), (True, False), (False, True), (True, True)])
def test_biases_are_built_as_configured(conv: bool, dense: bool) -> None:
    config = ModelConfig(channels=(3, 4), strides=(2, 2), hidden=(7,), conv_bias=conv, dense_bias=dense)
    layers = dict(SpikingNet(config, (2, 8, 8), STEPS, CLASSES).layers.named_children())
    assert [layers[name].bias is not None for name in ("conv1", "conv2", "fc3", "fc")] == [conv, conv, dense, dense]
    assert all(layers[name].affine for name in ("bn1", "bn2"))


def test_a_model_described_before_there_were_more_keys_is_still_the_same() -> None:
    described = {
        "channels": [16, 32, 32],
        "strides": [2, 2, 2],
        "reduction": "stride",
        "attention": "asa1",
        "lam": 0.5,
        "static_share": 0.3,
        "neuron": "if",
        "threshold": 1.0,
        "keep": 0.5,
        "voters": 4,
    }
    config = ModelConfig.model_validate(described)
    assert config == ModelConfig()
    net = SpikingNet(config, (2, 32, 32), STEPS, CLASSES)
    asa = ["alpha", "beta", "mix.weight", "important.weight", "sub_important.weight"]
    norm = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    expected = []
    for n in (1, 2, 3):
        expected += [
            f"layers.conv{n}.weight",
            *(f"layers.bn{n}.{k}" for k in norm),
            *(f"layers.asa{n}.{k}" for k in asa),
        ]
    assert list(net.state_dict()) == [*expected, "layers.fc.weight"]
    assert {type(m.surrogate_function).__name__ for m in net.modules() if hasattr(m, "surrogate_function")} == {
        "ATan"
    }
    assert {m.detach_reset for m in net.modules() if hasattr(m, "detach_reset")} == {True}


def test_strided_network_has_no_pools_and_the_wider_kernel() -> None:
    layers = dict(_net("stride", (1, 2, 3), (12, 12)).layers.named_children())
    assert not any(name.startswith("pool") for name in layers)
    shapes = [(layers[f"conv{i}"].kernel_size, layers[f"conv{i}"].stride) for i in (1, 2, 3)]
    assert shapes == [((3, 3), (1, 1)), ((4, 4), (2, 2)), ((5, 5), (3, 3))]


@pytest.mark.parametrize(("attention", "mlp"), [("asa1", True), ("asa2", False)])
def test_attention_is_built_as_configured(attention: Literal["asa1", "asa2"], mlp: bool) -> None:
    found = [m for m in _net("stride", (2, 2), (8, 8), attention).modules() if isinstance(m, ASA)]
    assert [(m.steps, m.channels, m.mix is not None, m.lam) for m in found] == [
        (STEPS, 3, mlp, 0.5),
        (STEPS, 4, mlp, 0.5),
    ]
    assert not any(isinstance(m, ASA) for m in _net("stride", (2, 2), (8, 8), "none").modules())


@pytest.mark.parametrize(("attention", "kind"), [("sa", SA), ("tcsa", TCSA)])
def test_the_compared_attentions_are_built_as_configured(attention: Literal["sa", "tcsa"], kind: type) -> None:
    net = _net("pool", (2, 2), (8, 8), attention)
    found = {name: m for name, m in net.layers.named_children() if isinstance(m, Attention)}
    assert list(found) == [f"{attention}1", f"{attention}2"]
    assert [(type(m), m.steps, m.channels, m.static_share) for m in found.values()] == [
        (kind, STEPS, 3, 0.3),
        (kind, STEPS, 4, 0.3),
    ]


@pytest.mark.parametrize("kind", ["if", "lif", "lif_decay_input", "plif"])
def test_neurons_are_built_as_configured(kind: Literal["if", "lif", "lif_decay_input", "plif"]) -> None:
    config = ModelConfig(
        channels=(2, 2),
        strides=(2, 2),
        hidden=(5,),
        neuron=kind,
        threshold=0.7,
        keep=0.25,
        surrogate="rectangle",
        detach_reset=False,
    )
    net = SpikingNet(config, (2, 8, 8), STEPS, CLASSES)
    found = [m for m in net.modules() if isinstance(m, base.MemoryModule) and hasattr(m, "v_threshold")]
    types = {"if": FastIF, "plif": neuron.ParametricLIFNode, "lif": FastLIF}  # which are an IFNode and a LIFNode
    expected = types.get(kind, neuron.LIFNode)
    assert [(type(n), n.v_threshold, n.detach_reset) for n in found] == [(expected, 0.7, False)] * 4
    assert {type(n.surrogate_function) for n in found} == {surrogate.Rect}
    if issubclass(expected, neuron.LIFNode):
        assert {(n.tau, n.decay_input) for n in found} == {(1 / 0.75, kind == "lif_decay_input")}
    if kind == "plif":
        assert [torch.sigmoid(n.w).item() for n in found] == [pytest.approx(0.75)] * 4
        assert len({id(n.w) for n in found}) == 4, "each layer learns its own"


def test_only_the_rectangle_takes_the_compiled_neuron() -> None:
    for spike, expected in (("rectangle", FastLIF), ("atan", neuron.LIFNode)):
        config = ModelConfig(neuron="lif", surrogate=spike)
        net = SpikingNet(config, (2, 16, 16), STEPS, CLASSES)
        assert {type(m) for m in net.modules() if isinstance(m, neuron.BaseNode)} == {expected}


@pytest.mark.parametrize("reduction", ["pool", "stride", "spike_max", "spike_mean"])
def test_channels_lie_next_to_each_other_in_memory_in_every_layer(reduction: Reduction) -> None:
    """And that changes no result: what the network hands on is that of its layers one by one."""
    torch.manual_seed(0)
    net, frames = _net(reduction, (2, 2), (13, 11)), torch.poisson(torch.full((STEPS, 3, 2, 13, 11), 2.0))
    for module in net.modules():
        if isinstance(module, layer.BatchNorm2d):
            torch.nn.init.constant_(module.bias, 1.0)  # so that every layer fires
    seen: dict[str, torch.Tensor] = {}
    for name, module in net.layers.named_children():
        module.register_forward_hook(lambda _, __, out, name=name: seen.__setitem__(name, out))
    torch.manual_seed(1)  # of the clips that see a mean gate
    current, _ = net(frames)
    maps = {name: x.flatten(0, 1) for name, x in seen.items() if x.ndim == 5}
    assert len(maps) > 6
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x in maps.values())
    functional.reset_net(net)
    torch.manual_seed(1)
    assert torch.allclose(net.layers[:-1](frames).reshape(current.shape), current, atol=1e-5)
    assert current.abs().max() > 0.01


def test_asa_is_built_in_the_mode_and_with_the_gradients_that_are_configured() -> None:
    config = ModelConfig(channels=(3, 4), strides=(2, 2), asa_mode="batch", learn_importance=True)
    found = [m for m in SpikingNet(config, (2, 8, 8), STEPS, CLASSES).modules() if isinstance(m, ASA)]
    assert [(m.mode, m.learn_importance) for m in found] == [("batch", True)] * 2
    plain = [m for m in _net("stride", (2, 2), (8, 8)).modules() if isinstance(m, ASA)]
    assert [(m.mode, m.learn_importance) for m in plain] == [("clip", False)] * 2
