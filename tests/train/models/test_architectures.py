# SPDX-License-Identifier: Apache-2.0
"""The paper's networks have the published sizes, train, and go down to chips; ours fit a Speck as they say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional, neuron, surrogate
from torch import nn

from spikefold.errors import ConfigError, UnsupportedError
from spikefold.export.from_torch import from_torch
from spikefold.export.io import identity
from spikefold.export.network import InputSpec
from spikefold.export.neuron import Leak, Neuron
from spikefold.export.ops import Conv2d, Dense, MaxPool2d, SumPool2d
from spikefold.export.passes.fold import fold
from spikefold.hardware.simulators import clocked
from spikefold.hardware.speck.chip import violations
from spikefold.hardware.speck.cores import CORES, core_layers
from spikefold.hardware.speck.placement import check_placement, place
from spikefold.train.models.architectures import CHAINS, NAMES, Architecture, architecture, build, network
from spikefold.train.models.attention import ASA, Attention
from spikefold.train.models.spiking_net import SpikingNet

PAPER = ("a", "b", "c", "d")
SEW = "sew18"
SPECKS = ("speck-s", "speck-m", "speck-yao")


def _parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize(
    ("name", "classes", "count"),
    [
        # published for both data sets; Gait-day has 20 classes
        ("a", 11, 2_323_531),
        ("a", 20, 2_325_844),
        # counted on the published code
        ("b", 11, 1_698_933),
        ("d", 20, 548_980),
        # arithmetic: 9 (2 64 + 64 128 + 3 128 128) + 2 (64 + 4 128) + 2048 512 + 512 + 512 110 + 110
        ("c", 11, 1_623_918),
        # counted on SpikingJelly's sew_resnet18 with 3 input channels
        (SEW, 300, 11_330_412),
    ],
)
def test_the_papers_networks_have_as_many_parameters_as_the_papers(name: str, classes: int, count: int) -> None:
    assert _parameters(build(architecture(name, classes))) == count
    assert architecture(name).classes == {"d": 20, SEW: 300}.get(name, 11)


@pytest.mark.parametrize(
    ("attention", "more"), [("none", 0), ("asa1", 10_914), ("asa2", 114), ("sa", 294), ("tcsa", 24_126)]
)
def test_attention_adds_what_the_paper_says(attention: str, more: int) -> None:
    model = build(architecture("a", attention=attention))
    assert _parameters(model) - 2_323_531 == more
    found = [m for m in model.modules() if isinstance(m, Attention)]
    assert [(m.steps, m.channels) for m in found] == ([(60, 64), (60, 128), (60, 128)] if more else [])


SHAPES = {
    "a": [(64, 32, 32), (128, 16, 16), (128, 8, 8), (256, 1, 1), (11, 1, 1)],
    "b": [(128, 128, 128), (128, 64, 64), (128, 32, 32), (128, 16, 16), (128, 8, 8), (512, 1, 1), (110, 1, 1)],
    "c": [(64, 128, 128), (128, 64, 64), (128, 32, 32), (128, 16, 16), (128, 8, 8), (512, 1, 1), (110, 1, 1)],
    "d": [(32, 32, 32), (32, 16, 16), (32, 8, 8), (256, 1, 1), (20, 1, 1)],
    "speck-s": [(16, 16, 16), (32, 8, 8), (32, 4, 4), (44, 1, 1)],
    "speck-m": [
        (16, 64, 64),
        (64, 32, 32),
        (32, 32, 32),
        (64, 16, 16),
        (64, 16, 16),
        (64, 8, 8),
        (16, 4, 4),
        (22, 1, 1),
    ],
    "speck-yao": [(32, 32, 32), (32, 32, 32), (32, 16, 16), (32, 1, 1), (11, 1, 1)],
}


@pytest.mark.parametrize("name", CHAINS)
def test_every_layer_of_neurons_has_its_shape(name: str) -> None:
    made = network(architecture(name))
    assert [made.shapes[la.name] for la in made.neurons] == SHAPES[name]
    if name == "a":
        assert sum(int(np.prod(shape)) for shape in SHAPES["a"]) == 106_763


def test_the_papers_neurons() -> None:
    thresholds, leaks = {}, {}
    for name in CHAINS:
        ops = [la.op for la in network(architecture(name)).neurons if isinstance(la.op, Neuron)]
        (thresholds[name],) = {op.threshold.item() for op in ops}
        (leaks[name],) = {op.leak for op in ops}
        assert {(op.max_spikes, op.reset.value, op.fire.value) for op in ops} == {(1, "zero", ">=")}
    # b and c: u = h/2 + I/2 >= 1 is 2u = h + I >= 2
    assert thresholds == {"a": 0.3, "b": 2.0, "c": 2.0, "d": 0.3, "speck-s": 1.0, "speck-m": 1.0, "speck-yao": 1.0}
    keep = {name: None if leak is None else pytest.approx(leak.keep) for name, leak in leaks.items()}
    assert keep == {"a": 0.3, "b": 0.5, "c": 0.5, "d": 0.3, "speck-s": None, "speck-m": None, "speck-yao": None}
    assert isinstance(leaks["a"], Leak)


def test_the_papers_neurons_learn_as_in_its_code() -> None:
    """A and D: a rectangle of width 1/2; B and C: the arctangent of SpikingJelly. Resets pass gradients on."""
    for name in PAPER:
        found = [m for m in build(architecture(name)).modules() if isinstance(m, neuron.BaseNode)]
        assert len(found) == len(SHAPES[name])
        rectangle = name in ("a", "d")
        assert {type(m.surrogate_function) for m in found} == {surrogate.Rect if rectangle else surrogate.ATan}
        assert {m.surrogate_function.alpha for m in found} == {2.0}
        assert {m.detach_reset for m in found} == {False}


@pytest.mark.parametrize("attention", ["none", "asa1"])
@pytest.mark.parametrize("name", CHAINS)
def test_a_folded_network_is_made_of_weights_neurons_and_pools_on_spikes(name: str, attention: str) -> None:
    made = network(architecture(name, attention=attention))
    pools = {"b": MaxPool2d, "c": SumPool2d, "speck-yao": SumPool2d}.get(name)
    assert {type(la.op) for la in made} - {Conv2d, Dense, Neuron} == ({pools} if pools else set())
    weights = [la.op for la in made if isinstance(la.op, Conv2d)]
    assert all(op.bias is not None for op in weights), "batch norm leaves one"
    kernels = [(op.weight.shape[2], op.stride[0]) for op in weights]
    strides = architecture(name).model.strides
    assert kernels == [(3, 1) if pools or s == 1 else (s + 2, s) for s in strides]
    given = architecture(name)
    assert (made.input, made.classes) == (InputSpec(given.shape, given.dt_us, given.steps), given.classes)


def test_fresh_weights_depend_on_the_seed_alone() -> None:
    small = architecture("speck-s")
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    found = [identity(network(small, seed)) for seed in (0, 0, 1)]
    assert torch.equal(torch.rand(3), expected), "PyTorch's generator was moved"
    assert found[0] == found[1] != found[2]
    torch.manual_seed(1)
    model = build(small).eval()
    spec = InputSpec(small.shape, small.dt_us, small.steps)
    assert identity(fold(from_torch(model.layers, spec, small.classes))) == found[2]


def test_attention_that_no_clip_calibrated_is_a_factor_of_1() -> None:
    given = architecture("speck-s", attention="asa1")
    torch.manual_seed(0)
    model, made = build(given), network(given)
    assert "fold_attention" in made.history
    for number in (1, 2, 3):
        op, conv = made[f"conv{number}"].op, getattr(model.layers, f"conv{number}")
        assert isinstance(op, Conv2d)
        # fresh batch norm divides by sqrt(1 + eps)
        np.testing.assert_allclose(op.weight, conv.weight.detach().double() / (1 + 1e-5) ** 0.5, rtol=1e-14)
        assert np.abs(op.weight).max() > 0.1 / number


# ---- small versions: the same kinds of layers, few channels and steps --------------------------------------------


def _small(name: str, attention: str) -> Architecture:
    found = architecture(name, 3, attention)
    channels = tuple(4 + n for n, _ in enumerate(found.model.channels))
    if name == SEW:
        model = found.model.model_copy(update={"channels": channels[:2], "strides": found.model.strides[:2]})
        return replace(found, model=model, shape=(3, 30, 37), steps=4)
    model = found.model.model_copy(update={"channels": channels, "hidden": found.model.hidden and (9,)})
    side = 128 if name == "speck-m" else 32
    return replace(found, model=model, shape=(2, side, side), steps=4)


def _frames(given: Architecture, clips: int = 2) -> np.ndarray:
    return np.random.default_rng(3).poisson(0.4, (given.steps, clips, *given.shape))


@torch.no_grad()
def _as_trained(model: SpikingNet, frames: np.ndarray) -> None:
    """Weights with which every layer fires, in units of what makes a neuron fire at once; the frames' statistics."""
    unit = model.config.threshold * (2 if model.config.neuron in ("plif", "lif_decay_input") else 1)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.weight.uniform_(0.5, 1.0).mul_(unit)
            part.bias.uniform_(0.0, 0.8).mul_(unit)
            part.momentum = 1.0
        if isinstance(part, nn.Linear):
            part.weight.normal_(0.3, 1.5).mul_(2 * unit / part.in_features**0.5)
        if isinstance(part, neuron.ParametricLIFNode):
            part.w.add_(0.4)
    model(torch.from_numpy(frames).float())
    functional.reset_net(model)


