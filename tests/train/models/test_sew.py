# SPDX-License-Identifier: Apache-2.0
"""SEW-Res-SNN-18 is SpikingJelly's, with ASA in its blocks; it goes down to a network of layers that add spikes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional, neuron
from torch import nn

from spikefold.config import ModelConfig
from spikefold.errors import ConfigError
from spikefold.export.from_torch import from_torch
from spikefold.export.network import InputSpec
from spikefold.export.ops import Conv2d, Dense
from spikefold.export.passes.fold import fold
from spikefold.export.passes.fold_global_mean import fold_global_mean
from spikefold.hardware.fit import fit_report
from spikefold.hardware.registry import chip_named
from spikefold.hardware.simulators import clocked
from spikefold.train.models.architectures import architecture, build, network
from spikefold.train.models.attention import Attention
from spikefold.train.models.sew import SewBlock
from spikefold.train.models.spiking_net import SpikingNet

SPEC = InputSpec((3, 30, 37), 1000, 5)
CLASSES = 4


def _config(**changed: object) -> ModelConfig:
    sew = architecture("sew18").model.model_copy(update={"channels": (5, 5, 7), "strides": (1, 1, 2)})
    return sew.model_copy(update=changed)


@torch.no_grad()
def _trained(config: ModelConfig, frames: np.ndarray) -> SpikingNet:
    """Weights with which every layer fires, and the frames' own statistics."""
    torch.manual_seed(1)
    net = SpikingNet(config, SPEC.shape, SPEC.steps, CLASSES)
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.weight.uniform_(0.4, 0.9)
            part.bias.uniform_(0.0, 0.4)
            part.momentum = 1.0
        if isinstance(part, nn.Linear):
            part.weight.normal_(0.3, 1.0)
    net(torch.from_numpy(frames).float())
    functional.reset_net(net)
    return net.double().eval()


def _by_hand(block: SewBlock, x: torch.Tensor) -> torch.Tensor:
    """One block as Fang et al. write it: ``SN(BN(conv(SN(BN(conv(x)))))) + x``, or + a strided 1x1 branch."""
    main = dict(block.main.named_children())
    out = main["sn1"](main["bn1"](main["conv1"](x)))
    out = main["sn2"](main["bn2"](main["conv2"](out)))
    if len(block.shortcut) == 0:
        return out + x
    conv, norm, spiking = block.shortcut
    return out + spiking(norm(conv(x)))


def test_a_block_adds_the_spikes_of_its_branches() -> None:
    frames = np.random.default_rng(0).poisson(0.6, (5, 3, *SPEC.shape))
    net, most = _trained(_config(), frames), 0.0
    inputs: dict[str, torch.Tensor] = {}
    for name, block in net.layers.named_children():
        block.register_forward_pre_hook(lambda _, x, name=name: inputs.__setitem__(name, x[0]))
    outputs = dict(net.layers.named_children())
    found: dict[str, torch.Tensor] = {}
    for name, block in outputs.items():
        block.register_forward_hook(lambda _, __, y, name=name: found.__setitem__(name, y))
    with torch.no_grad():
        net(torch.from_numpy(frames).double())
        functional.reset_net(net)
        blocks = {name: block for name, block in outputs.items() if isinstance(block, SewBlock)}
        assert list(blocks) == ["block1a", "block1b", "block2a", "block2b", "block3a", "block3b"]
        for name, block in blocks.items():
            expected = _by_hand(block, inputs[name])
            assert torch.equal(found[name], expected)
            assert set(expected.unique().tolist()) <= set(range(10))
            most = max(most, expected.max().item())
    assert most >= 3, "identity shortcuts count spikes up"
    shapes = {name: tuple(found[name].shape[2:]) for name in ("conv1", "pool1", "block2b", "block3a", "mean", "fc")}
    assert shapes == {
        "conv1": (5, 15, 19),
        "pool1": (5, 8, 10),
        "block2b": (5, 8, 10),
        "block3a": (7, 4, 5),
        "mean": (7, 1, 1),
        "fc": (4,),
    }


