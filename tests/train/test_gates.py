# SPDX-License-Identifier: Apache-2.0
"""The calibrated gate is the mean of what the attention did, and says how static it is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional

from spikefold.config import ModelConfig
from spikefold.errors import SpikefoldError
from spikefold.train.attention import ASA
from spikefold.train.gates import calibrate
from spikefold.train.models import SpikingNet

FRAMES = np.random.default_rng(0).poisson(0.8, (5, 9, 2, 10, 8)).astype(np.uint16)


@pytest.fixture
def model() -> SpikingNet:
    torch.manual_seed(3)
    net = SpikingNet(ModelConfig(channels=(4, 6), strides=(1, 2)), (2, 10, 8), 5, 3)
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


def test_the_factor_is_the_mean_gate_of_each_channel(model: SpikingNet) -> None:
    found = calibrate(model, FRAMES, batch=4)
    for name, [(x, y)] in _seen(model).items():
        gate = y / x  # no input is exactly 0 behind batch norm
        assert np.allclose(found[name].scale, gate.mean(axis=(0, 1, 3, 4)), rtol=1e-5)
        assert found[name].mean == pytest.approx(gate.mean(), rel=1e-5)
        assert found[name].std == pytest.approx(gate.std(), rel=1e-3)
        left = ((y - found[name].scale[:, None, None] * x) ** 2).sum()
        assert found[name].explained == pytest.approx(1 - left / (y**2).sum(), rel=1e-6)
    assert list(found) == ["asa1", "asa2"]


def test_a_gate_that_never_changes_is_explained_whole(model: SpikingNet) -> None:
    for attention in _layers(model).values():
        attention.important.weight.data.zero_()
        attention.sub_important.weight.data.zero_()
    for gate in calibrate(model, FRAMES).values():
        assert np.allclose(gate.scale, 0.5, rtol=1e-12)  # sigmoid(0)
        assert gate.std == pytest.approx(0, abs=1e-9)
        assert gate.explained == pytest.approx(1, rel=1e-12)


def test_the_batch_size_changes_nothing(model: SpikingNet) -> None:
    one, many = calibrate(model, FRAMES, batch=1), calibrate(model, FRAMES, batch=9)
    for name, gate in one.items():
        assert np.allclose(gate.scale, many[name].scale, rtol=1e-6)


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
    _layers(model)["asa1"].static_gate = torch.full((4,), 0.5)
    with pytest.raises(SpikefoldError, match="kept no gate"):
        calibrate(model, FRAMES)
    assert all(not attention._forward_hooks for attention in _layers(model).values())


def test_nothing_is_left_behind_after_an_error_either(model: SpikingNet) -> None:
    with pytest.raises(RuntimeError):
        calibrate(model, FRAMES[:, :, :1])
    for attention in _layers(model).values():
        assert (len(attention._forward_hooks), attention.keep_gate, attention.last_gate) == (0, False, None)
