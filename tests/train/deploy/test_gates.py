# SPDX-License-Identifier: Apache-2.0
"""The calibrated gate is the mean of what the attention did, and says how static it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional

from spikefold.config import ModelConfig
from spikefold.errors import SpikefoldError
from spikefold.train.deploy.gates import calibrate, static
from spikefold.train.models.attention import ASA
from spikefold.train.models.spiking_net import SpikingNet

FRAMES = np.random.default_rng(0).poisson(0.8, (5, 9, 2, 10, 8)).astype(np.uint16)


@pytest.fixture
def model() -> SpikingNet:
    torch.manual_seed(3)
    net = SpikingNet(ModelConfig(channels=(4, 6), strides=(1, 2)), (2, 10, 8), 5, 3)
    module: Any
    for name, module in net.layers.named_children():
        if name.startswith("bn"):
            module.bias.data += 0.7
    return net.eval()


def _layers(model: SpikingNet) -> dict[str, ASA]:
    return {name: module for name, module in model.layers.named_children() if isinstance(module, ASA)}


def _seen(model: SpikingNet) -> dict[str, list[tuple[np.ndarray, np.ndarray]]]:
    """Input and output of every attention layer over all clips, by hand."""
    seen: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {name: [] for name in _layers(model)}
    functional.reset_net(model)
    x = torch.from_numpy(FRAMES.astype(np.float32))
    with torch.no_grad():
        for name, module in model.layers.named_children():
            y = module(x)
            if name in seen:
                seen[name].append((x.double().numpy(), y.double().numpy()))
            x = y
    functional.reset_net(model)
    return seen


def test_forms_and_shares_are_those_of_the_gate_itself(model: SpikingNet) -> None:
    found = calibrate(model, FRAMES, batch=4)
    for name, [(x, y)] in _seen(model).items():
        gate, layer = y / x, found[name]  # no input is exactly 0 behind batch norm
        channel, neuron = gate.mean(axis=(0, 1, 3, 4)), gate.mean(axis=(0, 1))
        assert np.allclose(layer.form("channel"), channel, rtol=1e-5)
        assert np.allclose(layer.form("neuron"), neuron, rtol=1e-5)
        assert np.allclose(layer.variance_map, gate.var(axis=(0, 1)), rtol=1e-2, atol=1e-6)
        assert np.array_equal(layer.form("mask"), channel >= 0.5)
        assert np.allclose(layer.by_step, gate.mean(axis=(1, 2, 3, 4)), rtol=1e-5)
        assert layer.mean == pytest.approx(gate.mean(), rel=1e-5)
        assert layer.std == pytest.approx(gate.std(), rel=1e-3)
        spread = ((gate - gate.mean()) ** 2).mean()
        for form, axes in {
            "by_step": (1, 2, 3, 4),
            "by_channel": (0, 1, 3, 4),
            "by_position": (0, 1, 2),
            "by_channel_and_position": (0, 1),
        }.items():
            left = ((gate - gate.mean(axis=axes, keepdims=True)) ** 2).mean()
            assert layer.shares[form] == pytest.approx(1 - left / spread, abs=2e-3)
        left = ((gate - layer.form("rank1")) ** 2).mean()
        assert layer.shares["rank1"] == pytest.approx(1 - left / spread, abs=2e-3)
        assert np.linalg.matrix_rank(layer.form("rank1").reshape(len(channel), -1), tol=1e-9) == 1
        assert layer.shares["channel"] <= layer.shares["rank1"] + 1e-9
        assert layer.shares["rank1"] <= layer.shares["neuron"] + 1e-9
    assert list(found) == ["asa1", "asa2"]


def test_the_mask_agreement_is_that_of_the_important_group(model: SpikingNet) -> None:
    found = calibrate(model, FRAMES, batch=9)
    for (name, [(x, _)]), attention in zip(_seen(model).items(), _layers(model).values(), strict=True):
        group = attention._important_group(torch.tensor(x, dtype=torch.float32)).numpy()
        often = group.mean(axis=(0, 1))
        assert found[name].mask_agreement == pytest.approx(np.maximum(often, 1 - often).mean(), abs=1e-6)
        assert 0.5 <= found[name].mask_agreement <= 1


def test_a_gate_that_never_changes_is_explained_whole(model: SpikingNet) -> None:
    for attention in _layers(model).values():
        attention.important.weight.data.zero_()
        attention.sub_important.weight.data.zero_()
    for gate in calibrate(model, FRAMES).values():
        assert np.allclose(gate.form("channel"), 0.5, rtol=1e-12)  # sigmoid(0)
        assert gate.std == pytest.approx(0, abs=1e-9)


def test_a_static_gate_is_in_force_inside_the_block_only(model: SpikingNet) -> None:
    found = calibrate(model, FRAMES)
    dynamic = _seen(model)
    with static(model, {"asa1": found["asa1"].form("channel"), "asa2": found["asa2"].form("neuron")}):
        for name, [(x, y)] in _seen(model).items():
            factors = found[name].form("channel" if name == "asa1" else "neuron")
            assert np.allclose(
                y, x * (factors if factors.ndim == 3 else factors[:, None, None]), rtol=1e-5, atol=1e-6
            )
    for name, [(_, y)] in _seen(model).items():
        assert np.array_equal(y, dynamic[name][0][1])


def test_an_unknown_form_is_refused(model: SpikingNet) -> None:
    with pytest.raises(SpikefoldError, match="unknown static form 'cubic'"):
        calibrate(model, FRAMES)["asa1"].form("cubic")


def test_nothing_is_left_behind_in_the_model(model: SpikingNet) -> None:
    calibrate(model, FRAMES)
    for attention in _layers(model).values():
        assert not attention._forward_hooks
        assert not attention.keep_gate
        assert attention.last_gate is None


def test_a_network_without_attention_has_no_gates() -> None:
    config = ModelConfig(channels=(4,), strides=(1,), attention="none")
    assert calibrate(SpikingNet(config, (2, 10, 8), 5, 3), FRAMES) == {}


def test_a_static_gate_cannot_be_calibrated_again(model: SpikingNet) -> None:
    _layers(model)["asa1"].static_gate = torch.full((4, 1, 1), 0.5)
    with pytest.raises(SpikefoldError, match="kept no gate"):
        calibrate(model, FRAMES)
    assert all(not attention._forward_hooks for attention in _layers(model).values())


def test_nothing_is_left_behind_after_an_error_either(model: SpikingNet) -> None:
    with pytest.raises(RuntimeError):
        calibrate(model, FRAMES[:, :, :1])
    for attention in _layers(model).values():
        assert (len(attention._forward_hooks), attention.keep_gate, attention.last_gate) == (0, False, None)
