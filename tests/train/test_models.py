# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spikingjelly.activation_based import base

from spikefold.config import ModelConfig
from spikefold.train.attention import ASA
from spikefold.train.models import SpikingNet

STEPS, CLASSES = 2, 3


def _net(
    reduction: Literal["pool", "stride"], strides: tuple[int, ...], sides: tuple[int, int],
    attention: Literal["none", "asa1", "asa2"] = "asa1", voters: int = 2,
) -> SpikingNet:  # fmt: skip
    config = ModelConfig(
        channels=tuple(range(3, 3 + len(strides))), strides=strides, reduction=reduction, attention=attention,
        voters=voters,
    )  # fmt: skip
    return SpikingNet(config, (2, *sides), STEPS, CLASSES)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(1, 3), min_size=1, max_size=3), st.integers(7, 23), st.integers(7, 23))
def test_pooled_and_strided_networks_have_the_same_features(strides: list[int], height: int, width: int) -> None:
    frames = torch.zeros(STEPS, 2, 2, height, width)
    for stride in strides:
        height, width = height // stride, width // stride
    if min(height, width) < 1:
        return
    sizes = []
    for reduction in ("pool", "stride"):
        net = _net(reduction, tuple(strides), frames.shape[3:])  # type: ignore[arg-type]
        features = net.layers[:-2](frames)
        assert features.shape == (STEPS, 2, (2 + len(strides)) * height * width)
        sizes.append(features.shape)
    assert sizes[0] == sizes[1]


@pytest.mark.parametrize("reduction", ["pool", "stride"])
@pytest.mark.parametrize("attention", ["none", "asa1", "asa2"])
def test_current_and_spikes_come_by_step_clip_class_and_voter(
    reduction: Literal["pool", "stride"], attention: Literal["none", "asa1", "asa2"]
) -> None:
    net = _net(reduction, (1, 2), (9, 7), attention, voters=4)
    current, spikes = net(5 * torch.rand(STEPS, 5, 2, 9, 7))
    assert current.shape == spikes.shape == (STEPS, 5, CLASSES, 4)
    assert set(spikes.unique().tolist()) <= {0.0, 1.0}


def test_the_voters_of_a_class_stand_side_by_side() -> None:
    net = _net("stride", (2,), (8, 8), voters=4)
    with torch.no_grad():
        net.layers.fc.weight.zero_()  # type: ignore[union-attr]
        net.layers.fc.weight[4:8] = 1  # type: ignore[index]
    net.eval()
    current, _ = net(50 * torch.rand(STEPS, 6, 2, 8, 8))
    assert current[:, :, 1].sum() > 0
    assert current[:, :, [0, 2]].abs().sum() == 0


def test_order_of_a_block_is_that_of_the_paper() -> None:
    names = [name for name, _ in _net("pool", (1, 2), (8, 8)).layers.named_children()]
    assert names == [
        "conv1", "bn1", "asa1", "sn1", "conv2", "bn2", "pool2", "asa2", "sn2", "flatten", "fc", "out"
    ]  # fmt: skip


def test_strided_network_has_no_pools_and_the_wider_kernel() -> None:
    layers = dict(_net("stride", (1, 2, 3), (12, 12)).layers.named_children())
    assert not any(name.startswith("pool") for name in layers)
    shapes = [(layers[f"conv{i}"].kernel_size, layers[f"conv{i}"].stride) for i in (1, 2, 3)]
    assert shapes == [((3, 3), (1, 1)), ((4, 4), (2, 2)), ((5, 5), (3, 3))]


@pytest.mark.parametrize(("attention", "mlp"), [("asa1", True), ("asa2", False)])
def test_attention_is_built_as_configured(attention: Literal["asa1", "asa2"], mlp: bool) -> None:
    found = [m for m in _net("stride", (2, 2), (8, 8), attention).modules() if isinstance(m, ASA)]
    assert [(m.steps, m.channels, m.mix is not None, m.lam) for m in found] == [
        (STEPS, 3, mlp, 0.5), (STEPS, 4, mlp, 0.5)
    ]  # fmt: skip
    assert not any(isinstance(m, ASA) for m in _net("stride", (2, 2), (8, 8), "none").modules())


@pytest.mark.parametrize("kind", ["if", "lif"])
def test_neurons_are_built_as_configured(kind: Literal["if", "lif"]) -> None:
    config = ModelConfig(channels=(2, 2), strides=(2, 2), neuron=kind, threshold=0.7, keep=0.25)
    net = SpikingNet(config, (2, 8, 8), STEPS, CLASSES)
    neurons = [m for m in net.modules() if isinstance(m, base.MemoryModule) and hasattr(m, "v_threshold")]
    assert [n.v_threshold for n in neurons] == [0.7] * 3
    assert [hasattr(n, "tau") for n in neurons] == [kind == "lif"] * 3
    if kind == "lif":
        assert [n.tau for n in neurons] == [pytest.approx(1 / 0.75)] * 3
