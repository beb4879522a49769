# SPDX-License-Identifier: Apache-2.0
"""A module in double precision and the network described from it fire the same spikes; the rest is refused."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

from spikefold.config import ModelConfig
from spikefold.errors import UnsupportedError
from spikefold.export.from_torch import from_torch
from spikefold.export.network import InputSpec, Network
from spikefold.export.neuron import Fire, Leak, Neuron, Order, Reset
from spikefold.export.ops import AvgPool2d, BatchNorm, Conv2d, Dense, Gate, MaxPool2d
from spikefold.hardware.simulators import reference
from spikefold.train.models.attention import ASA, Attention
from spikefold.train.models.fast_lif import FastLIF
from spikefold.train.models.spiking_net import SpikingNet

SPEC = InputSpec((2, 12, 10), 1000, 6)
CLASSES = 3


def _frames(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).poisson(0.5, (6, 5, *SPEC.shape))


@torch.no_grad()
def _randomise(module: nn.Module) -> None:
    """Statistics and scales of a trained network, small variances among them, and currents that fire."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(1e-6, 0.5)
            if part.weight is not None:
                part.weight.uniform_(0.2, 0.8)
                part.bias.uniform_(0.0, 0.3)
        if isinstance(part, nn.Linear):
            part.weight.normal_(0.2, 1.5).div_(part.in_features**0.5)
        if isinstance(part, neuron.ParametricLIFNode):
            part.w.add_(0.3)  # a learned time constant


@torch.no_grad()
def _spikes(layers: nn.Sequential, frames: np.ndarray) -> dict[str, np.ndarray]:
    """Rasters by module name, in double precision."""
    layers = layers.double().eval()
    functional.reset_net(layers)
    x, rasters = torch.from_numpy(frames).double(), {}
    for name, module in layers.named_children():
        x = module(x)
        if isinstance(module, neuron.BaseNode):
            rasters[name] = x.numpy().reshape(*x.shape[:3], *(x.shape[3:] or (1, 1)))
    return rasters


def _assert_same(layers: nn.Sequential, network: Network, frames: np.ndarray) -> int:
    theirs, ours = _spikes(layers, frames), reference.run(network, frames).layers
    assert list(theirs) == list(ours) == [la.name for la in network.neurons]
    compared = 0
    for name, raster in theirs.items():
        assert raster.dtype == np.float64
        assert raster.shape == ours[name].raster.shape
        assert int((raster != ours[name].raster).sum()) == 0, name
        assert 0.005 < raster.mean() < 0.8, (name, raster.mean())
        compared += raster.size
    return compared


CASES = [
    (kind, reduction, "asa1")
    for kind in ("if", "lif", "lif_decay_input", "plif")
    for reduction in ("pool", "stride", "spike_max", "spike_mean")
]
CASES += [("lif", "pool", attention) for attention in ("none", "asa2", "sa", "tcsa")]


@pytest.mark.parametrize(("kind", "reduction", "attention"), CASES)
def test_the_trained_model_fires_the_same_spikes(kind: str, reduction: str, attention: str) -> None:
    torch.manual_seed(0)
    threshold = 0.5 if kind in ("if", "lif") else 0.2  # the other two scale their input by 0.4
    config = ModelConfig(
        channels=(6, 8), strides=(2, 3), hidden=(9,), conv_bias=True, dense_bias=True, attention=attention,
        neuron=kind, reduction=reduction, threshold=threshold, keep=0.6, voters=2,
    )  # fmt: skip
    model = SpikingNet(config, SPEC.shape, SPEC.steps, CLASSES)
    _randomise(model)
    rng = np.random.default_rng(1)
    gates = {}
    for name, module in model.layers.named_children():
        if isinstance(module, Attention):
            gates[name] = rng.uniform(0.5, 0.95, module.channels)
            module.static_gate = torch.from_numpy(gates[name])[:, None, None]
    network = from_torch(model.layers, SPEC, CLASSES, gates)
    assert _assert_same(model.layers, network, _frames()) > 6 * 5 * 6 * 30
    assert network.history == ("from_torch",)
    assert not network.is_integer
    assert [la.source for la in network] == [f"layers.{la.name}" for la in network]
    kinds = [type(la.op) for la in network]
    means = 2 * (reduction in ("pool", "spike_mean"))
    assert (kinds.count(Gate), kinds.count(AvgPool2d)) == (len(gates), means)
    assert kinds.count(MaxPool2d) == 2 * (reduction == "spike_max")
    assert (kinds.count(BatchNorm), kinds.count(Neuron)) == (2, 4)
    assert network.shapes["out"] == (CLASSES * 2, 1, 1)