@pytest.mark.parametrize("attention", ["none", "asa1", "tcsa"])
@pytest.mark.parametrize("kind", ["if", "lif"])
def test_module_and_folded_network_fire_the_same_spikes(kind: str, attention: str) -> None:
    frames = np.random.default_rng(0).poisson(0.6, (5, 3, *SPEC.shape))
    net, rng = _trained(_config(attention=attention, neuron=kind), frames), np.random.default_rng(1)
    gates = {}
    for name, module in net.layers.named_modules():
        if isinstance(module, Attention):
            gates[name] = rng.uniform(0.6, 0.95, module.channels)
            module.static_gate = torch.from_numpy(gates[name])[:, None, None]
    assert len(gates) == (0 if attention == "none" else 12)
    real = from_torch(net.layers, SPEC, CLASSES, gates)
    theirs: dict[str, np.ndarray] = {}
    for name, module in net.layers.named_modules():
        if isinstance(module, neuron.BaseNode) or name == "pool1":
            module.register_forward_hook(lambda _, __, y, name=name: theirs.__setitem__(name, y.numpy()))
    with torch.no_grad():
        net(torch.from_numpy(frames).double())
    for made in (fold(real), fold(fold_global_mean(real))):
        ours, compared = clocked.run(made, frames).layers, 0
        assert list(ours) == list(theirs)
        for name, raster in theirs.items():
            assert int((raster.reshape(ours[name].raster.shape) != ours[name].raster).sum()) == 0, name
            assert 0.005 < raster.mean() < 0.95, (name, raster.mean())
            compared += raster.size
        assert compared > 80_000


def test_what_reads_a_block_reads_both_of_its_branches() -> None:
    small = replace(architecture("sew18"), model=_config(), shape=SPEC.shape)
    made = network(small)
    assert made["pool1.or"].op.groups == 5
    assert made["block1a.main.conv1"].inputs == ("pool1",)
    assert made["block1b.main.conv1"].inputs == ("block1a.main.sn2", "pool1")
    assert made["block2a.main.conv1"].inputs == ("block1b.main.sn2", "block1a.main.sn2", "pool1")
    strided = ("block3a.main.sn2", "block3a.shortcut.sn")
    assert made["block3b.main.conv1"].inputs == strided
    assert made["fc"].inputs == ("block3b.main.sn2", *strided)
    fc = made["fc"].op
    assert isinstance(fc, Dense)
    assert fc.weight.shape == (300, 7 * 4 * 5), "the mean over the map is in the weights"


def test_the_full_network_has_the_layers_of_resnet_18() -> None:
    made = network(architecture("sew18", attention="asa1"))
    convs = [la.op for la in made if isinstance(la.op, Conv2d) and la.op.groups == 1]
    assert len(convs) == 1 + 16 + 3
    assert [made.shapes[f"block{stage}b.main.sn2"] for stage in (1, 2, 3, 4)] == [
        (64, 56, 56),
        (128, 28, 28),
        (256, 14, 14),
        (512, 7, 7),
    ]
    model = build(architecture("sew18", attention="asa1"))
    found = [(name, part.channels) for name, part in model.layers.named_modules() if isinstance(part, Attention)]
    assert len(found) == 16
    assert found[:2] == [("block1a.main.asa1", 64), ("block1a.main.asa2", 64)]
    gates = sum(p.numel() for name, p in model.named_parameters() if "asa" in name)
    assert gates == 16 * (2 + 8 * 8 + 36)


@pytest.mark.parametrize(
    ("chip", "rules"),
    [
        ("speck2f", ["at most nine weight layers", "Each layer has a core", "at most 128x128",
                     "at most 64x64 neurons", "at most two others"]),
        ("loihi2", ["netx has no skip connections, no sums and no branches", "A core holds 12000 synaptic words"]),
    ],
)  # fmt: skip
def test_chips_say_why_it_does_not_fit(chip: str, rules: list[str]) -> None:
    report = fit_report(network(architecture("sew18")), chip_named(chip), "sew18")
    assert not report.fits
    named = {issue.rule for issue in report.violations}
    assert len(named) == len(rules)
    assert all(any(rule in name for name in named) for rule in rules)
    assert all(issue.where and issue.got and issue.limit and issue.hint for issue in report.violations)


@pytest.mark.parametrize("changed", [{"hidden": (9,)}, {"reduction": "pool"}, {"conv_bias": True}])
def test_keys_of_a_chain_are_refused(changed: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=f"model.family sew has no {next(iter(changed))}"):
        SpikingNet(_config(**changed), SPEC.shape, SPEC.steps, CLASSES)