@pytest.mark.parametrize("attention", ["none", "asa1"])
@pytest.mark.parametrize("name", CHAINS)
def test_module_and_folded_network_fire_the_same_spikes(name: str, attention: str) -> None:
    small = _small(name, attention)
    torch.manual_seed(2)
    model = build(small)
    frames = _frames(small)
    _as_trained(model, frames)
    model.double().eval()
    gates, rng = {}, np.random.default_rng(4)
    for module_name, module in model.layers.named_children():
        if isinstance(module, Attention):
            gates[module_name] = rng.uniform(0.5, 0.95, module.channels)
            module.static_gate = torch.from_numpy(gates[module_name])[:, None, None]
    made = fold(from_torch(model.layers, InputSpec(small.shape, small.dt_us, small.steps), small.classes, gates))
    ours, compared = dict(clocked.run(made, frames).layers), 0
    with torch.no_grad():
        x = torch.from_numpy(frames).double()
        for module_name, module in model.layers.named_children():
            x = module(x)
            if isinstance(module, neuron.BaseNode):
                theirs, raster = x.numpy(), ours.pop(module_name).raster
                assert int((theirs != raster.reshape(theirs.shape)).sum()) == 0, module_name
                assert 0.01 < theirs.mean() < 0.95, (module_name, theirs.mean())
                compared += theirs.size
    assert not ours
    assert compared > 4 * 2 * 500


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_every_parameter_that_has_one(name: str) -> None:
    small = replace(_small(name, "asa1"), steps=3)
    torch.manual_seed(0)
    model = build(small)
    frames = _frames(small, clips=6)  # of which dropout leaves some
    _as_trained(model, frames)
    current, spikes = model(torch.from_numpy(frames).float())
    assert current.shape == spikes.shape == (3, 6, 3, small.model.voters)
    (spikes.mean() + current.square().mean()).backward()
    functional.reset_net(model)
    blocks = sum(isinstance(part, Attention) for part in model.modules())
    never = ("alpha", "beta", "mix.weight")  # ranking has no gradient, in the published code neither
    silent = [key for key, p in model.named_parameters() if p.grad is None]
    assert all(key.endswith(never) for key in silent)
    assert len(silent) == 3 * blocks
    assert blocks == (4 if name == SEW else 1) * len(small.model.channels)
    still = [key for key, p in model.named_parameters() if p.grad is not None and not p.grad.any()]
    # a bias before batch norm has none but rounding's
    assert not [key for key in still if not (key.startswith("layers.conv") and key.endswith("bias"))]