def _chain(**modules: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(modules))


NEURONS = {
    "IF": lambda: neuron.IFNode(v_threshold=0.7, step_mode="m"),
    "IF, soft": lambda: neuron.IFNode(v_threshold=0.7, v_reset=None, step_mode="m"),
    "LIF": lambda: neuron.LIFNode(tau=2.0, decay_input=False, v_threshold=0.7, step_mode="m"),
    "LIF, decayed input": lambda: neuron.LIFNode(tau=2.0, decay_input=True, v_threshold=0.4, step_mode="m"),
    "LIF, soft": lambda: neuron.LIFNode(tau=4.0, decay_input=False, v_threshold=0.7, v_reset=None, step_mode="m"),
    "LIF, decayed input, soft": lambda: neuron.LIFNode(
        tau=4.0, decay_input=True, v_threshold=0.2, v_reset=None, step_mode="m"
    ),
    "PLIF": lambda: neuron.ParametricLIFNode(init_tau=2.0, v_threshold=0.4, step_mode="m"),
    "PLIF, input as it is": lambda: neuron.ParametricLIFNode(
        init_tau=2.0, decay_input=False, v_threshold=0.7, step_mode="m"
    ),
    "PLIF, soft": lambda: neuron.ParametricLIFNode(init_tau=4.0, v_threshold=0.2, v_reset=None, step_mode="m"),
    "LIF, an odd time constant": lambda: neuron.LIFNode(tau=3.7, decay_input=True, v_threshold=0.2, step_mode="m"),
}


@pytest.mark.parametrize("kind", NEURONS)
def test_each_spikingjelly_neuron_fires_the_same_spikes(kind: str) -> None:
    torch.manual_seed(3)
    layers = _chain(
        conv=layer.Conv2d(2, 5, (3, 2), (2, 1), (1, 0), (1, 2), step_mode="m"),
        n=NEURONS[kind](),
        flatten=nn.Flatten(2),
        drop=nn.Dropout(0.5),
        fc=layer.Linear(5 * 6 * 8, 6, step_mode="m"),
        out=NEURONS[kind](),
    )
    _randomise(layers)
    network = from_torch(layers, SPEC, CLASSES)
    assert _assert_same(layers, network, _frames()) == 6 * 5 * (5 * 6 * 8 + 6)


def test_the_neurons_numbers() -> None:
    def described(module: nn.Module) -> Neuron:
        network = from_torch(_chain(conv=layer.Conv2d(2, 1, 1, step_mode="m"), n=module), SPEC, 1)
        op = network["n"].op
        assert isinstance(op, Neuron)
        return op

    made = {name: described(build()) for name, build in NEURONS.items()}
    assert [m.reset for m in made.values()] == [Reset.SUBTRACT if "soft" in name else Reset.ZERO for name in made]
    assert {m.fire for m in made.values()} == {Fire.GE}
    assert {(m.max_spikes, m.order, m.v_min, m.state_bits) for m in made.values()} == {
        (1, Order.LEAK_FIRST, None, None)
    }
    assert made["IF"].leak is None
    assert made["LIF"].leak == made["LIF, decayed input"].leak == Leak(0.5)
    assert made["LIF, soft"].leak == Leak(0.75)
    # v += (x - v) / tau is measured in units of 1 / tau
    assert (made["LIF"].threshold.item(), made["LIF, decayed input"].threshold.item()) == (0.7, 0.8)
    assert made["LIF, decayed input, soft"].threshold.item() == 0.8
    assert (made["PLIF"].leak, made["PLIF"].threshold.item()) == (Leak(0.5), 0.8)
    assert (made["PLIF, input as it is"].leak, made["PLIF, input as it is"].threshold.item()) == (Leak(0.5), 0.7)


