# SPDX-License-Identifier: Apache-2.0
"""The PyTorch trace holds every spike of every layer, and no state passes from one clip to another."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional

from spikefold.config import ModelConfig
from spikefold.train.deploy.tracing import RUNNER, trace_model
from spikefold.train.evaluate import evaluate
from spikefold.train.models.spiking_net import SpikingNet


@pytest.fixture(scope="module")
def model() -> SpikingNet:
    torch.manual_seed(3)
    net = SpikingNet(ModelConfig(channels=(4, 6), strides=(1, 2), attention="asa2"), (2, 10, 8), 5, 3)
    module: Any
    for name, module in net.layers.named_modules():
        if name.startswith("bn"):
            module.bias.data += 0.7  # every layer is to fire
    last: Any = net.layers.fc
    last.weight.data *= 6
    return net.eval()


FRAMES = np.random.default_rng(0).poisson(0.8, (5, 7, 2, 10, 8)).astype(np.uint16)


def test_every_layer_is_recorded_in_order_with_its_shape(model: SpikingNet) -> None:
    trace = trace_model(model, FRAMES)
    assert trace.runner == RUNNER
    shapes = {name: layer.raster.shape for name, layer in trace.layers.items()}
    assert shapes == {"sn1": (5, 7, 4, 10, 8), "sn2": (5, 7, 6, 5, 4), "out": (5, 7, 12, 1, 1)}
    assert all(0 < layer.spikes < layer.raster.size for layer in trace.layers.values())


def test_the_spikes_are_those_of_a_forward_pass(model: SpikingNet) -> None:
    functional.reset_net(model)
    with torch.no_grad():
        _, spikes = model(torch.from_numpy(FRAMES.astype(np.float32)))
    functional.reset_net(model)
    raster = trace_model(model, FRAMES).layers["out"].raster
    assert np.array_equal(raster[..., 0, 0], spikes.numpy().reshape(5, 7, 12))


def test_its_output_counts_are_those_of_the_evaluation(model: SpikingNet) -> None:
    counts = evaluate(model, FRAMES)
    assert counts.sum() > 0
    assert np.array_equal(trace_model(model, FRAMES).output_counts(3), counts)


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_clips_do_not_see_each_other(model: SpikingNet, batch: int) -> None:
    whole, parts = trace_model(model, FRAMES), trace_model(model, FRAMES, batch=batch)
    assert whole.spikes > 500
    for name, layer in whole.layers.items():
        assert np.array_equal(layer.raster, parts.layers[name].raster)


def test_a_run_leaves_no_state_behind_and_takes_none(model: SpikingNet) -> None:
    first = trace_model(model, FRAMES)
    with torch.no_grad():
        model(torch.from_numpy(FRAMES.astype(np.float32)))  # somebody forgot to reset
    second = trace_model(model, FRAMES)
    for name, layer in first.layers.items():
        assert np.array_equal(layer.raster, second.layers[name].raster)


def test_the_spikes_of_the_inner_layers_are_those_of_each_layer_in_turn(model: SpikingNet) -> None:
    trace = trace_model(model, FRAMES, batch=3)
    functional.reset_net(model)
    x = torch.from_numpy(FRAMES.astype(np.float32))
    with torch.no_grad():
        for name in ("conv1", "bn1", "asa1", "sn1", "conv2", "bn2", "asa2", "sn2"):
            x = model.layers.get_submodule(name)(x)
            if name in trace.layers:
                assert np.array_equal(trace.layers[name].raster, x.numpy()), name
    functional.reset_net(model)


def test_a_net_in_training_mode_is_traced_as_at_inference(model: SpikingNet) -> None:
    whole = trace_model(model, FRAMES)
    model.train()
    again = trace_model(model, FRAMES)
    assert not model.training
    for name, layer in whole.layers.items():
        assert np.array_equal(layer.raster, again.layers[name].raster)