# ---- what fits a Speck -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attention", ["none", "asa1"])
@pytest.mark.parametrize(("name", "cores"), [("speck-s", 4), ("speck-m", 8), ("speck-yao", 5)])
def test_ours_fit_a_speck(name: str, cores: int, attention: str) -> None:
    made = network(architecture(name, attention=attention))
    assert violations(made) == []
    placed = place(made)
    assert check_placement(made, placed.cores) == []
    assert len(placed.cores) == len(set(placed.cores.values())) == cores == len(made.neurons)


@pytest.mark.parametrize("name", SPECKS[:2])
def test_ours_fit_with_up_to_32_classes(name: str) -> None:
    made = network(architecture(name, 32))
    assert violations(made) == []
    assert check_placement(made, place(made).cores) == []
    with pytest.raises(UnsupportedError, match="no placement on the cores exists"):
        place(network(architecture(name, 33)))


def test_the_large_one_fills_the_memories_that_its_reasons_name() -> None:
    made = network(architecture("speck-m"))
    needs = {core.name: core.memory for core in core_layers(made)}
    ki = {name: (need.kernel / 1024, need.neuron / 1024) for name, need in needs.items()}
    assert [ki[f"conv{n}"][1] for n in (1, 2)] == [64, 64]
    assert [ki[f"conv{n}"][0] for n in range(2, 8)] == [16, 32, 32, 64, 64, 16]
    share = sum(need.kernel for need in needs.values()) / sum(core.kernel for core in CORES)
    assert 0.85 < share < 0.86
    assert any("85 %" in reason for reason in architecture("speck-m").reasons)


