# SPDX-License-Identifier: Apache-2.0
"""Dropout as the published code has it: where it stands, what it draws, and that nothing but the training sees it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spikingjelly.activation_based import functional, layer
from torch import nn

from spikefold.config import ModelConfig, load_config
from spikefold.errors import ConfigError
from spikefold.export.from_torch import from_torch
from spikefold.export.network import InputSpec
from spikefold.hardware.simulators import clocked
from spikefold.train import checkpoint
from spikefold.train.analysis.features import Rules
from spikefold.train.analysis.measure import analyse
from spikefold.train.checkpoint import Checkpoint
from spikefold.train.data.frames import Binning
from spikefold.train.deploy.gates import calibrate
from spikefold.train.deploy.tracing import trace_model
from spikefold.train.evaluate import evaluate
from spikefold.train.loop import train
from spikefold.train.models.spiking_net import SpikingNet
from spikefold.train.state import Epoch
from tests.train.training_cases import changed, halves, weights

STEPS, CLIPS = 6, 5
CONFIG = ModelConfig(
    channels=(6, 8), strides=(1, 2), reduction="pool", hidden=(20,), threshold=0.3, attention="none", voters=2
)


def _net(dropout: tuple[float, ...], **more: Any) -> SpikingNet:
    torch.manual_seed(0)
    net = SpikingNet(CONFIG.model_copy(update={"dropout": dropout} | more), (2, 8, 8), STEPS, 3)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.constant_(module.bias, 0.4)  # so that every layer fires
        if isinstance(module, nn.Linear):
            module.weight.data *= 4
    return net


def _frames(clips: int = CLIPS) -> torch.Tensor:
    return torch.poisson(torch.full((STEPS, clips, 2, 8, 8), 0.8), generator=torch.Generator().manual_seed(1))


def _seen(net: SpikingNet, frames: torch.Tensor) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Input and output of every layer."""
    found: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}

    def keep(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
            found[name] = inputs[0].detach(), output.detach()

        return hook

    hooks = [module.register_forward_hook(keep(name)) for name, module in net.layers.named_children()]
    net(frames)
    for hook in hooks:
        hook.remove()
    return found


def test_it_stands_before_the_weights_and_behind_the_neurons_of_its_layers() -> None:
    names = [name for name, _ in _net((0.0, 0.1, 0.2, 0.3)).layers.named_children()]
    assert names == [
        "conv1", "bn1", "sn1", "drop2", "conv2", "bn2", "pool2", "sn2", "hold2", "flatten", "drop3", "fc3", "sn3",
        "hold3", "drop", "fc", "out", "hold",
    ]  # fmt: skip
    found = {
        name: module.p
        for name, module in _net((0.0, 0.1, 0.2, 0.3)).layers.named_children()
        if "d" in name[:4] and hasattr(module, "p")
    }
    assert found == {"drop2": 0.1, "hold2": 0.1, "drop3": 0.2, "hold3": 0.2, "drop": 0.3, "hold": 0.3}
    # spikes are left out before they are pooled
    net = _net((0.5, 0.0, 0.0, 0.0), reduction="spike_max", strides=(2, 2))
    pooled = [name for name, _ in net.layers.named_children()]
    assert pooled[:5] == ["drop1", "conv1", "bn1", "sn1", "hold1"]
    assert pooled[5] == "pool1"
    assert "drop" not in pooled


def test_inputs_are_left_out_anew_each_step_and_neurons_for_a_whole_clip() -> None:
    p = 0.5
    net = _net((0.0, p, p, p))
    seen = _seen(net, _frames(40))
    for name in ("drop2", "drop3", "drop", "hold2", "hold3", "hold"):
        before, after = seen[name]
        spiked = before != 0
        left = after != 0
        assert spiked.sum() > 300
        assert not (left & ~spiked).any()
        assert torch.equal(after[left], before[left] / (1 - p))
        assert 0.4 < (left & spiked).sum() / spiked.sum() < 0.6
        # neurons that fired twice or more: kept always or never, or now and then
        twice = spiked.sum(0) >= 2
        share = (left.sum(0) / spiked.sum(0).clamp(min=1))[twice]
        mixed = ((share > 0) & (share < 1)).float().mean()
        assert twice.sum() > 50
        assert mixed > 0.3 if name.startswith("drop") else mixed == 0
    held = seen["hold2"]
    clips = (held[1].sum(0) != 0) != (held[0].sum(0) != 0)
    assert not torch.equal(clips[0], clips[1]), "each clip has a mask of its own"
    layers: Any = net.layers
    mask = layers.hold2.mask
    net(_frames(40))
    assert layers.hold2.mask is mask
    functional.reset_net(net)
    net(_frames(40))
    assert not torch.equal(layers.hold2.mask, mask), "a batch draws another one"


def test_a_network_gives_the_current_of_its_outputs_and_what_is_left_of_their_spikes() -> None:
    net = _net((0.0, 0.0, 0.0, 0.5))
    seen: dict[str, torch.Tensor] = {}
    for name in ("fc", "out", "hold"):
        net.get_submodule(f"layers.{name}").register_forward_hook(lambda _, __, y, name=name: seen.update({name: y}))
    current, spikes = net(_frames())
    assert torch.equal(current.flatten(2), seen["fc"])
    assert torch.equal(spikes.flatten(2), seen["hold"])
    assert set(spikes.unique().tolist()) == {0.0, 2.0}
    assert (seen["out"] > seen["hold"]).any()


@settings(deadline=None, max_examples=15, derandomize=True)
@given(st.lists(st.sampled_from([0.0, 0.1, 0.5, 0.9]), min_size=4, max_size=4))
def test_nothing_but_the_training_sees_it(probabilities: list[float]) -> None:
    plain, dropping = _net(()), _net(tuple(probabilities))
    assert list(plain.state_dict()) == list(dropping.state_dict())
    assert weights(plain) == weights(dropping)
    frames = _frames().numpy().astype(np.uint16)
    counts = evaluate(plain, frames)
    assert counts.sum() > 20
    assert np.array_equal(evaluate(dropping, frames), counts)
    one, other = trace_model(plain, frames), trace_model(dropping, frames)
    assert list(one.layers) == list(other.layers)
    assert all(np.array_equal(one.layers[name].raster, other.layers[name].raster) for name in one.layers)


@pytest.mark.parametrize("reduction", ["pool", "stride", "spike_max", "spike_mean"])
def test_an_exported_network_has_none(reduction: str) -> None:
    net = _net((0.2, 0.2, 0.2, 0.2), reduction=reduction).eval().double()
    frames = _frames()
    spec = InputSpec((2, 8, 8), 1000, STEPS)
    made = from_torch(net.layers, spec, 3)
    plain = from_torch(_net((), reduction=reduction).eval().double().layers, spec, 3)
    assert [la.name for la in made] == [la.name for la in plain]
    theirs: dict[str, torch.Tensor] = {}
    for name, module in net.layers.named_children():
        module.register_forward_hook(lambda _, __, out, name=name: theirs.__setitem__(name, out))
    with torch.no_grad():
        net.layers(frames.double())
    compared = 0
    for name, found in clocked.run(made, frames.numpy().astype(np.uint16)).layers.items():
        assert np.array_equal(found.raster.reshape(theirs[name].shape), theirs[name].numpy()), name
        compared += int(found.raster.sum())
    assert compared > 500


def test_gates_analysis_and_checkpoints_do_as_without_it(tmp_path: Path) -> None:
    plain, dropping = (_net(p, attention="asa1") for p in ((), (0.3, 0.3, 0.3, 0.3)))
    frames = _frames().numpy().astype(np.uint16)
    one, other = calibrate(plain, frames), calibrate(dropping, frames)
    assert list(one) == list(other) == ["asa1", "asa2"]
    assert all(np.array_equal(one[name].mean_map, other[name].mean_map) for name in one)
    first, second = (analyse(net, frames, Rules(), 2, lambda done, of: None) for net in (plain, dropping))
    assert list(first.layers) == list(second.layers) == ["sn1", "sn2", "sn3", "out"]
    assert first.rates.nasfr == second.rates.nasfr > 0.01
    binning = Binning((8, 8), 1, 1000, STEPS)
    checkpoint.save(tmp_path, Checkpoint(dropping, binning, ("a", "b", "c")))
    found = checkpoint.load(tmp_path).model
    assert found.config.dropout == (0.3, 0.3, 0.3, 0.3)
    assert np.array_equal(evaluate(found, frames), evaluate(plain, frames))


def test_a_training_that_stopped_draws_what_it_would_have_drawn(tmp_path: Path) -> None:
    config = changed(model={"dropout": (0.2, 0.3), "attention": "asa2"}, train={"epochs": 5, "shift": 1})
    clips, path = halves(20), tmp_path / "state.safetensors"
    told: list[Epoch] = []
    whole = train(config, clips, 2, told.append)

    def stop(epoch: Epoch) -> None:
        if epoch.number == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, clips, 2, stop, state=path)
    torch.manual_seed(99)
    again: list[Epoch] = []
    assert weights(train(config, clips, 2, again.append, state=path)) == weights(whole)
    assert again == told
    without = train(changed(config, model={"dropout": ()}), clips, 2, lambda epoch: None)
    assert weights(without) != weights(whole)


def test_there_is_a_probability_for_each_layer() -> None:
    config = load_config(None, ("model.hidden=[9]", "model.dropout=[0, 0, 0.1, 0.2, 0.5]"))
    assert config.model.dropout == (0.0, 0.0, 0.1, 0.2, 0.5)
    with pytest.raises(ConfigError, match=r"model\.dropout: .*3 probabilities for 4 layers"):
        load_config(None, ("model.dropout=[0, 0, 0.1]",))
    for wrong in ("1.0", "-0.1"):
        with pytest.raises(ConfigError, match=r"model\.dropout\.3"):
            load_config(None, (f"model.dropout=[0, 0, 0, {wrong}]",))
    with pytest.raises(ConfigError, match="family sew has no dropout"):
        load_config(None, ("model.family=sew", "model.dropout=[0.1]"))


def test_only_those_two_kinds_of_layers_are_added() -> None:
    kinds = {type(m) for m in _net((0.1,) * 4).modules()} - {type(m) for m in _net(()).modules()}
    assert kinds == {nn.Dropout, layer.Dropout}