def test_a_learned_time_constant_is_translated_in_double_precision() -> None:
    module = neuron.ParametricLIFNode(init_tau=2.0, v_threshold=0.5)
    module.w.data.fill_(0.73)
    network = from_torch(_chain(conv=nn.Conv2d(2, 1, 1), n=module), SPEC, 1)
    op, share = network["n"].op, 1 / (1 + np.exp(-np.float64(np.float32(0.73))))
    assert isinstance(op, Neuron)
    assert op.leak is not None
    assert op.leak.keep == pytest.approx(1 - share, rel=1e-15)
    assert op.threshold.item() == pytest.approx(0.5 / share, rel=1e-15)
    module.w.data.fill_(1000.0)
    forgets = from_torch(_chain(conv=nn.Conv2d(2, 1, 1), n=module), SPEC, 1)["n"].op
    assert isinstance(forgets, Neuron)
    assert (forgets.leak, forgets.threshold.item()) == (Leak(0), 0.5)


def test_weights_geometry_and_groups_are_taken_as_they_are() -> None:
    conv = nn.Conv2d(2, 4, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 3), groups=2)
    norm = nn.BatchNorm2d(4, eps=0.01)
    bare = nn.BatchNorm2d(4, affine=False)
    layers = _chain(
        c=conv,
        b=norm,
        b2=bare,
        p=nn.AvgPool2d((2, 1)),
        i=nn.Identity(),
        f=nn.Flatten(),
        d=nn.Linear(4 * 3 * 7, 3, bias=False),
        n=neuron.IFNode(),
    )
    network = from_torch(layers, SPEC, 3)
    op = network["c"].op
    assert isinstance(op, Conv2d)
    np.testing.assert_array_equal(op.weight, conv.weight.detach().double().numpy())
    np.testing.assert_array_equal(op.bias, conv.bias.detach().double().numpy())
    assert (op.stride, op.padding, op.dilation, op.groups) == ((2, 1), (1, 0), (1, 3), 2)
    assert network["b"].op.eps == 0.01
    np.testing.assert_array_equal(network["b2"].op.gamma, np.ones(4))
    np.testing.assert_array_equal(network["b2"].op.beta, np.zeros(4))
    assert network["p"].op.kernel == (2, 1)
    dense = network["d"].op
    assert isinstance(dense, Dense)
    assert dense.bias is None
    assert [la.name for la in network] == ["c", "b", "b2", "p", "d", "n"]
    conv.weight.data[:] = 9
    assert op.weight.max() < 9


# ---- refusals ---------------------------------------------------------------------------------------------------


def _learned(w: torch.Tensor) -> nn.Module:
    module = neuron.ParametricLIFNode()
    module.w = nn.Parameter(w)
    return module


def test_everything_unsupported_is_named_at_once() -> None:
    layers = _chain(
        max=layer.MaxPool2d(3, 2),
        even=layer.Conv2d(2, 2, 2, padding="same"),
        mirror=layer.Conv2d(2, 2, 3, padding_mode="reflect"),
        overlapping=layer.AvgPool2d(3, 2),
        padded=layer.AvgPool2d(2, padding=1),
        up=layer.AvgPool2d(2, ceil_mode=True),
        divisor=layer.AvgPool2d(2, divisor_override=3),
        loose=layer.BatchNorm2d(2, track_running_stats=False),
        asa=ASA(6, 2),
        relu=nn.ReLU(),
        up_to=neuron.IFNode(v_reset=0.1),
        frozen=_learned(torch.tensor(-1000.0)),
        lost=_learned(torch.tensor(float("nan"))),
        by_channel=_learned(torch.zeros(2)),
        fine=layer.Conv2d(2, 2, 1),
        n=neuron.IFNode(),
    )
    functional.set_step_mode(layers, "m")
    with pytest.raises(UnsupportedError, match="the model holds layers that cannot be exported") as caught:
        from_torch(layers, replace(SPEC, shape=(2, 96, 64)), 1)
    issues = {issue.where: issue for issue in caught.value.issues}
    assert list(issues) == [name for name, _ in layers.named_children() if name not in ("fine", "n")]
    text = str(caught.value)
    assert all(name in text for name in issues)
    assert issues["max"].got == "torch.nn.functional.max_pool2d"
    assert "calibrate with spikefold.train.deploy.gates" in issues["asa"].hint
    assert "v_reset 0.1" in issues["up_to"].rule
    assert "1 / tau of 0.0" in issues["frozen"].rule
    assert "1 / tau of nan" in issues["lost"].rule
    assert "1 / tau of [0.5, 0.5]" in issues["by_channel"].rule
    assert "track_running_stats" in issues["loose"].hint
    assert "padding mode reflect" in issues["mirror"].rule
    assert all(issue.hint for issue in issues.values())