@pytest.mark.parametrize("name", [*PAPER, SEW])
def test_the_papers_do_not_fit(name: str) -> None:
    assert violations(network(architecture(name)))


# ---- by name -----------------------------------------------------------------------------------------------------


def test_names_titles_and_reasons() -> None:
    assert list(NAMES) == [*PAPER, SEW, *SPECKS]
    assert CHAINS == PAPER + SPECKS
    for name in NAMES:
        found = architecture(name)
        assert found.name == name
        assert found.title
        assert len(found.reasons) > 1
        assert found.model.attention == "none"
    lengths = [architecture(name).steps * architecture(name).dt_us for name in ("a", "d", *SPECKS)]
    assert lengths == [*4 * (900_000,), 540_000]  # the published windows of 540 ms


def test_classes_and_attention_are_replaced() -> None:
    found = architecture("d", 7, "asa2")
    assert (found.classes, found.model.attention) == (7, "asa2")
    kinds = [type(m) for m in build(found).modules() if isinstance(m, Attention)]
    assert kinds == [ASA] * 3
    assert build(found).layers.fc.out_features == 7
    assert architecture("d").classes == 20, "the table itself stays"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("speck-n",), "no architecture 'speck-n'"),
        (("A",), "no architecture 'A'"),
        (("a", 0), "0 classes"),
        (("a", 11, "asa3"), "no attention 'asa3'"),
        (("a", 11, ""), "no attention ''"),
    ],
)
def test_what_does_not_exist_is_refused(arguments: tuple[str, int, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        architecture(*arguments)


def test_the_nearest_name_is_suggested() -> None:
    with pytest.raises(ConfigError, match="no architecture") as caught:
        architecture("spek-s")
    assert "Did you mean 'speck-s'?" in caught.value.hint
    with pytest.raises(ConfigError, match="no attention") as caught:
        architecture("a", attention="asa-1")
    assert "Did you mean 'asa1'?" in caught.value.hint
