# SPDX-License-Identifier: Apache-2.0
"""SpikingJelly's own networks come in as they are, and fire every spike that they fire there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron, surrogate
from torch import nn

from spikefold.errors import UnsupportedError
from spikefold.export.from_torch import from_torch
from spikefold.export.network import InputSpec
from spikefold.export.neuron import Neuron
from tests.came_in import Record, came_in, was_refused
from tests.export.pytorch.libraries import compared, lively, no_torchvision

__all__ = ["no_torchvision"]
pytestmark = pytest.mark.usefixtures("no_torchvision")
READOUT = Neuron(np.array(1.0))
DVS, SMALL, RGB = (2, 64, 64), (2, 34, 34), (3, 32, 32)


def _classic(name: str, kind: type[nn.Module] = neuron.IFNode, **options: Any) -> nn.Module:
    from spikingjelly.activation_based.model import parametric_lif_net

    return getattr(parametric_lif_net, name)(spiking_neuron=kind, **options)


def _residual(file: str, name: str, kind: type[nn.Module] = neuron.IFNode, **options: Any) -> nn.Module:
    from spikingjelly.activation_based.model import sew_resnet, spiking_resnet

    module = {"sew": sew_resnet, "spiking": spiking_resnet}[file]
    return getattr(module, name)(spiking_neuron=kind, num_classes=10, **options)


def _vgg(name: str) -> nn.Module:
    from spikingjelly.activation_based.model import spiking_vgg

    return getattr(spiking_vgg, name)(spiking_neuron=neuron.IFNode, num_classes=10)


class _Patches(nn.Module):
    """The convolutions before a Spikformer's first block."""

    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Sequential(
            layer.Conv2d(3, 8, 3, padding=1, bias=False), layer.BatchNorm2d(8), neuron.LIFNode(decay_input=False),
            layer.Conv2d(8, 16, 3, padding=1, bias=False), layer.BatchNorm2d(16), neuron.LIFNode(decay_input=False),
            layer.MaxPool2d(3, 2, 1), layer.Conv2d(16, 16, 3, padding=1, bias=False), layer.BatchNorm2d(16),
            neuron.LIFNode(decay_input=False), layer.MaxPool2d(3, 2, 1),
        )  # fmt: skip
        self.rpe = nn.Sequential(
            layer.Conv2d(16, 16, 3, padding=1, bias=False), layer.BatchNorm2d(16), neuron.LIFNode(decay_input=False)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.proj(x)
        return (x + self.rpe(x)).flatten(-2).mean(-1).mean(0)


class _Branches(nn.Module):
    """Two branches of other lengths, side by side and added, and a layer that is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (layer.Conv2d(n, 4, 3, padding=1) for n in (2, 2, 4))
        self.sa, self.sb, self.sc, self.sd = (neuron.IFNode() for _ in range(4))
        self.mix, self.smix = layer.Conv2d(8, 4, 1), neuron.IFNode()
        self.fc, self.out = layer.Linear(4 * 64, 6), neuron.IFNode()
        self.vote = layer.VotingLayer(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a, b = self.sa(self.a(x)), self.sb(self.b(x))
        c, d = self.sc(self.c(a)), self.sd(self.c(b))
        joined = self.smix(self.mix(torch.cat([c, d], dim=2)))
        return self.vote(self.out(self.fc((joined + a).flatten(2)))).mean(0)


def _containers() -> nn.Module:
    return nn.Sequential(
        layer.SeqToANNContainer(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4)), neuron.IFNode(),
        layer.SeqToANNContainer(nn.AvgPool2d(2), nn.Dropout(0.5)), layer.MultiStepContainer(neuron.IFNode()),
        nn.Identity(), layer.AdaptiveAvgPool2d(2), layer.Flatten(), layer.Linear(16, 6), neuron.IFNode(),
        layer.VotingLayer(3),
    )  # fmt: skip


def _standardised() -> nn.Module:
    return nn.Sequential(
        layer.WSConv2d(2, 6, 3), neuron.IFNode(), layer.Flatten(), layer.WSLinear(216, 5), neuron.IFNode()
    )


def _plain(kind: Callable[[], nn.Module]) -> nn.Module:
    return nn.Sequential(
        layer.Conv2d(2, 4, 3, padding=1), kind(), layer.MaxPool2d(2), layer.Flatten(), layer.Linear(64, 5), kind()
    )


NETWORKS: dict[str, tuple[Callable[[], nn.Module], InputSpec, bool]] = {
    "MNISTNet": (lambda: _classic("MNISTNet", channels=8), InputSpec((1, 28, 28), 1000, 4), False),
    "FashionMNISTNet": (lambda: _classic("FashionMNISTNet", channels=8), InputSpec((1, 28, 28), 1000, 4), False),
    "NMNISTNet": (lambda: _classic("NMNISTNet", channels=8), InputSpec(SMALL, 1000, 4), False),
    "CIFAR10Net": (lambda: _classic("CIFAR10Net", channels=8), InputSpec(RGB, 1000, 4), False),
    "CIFAR10DVSNet": (lambda: _classic("CIFAR10DVSNet", channels=8), InputSpec((2, 128, 128), 1000, 3), False),
    "DVSGestureNet": (lambda: _classic("DVSGestureNet", channels=8), InputSpec((2, 128, 128), 1000, 3), False),
    "DVSGestureNet, LIF": (
        lambda: _classic("DVSGestureNet", neuron.LIFNode, channels=8, decay_input=False, detach_reset=True),
        InputSpec((2, 128, 128), 1000, 3), False,
    ),
    "DVSGestureNet, PLIF": (
        lambda: _classic("DVSGestureNet", neuron.ParametricLIFNode, channels=8, decay_input=False),
        InputSpec((2, 128, 128), 1000, 3), False,
    ),
    "SEW-ResNet-18": (lambda: _residual("sew", "sew_resnet18", cnf="ADD"), InputSpec(RGB, 1000, 3), True),
    "SEW-ResNet-34": (lambda: _residual("sew", "sew_resnet34", cnf="ADD"), InputSpec(RGB, 1000, 3), True),
    "spiking ResNet-18": (lambda: _residual("spiking", "spiking_resnet18"), InputSpec(RGB, 1000, 3), True),
    "spiking VGG-11": (lambda: _vgg("spiking_vgg11_bn"), InputSpec((3, 224, 224), 1000, 1), True),
    "convolutions of a Spikformer": (_Patches, InputSpec(RGB, 1000, 4), True),
    "branches": (_Branches, InputSpec((2, 8, 8), 1000, 6), False),
    "containers": (_containers, InputSpec((2, 8, 8), 1000, 6), False),
    "standardised weights": (_standardised, InputSpec((2, 8, 8), 1000, 6), False),
    "IF": (lambda: _plain(neuron.IFNode), InputSpec((2, 8, 8), 1000, 9), False),
    "IF, soft reset": (lambda: _plain(lambda: neuron.IFNode(v_reset=None)), InputSpec((2, 8, 8), 1000, 9), False),
    "LIF": (lambda: _plain(lambda: neuron.LIFNode(decay_input=False)), InputSpec((2, 8, 8), 1000, 9), False),
    "LIF, decayed input": (
        lambda: _plain(lambda: neuron.LIFNode(v_threshold=0.25, v_reset=None)), InputSpec((2, 8, 8), 1000, 9), False,
    ),
    "PLIF": (
        lambda: _plain(lambda: neuron.ParametricLIFNode(decay_input=False, surrogate_function=surrogate.ATan())),
        InputSpec((2, 8, 8), 1000, 9), False,
    ),
    "a current that lasts": (lambda: _plain(neuron.CUBALIFNode), InputSpec((2, 8, 8), 1000, 9), False),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_a_multi_step_network_fires_the_same_spikes(name: str, record_property: Record) -> None:
    build, spec, bare = NETWORKS[name]
    module = lively(build())
    functional.set_step_mode(module, "m")

    def run(module: nn.Module, x: torch.Tensor) -> None:
        functional.reset_net(module)
        module(x)

    network, spikes = compared(
        module, spec, run, (neuron.BaseNode,), readout=READOUT if bare else None, dtype=torch.float64
    )
    assert len(spikes) == len([part for part in module.modules() if isinstance(part, neuron.BaseNode)])
    came_in(record_property, spikes.values())
    if name in ("DVSGestureNet", "CIFAR10DVSNet", "containers", "branches"):
        assert network.classes == {"DVSGestureNet": 11, "CIFAR10DVSNet": 10, "containers": 2, "branches": 3}[name]


@pytest.mark.parametrize("name", ["MNISTNet", "IF", "LIF", "PLIF"])
def test_a_single_step_network_fires_the_same_spikes(name: str, record_property: Record) -> None:
    build, spec, _ = NETWORKS[name]
    module = lively(build())

    def run(module: nn.Module, x: torch.Tensor) -> None:
        functional.reset_net(module)
        for step in x:
            module(step)

    _, spikes = compared(module, spec, run, (neuron.BaseNode,), dtype=torch.float64)
    assert len(spikes) >= 2
    came_in(record_property, spikes.values())


class _Reads(nn.Module):
    """Does with the spikes of the first layer what it is given."""

    def __init__(self, what: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.conv, self.n, self.fc, self.out = nn.Conv2d(2, 2, 1), neuron.IFNode(), nn.Linear(128, 3), neuron.IFNode()
        self.what = what

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.fc(self.what(self.n(self.conv(x))).flatten(1)))


REFUSED: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], str]] = {
    "a rectifier": (torch.relu, "no counterpart"),
    "a product": (lambda s: s * s, "a product of signals"),
    "a difference": (lambda s: s - 1, "no counterpart"),
    "a decision": (lambda s: s if s.sum() > 0 else s + 0, "no decision that hangs on the data"),
    "half a map": (lambda s: torch.cat([s[:, :, :4], s[:, :, :4]], 2), "a part of a signal"),
    "a turned map": (lambda s: s.transpose(2, 3), "axes of a map exchanged"),
    "itself twice": (lambda s: s + s, "a layer is added to itself"),
    "a constant": (lambda s: s + 0.5, "a constant added"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_followed_is_refused_with_its_reason(what: str, record_property: Record) -> None:
    function, rule = REFUSED[what]
    with pytest.raises(UnsupportedError) as caught:
        from_torch(_Reads(function), InputSpec((2, 8, 8), 1000, 4), 3)
    assert rule in " ".join(issue.rule for issue in caught.value.issues)
    was_refused(record_property, rule)
    network = from_torch(_Reads(lambda s: s), InputSpec((2, 8, 8), 1000, 4), 3)
    assert [layer.name for layer in network] == ["conv", "n", "fc", "out"]


def test_forward_hooks_and_analog_outputs_are_refused_by_name() -> None:
    module = _Reads(lambda s: s)
    module.conv.register_forward_hook(lambda _, __, y: y * 2)
    with pytest.raises(UnsupportedError, match="hooks") as caught:
        from_torch(module, InputSpec((2, 8, 8), 1000, 4), 3)
    assert [issue.where for issue in caught.value.issues] == ["conv"]
    module = _Reads(lambda s: s)
    module.n = neuron.IFNode(surrogate_function=surrogate.Sigmoid(spiking=False))
    with pytest.raises(UnsupportedError, match="analog outputs"):
        from_torch(module, InputSpec((2, 8, 8), 1000, 4), 3)


def test_a_network_that_ends_in_a_current_asks_for_output_neurons() -> None:
    module = nn.Sequential(nn.Conv2d(2, 2, 1), neuron.IFNode(), nn.Flatten(), nn.Linear(128, 3))
    with pytest.raises(UnsupportedError, match="readout=Neuron"):
        from_torch(module, InputSpec((2, 8, 8), 1000, 4), 3)


def test_the_module_is_left_as_it_was() -> None:
    module = lively(_classic("MNISTNet", channels=4)).train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    from_torch(module, InputSpec((1, 28, 28), 1000, 4))
    assert module.training
    assert all(part.v == 0.0 for part in module.modules() if isinstance(part, neuron.BaseNode))
    assert before.keys() == module.state_dict().keys()
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