@pytest.mark.parametrize(
    "module",
    [
        neuron.LIAFNode(act=torch.relu, threshold_related=False),
        neuron.OTTTLIFNode(),
    ],
    ids=lambda m: type(m).__name__,
)
def test_a_subclass_that_computes_something_else_is_no_counterpart(module: nn.Module) -> None:
    # an analog output: described as its base class, it would silently be another function
    with pytest.raises(UnsupportedError) as caught:
        from_torch(_chain(odd=module, fine=nn.Conv2d(2, 2, 1), n=neuron.IFNode()), SPEC, 1)
    assert [issue.where for issue in caught.value.issues] == ["odd"]


def test_gates_that_do_not_fit_their_layer_are_refused() -> None:
    layers = _chain(c=layer.Conv2d(2, 4, 1), asa=ASA(6, 4), n=neuron.IFNode())
    functional.set_step_mode(layers, "m")
    with pytest.raises(UnsupportedError, match=r"gate \(3,\) does not fit its input \(4, 12, 10\)"):
        from_torch(layers, SPEC, 1, {"asa": np.ones(3)})
    with pytest.raises(UnsupportedError, match=r"a gate factor is -1\.0, must be above 0"):
        from_torch(layers, SPEC, 1, {"asa": -np.ones(4)})


def test_a_diverged_model_is_refused_by_the_name_of_its_layer() -> None:
    conv = nn.Conv2d(2, 1, 1)
    conv.weight.data[0, 0] = float("nan")
    with pytest.raises(UnsupportedError, match="conv weight holds NaN or infinity") as caught:
        from_torch(_chain(broken=conv, n=neuron.IFNode()), SPEC, 1)
    assert [issue.where for issue in caught.value.issues] == ["broken"]
    assert "lower the learning rate" in str(caught.value)


# ---- branches that are added, and pools that overlap -------------------------------------------------------------


class _Block(nn.Module):
    """Says by itself that it adds two branches."""

    computes = "main + shortcut"

    def __init__(self, main: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.main, self.shortcut = main, shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.add(self.main(x), self.shortcut(x))


def _spiking(channels: int, out: int, stride: int = 1) -> nn.Sequential:
    conv = layer.Conv2d(channels, out, 3, stride, padding=1, step_mode="m")
    return _chain(conv=conv, sn=neuron.IFNode(v_threshold=0.4, step_mode="m"))


def _residual(*, pool_of_counts: bool) -> nn.Sequential:
    wide = layer.MaxPool2d((3, 2), (1, 1), padding=(1, 0), step_mode="m") if pool_of_counts else nn.Identity()
    return _chain(
        stem=_spiking(2, 5),
        pool=layer.MaxPool2d(3, 2, padding=1, step_mode="m"),
        one=_Block(_spiking(5, 5), nn.Sequential()),
        two=_Block(_spiking(5, 6, 2), _spiking(5, 6, 2)),
        wide=wide,
        flatten=nn.Flatten(2),
        fc=layer.Linear(6 * 3 * 3, CLASSES, step_mode="m"),
        out=neuron.IFNode(v_threshold=0.5, step_mode="m"),
    )


def test_added_branches_and_overlapping_pools_of_spikes_are_exact() -> None:
    torch.manual_seed(3)
    layers = _residual(pool_of_counts=False)
    _randomise(layers)
    network = from_torch(layers, SPEC, CLASSES)
    expected: dict[str, np.ndarray] = {}
    for name, module in layers.named_modules():
        if isinstance(module, neuron.BaseNode) or name == "pool":
            module.register_forward_hook(lambda _, __, y, name=name: expected.__setitem__(name, y.numpy()))
    frames = _frames()
    with torch.no_grad():
        layers.double()(torch.from_numpy(frames).double())
    ours = reference.run(network, frames).layers
    assert list(ours) == list(expected) == ["stem.sn", "pool", "one.main.sn", "two.main.sn", "two.shortcut.sn", "out"]
    for name, raster in expected.items():
        assert int((raster.reshape(ours[name].raster.shape) != ours[name].raster).sum()) == 0, name
        assert 0.005 < raster.mean() < 0.95, (name, raster.mean())
    assert network["two.main.conv"].inputs == network["two.shortcut.conv"].inputs == ("one.main.sn", "pool")
    assert network["fc"].inputs == ("two.main.sn", "two.shortcut.sn")
    assert network["two.main.conv"].source == "layers.two.main.conv"
    window = network["pool.or"].op
    assert isinstance(window, Conv2d)
    assert (window.weight.shape, window.stride, window.padding, window.groups) == ((5, 1, 3, 3), (2, 2), (1, 1), 5)


def test_an_overlapping_pool_of_counts_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedError) as caught:
        from_torch(_residual(pool_of_counts=True), SPEC, CLASSES)
    assert caught.value.issues[0].where == "wide"  # without it, nothing behind it has the right size
    assert "over other values than 0 and 1" in caught.value.issues[0].rule


def test_an_overlapping_pool_of_frames_is_refused_by_name() -> None:
    layers = _chain(pool=nn.MaxPool2d(3, 2), c=nn.Conv2d(2, 2, 1), n=neuron.IFNode())
    with pytest.raises(UnsupportedError) as caught:
        from_torch(layers, SPEC, 1)
    assert [issue.where for issue in caught.value.issues] == ["pool"]


class _Inherits(_Block):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.mul(self.main(x), self.shortcut(x))


class _Faster(FastLIF):
    """Inherits what its parent computes, and may compute something else."""


@pytest.mark.parametrize(
    ("module", "rule"),
    [
        (_Inherits(_spiking(2, 2), nn.Sequential()), "a product of signals"),
        (_Faster(), "no neuron here computes what"),
        (_Block(nn.Sequential(), nn.Sequential()), "a layer is added to itself"),
    ],
    ids=["a product", "another neuron", "twice the same"],
)
def test_blocks_that_compute_something_else_are_refused(module: nn.Module, rule: str) -> None:
    layers = _chain(
        c=layer.Conv2d(2, 2, 1), n=neuron.IFNode(), odd=module, d=layer.Conv2d(2, 2, 1), out=neuron.IFNode()
    )
    functional.set_step_mode(layers, "m")
    with pytest.raises(UnsupportedError, match=rule) as caught:
        from_torch(layers, SPEC, 1)
    assert [issue.where for issue in caught.value.issues] == ["odd"]


def test_what_is_wrong_inside_a_block_is_named_with_its_place() -> None:
    block = _Block(_chain(c=layer.Conv2d(2, 2, 1), relu=nn.ReLU()), _chain(asa=ASA(6, 2)))
    layers = _chain(b=block, n=neuron.IFNode())
    functional.set_step_mode(layers, "m")
    with pytest.raises(UnsupportedError) as caught:
        from_torch(layers, SPEC, 1)
    assert [issue.where for issue in caught.value.issues] == ["b.main.relu", "b.shortcut.asa"]


def test_the_compiled_neuron_is_described_as_the_one_that_it_computes() -> None:
    options = {"tau": 1 / 0.7, "decay_input": False, "v_threshold": 0.3, "step_mode": "m"}
    made = [
        from_torch(_chain(c=layer.Conv2d(2, 2, 1, step_mode="m"), n=kind(**options)), SPEC, 1)["n"].op
        for kind in (neuron.LIFNode, FastLIF)
    ]
    assert isinstance(made[0], Neuron)
    assert isinstance(made[1], Neuron)
    assert (made[0].threshold, made[0].leak, made[0].reset) == (made[1].threshold, made[1].leak, made[1].reset)
