# SPDX-License-Identifier: Apache-2.0
"""Faults of sinabs 3.1.3 that our path goes round: each shown in sinabs alone, then shown to be absent from ours.

A release of sinabs in which one is repaired fails the test of that fault, and says which workaround can go.
"""

from __future__ import annotations

import ast
import sys
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import sinabs.layers as sl
import torch
from sinabs.activation import MembraneSubtract, SingleSpike
from torch import nn

import spikefold
from spikefold.errors import UnsupportedError
from spikefold.export.from_torch import from_torch
from spikefold.export.network import InputSpec, Layer, Network, Op
from spikefold.export.neuron import Neuron, Reset
from spikefold.export.ops import BatchNorm, Conv2d, SumPool2d
from spikefold.export.passes.fold import fold
from spikefold.export.passes.quantise import quantise
from spikefold.hardware.simulators import reference
from spikefold.hardware.speck.chip import NUMBERS
from spikefold.hardware.speck.lowering import sinabs as to_speck
from spikefold.hardware.speck.lowering.sinabs import SpeckModel, convert
from spikefold.hardware.speck.lowering.sinabs_check import differences
from spikefold.hardware.speck.lowering.sinabs_runner import run

SINABS = version("sinabs")
ONE = Neuron(np.array(1.0))
SPEC = InputSpec((2, 12, 12), 1000, 6)


def _still(fault: bool, workaround: str) -> None:
    """The fault is there, or what we do about it is superfluous."""
    if not fault:
        pytest.fail(f"sinabs {SINABS} repaired it: drop the workaround, which is {workaround}")


def _network(*ops: Op, spec: InputSpec = SPEC) -> Network:
    return Network(spec, tuple(Layer(f"{type(op).__name__.lower()}{i}", op) for i, op in enumerate(ops)), 1)


def _weights(*shape: int, mean: float = 0.06) -> np.ndarray:
    return np.random.default_rng([0, *shape]).normal(mean, 0.2, shape)


def _frames(spec: InputSpec = SPEC) -> np.ndarray:
    return np.random.default_rng(1).poisson(0.6, (spec.steps, 2, *spec.shape))


def _core(model: SpeckModel, layer: str = "neuron1") -> dict[str, Any]:
    core: dict[str, Any] = model.configuration()["cnn_layers"][model.layer2core[layer]]
    return core


def _iaf(**options: Any) -> nn.Module:
    layer: nn.Module = sl.IAFSqueeze(**{"num_timesteps": 1, "min_v_mem": -1.0, **options})
    return layer


def _torch_conv(weight: np.ndarray, **options: Any) -> nn.Conv2d:
    conv = nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[2:], bias=False, **options)
    conv.weight.data = torch.tensor(weight, dtype=torch.float32)
    return conv


def _sinabs(modules: nn.Module, discretize: bool = True) -> Any:
    return to_speck._dynapcnn_network()(modules, input_shape=SPEC.shape, batch_size=1, discretize=discretize)


def _settings(made: Any) -> dict[str, Any]:
    """What sinabs would write into the core of the first layer."""
    from sinabs.backend.dynapcnn.chips.dynapcnn import DynapcnnConfigBuilder

    settings: dict[str, Any] = DynapcnnConfigBuilder.get_dynapcnn_layer_config_dict(
        made.dynapcnn_layers[0], {0: 0}, [-1]
    )
    return settings


def _agrees(network: Network) -> int:
    """Convert, compare every field, run; spikes where sinabs and the reference are equal in all of them."""
    integer, _ = quantise(network, NUMBERS)
    model, frames = convert(network), _frames(network.input)
    assert differences(model, integer) == []
    ours, theirs = reference.run(integer, frames), run(model, frames)
    assert all(np.array_equal(ours.layers[name].raster, theirs.layers[name].raster) for name in ours.layers)
    assert all(layer.spikes > 0 for layer in ours.layers.values())
    return ours.spikes


# --- batch norm -----------------------------------------------------------------------------------


def test_merge_bn_leaves_out_eps() -> None:
    to_speck._dynapcnn_network()
    from sinabs.backend.dynapcnn.utils import merge_bn

    conv, norm = _torch_conv(_weights(3, 2, 3, 3)), nn.BatchNorm2d(3, eps=1e-5).eval()
    norm.running_var.fill_(1e-6)
    x = torch.ones(1, *SPEC.shape)
    with torch.no_grad():
        right, theirs = norm(conv(x)), merge_bn(conv, norm)(x)
    factor = float((theirs / right).mean())
    _still(abs(factor - 11**0.5) < 1e-3, "our own fold (keep it: other chips need it; correct its docstring)")

    small = BatchNorm(np.full(3, 0.003), np.zeros(3), np.zeros(3), np.full(3, 1e-6), 1e-5)
    real = _network(Conv2d(_weights(3, 2, 3, 3)), small, ONE)
    folded = fold(real)
    assert np.allclose(folded.layers[0].op.weight, 0.003 / (1.1e-5) ** 0.5 * real.layers[0].op.weight, rtol=1e-12)
    before, after = reference.run(real, _frames()), reference.run(folded, _frames())
    assert np.array_equal(before.layers["neuron2"].raster, after.layers["neuron2"].raster)
    assert before.spikes > 100
    assert _agrees(folded) > 100


def test_a_batch_norm_before_a_convolution_disappears() -> None:
    weight, norm = _weights(3, 2, 3, 3), nn.BatchNorm2d(2).eval()
    norm.weight.data.fill_(5.0)
    norm.bias.data.fill_(1.0)
    x = torch.from_numpy(_frames()[0, :1]).float()
    with torch.no_grad():
        given = nn.Sequential(norm, _torch_conv(weight), _iaf())(x)
        made = _sinabs(nn.Sequential(norm, _torch_conv(weight), _iaf()), discretize=False)(x)
        without = _sinabs(nn.Sequential(_torch_conv(weight), _iaf()), discretize=False)(x)
    assert 0 < without.sum() != given.sum()
    _still(torch.equal(made, without), "export/passes/fold_batchnorm_before.py (keep it: other chips need it)")

    norms = BatchNorm(np.full(2, 5.0), np.full(2, 1.0), np.zeros(2), np.full(2, 1.0), 1e-5)
    real = _network(norms, Conv2d(weight), ONE)
    folded = fold(real)
    before, after = reference.run(real, _frames()), reference.run(folded, _frames())
    assert np.array_equal(before.layers["neuron2"].raster, after.layers["neuron2"].raster)
    assert _agrees(folded) > 100
    with pytest.raises(UnsupportedError, match="fold it first"):
        convert(real)


# --- discretisation -------------------------------------------------------------------------------


def test_without_a_lower_bound_all_small_weights_become_zero() -> None:
    weight = np.clip(_weights(4, 2, 3, 3), -0.4, 0.4)
    made = _sinabs(nn.Sequential(_torch_conv(weight), _iaf(min_v_mem=None)))
    _still(int((made.dynapcnn_layers[0].conv_layer.weight != 0).sum()) == 0, "the lower bound in to_speck._spiking")

    network = _network(Conv2d(weight), ONE)
    assert network.layers[1].op.v_min is None
    assert np.abs(_core(convert(network))["weights"]).max() >= 127
    assert _agrees(network) > 100


def test_float32_rounds_otherwise() -> None:
    # a half but for what float32 loses: 2.5 goes down to the even 2 and 3.5 up to the even 4
    theirs, ours = [], []
    for half in (2.5, 3.5):
        weight = np.full((1, 2, 1, 1), 127.0)
        weight[0, 1] = half - 1e-9
        made = _sinabs(nn.Sequential(_torch_conv(weight), _iaf()))
        theirs.append(made.dynapcnn_layers[0].conv_layer.weight[0, 1].item())
        ours.append(_core(convert(_network(Conv2d(weight), ONE)))["weights"][0][1])
    _still(theirs == [2.0, 4.0], "float64 in to_speck._discretised")
    assert ours == [[[2]], [[3]]]


def test_the_state_of_an_earlier_run_decides_the_scale_and_goes_to_the_chip() -> None:
    weight = np.abs(_weights(3, 2, 3, 3))
    # one spike a step at most, so the state climbs far above the threshold
    modules = nn.Sequential(_torch_conv(weight), _iaf(spike_fn=SingleSpike))
    fresh = _sinabs(modules).dynapcnn_layers[0].conv_layer.weight
    modules(torch.full((1, *SPEC.shape), 2000.0))
    made = _sinabs(modules)
    lost = int((made.dynapcnn_layers[0].conv_layer.weight != fresh).sum())
    initial = np.array(
        made.make_config(device="speck2fdevkit").cnn_layers[made.layer2core_map[0]].neurons_initial_value
    )
    _still(
        lost > 0.9 * weight.size and initial.max() > 1000,
        "a network that never ran in to_speck, and the copy of it in speck_runner",
    )

    network = _network(Conv2d(weight), ONE)
    model = convert(network)
    before = model.configuration()
    assert run(model, _frames()).spikes > 0
    assert model.configuration() == before == convert(network).configuration()
    assert not np.any(_core(model)["neurons_initial_value"])


def test_a_value_to_subtract_is_lost_on_the_way_to_the_chip() -> None:
    cores = [
        _settings(_sinabs(nn.Sequential(_torch_conv(_weights(3, 2, 3, 3)), _iaf(reset_fn=MembraneSubtract(value)))))
        for value in (0.25, None)
    ]
    assert cores[0]["return_to_zero"] is False
    _still(
        cores[0] == cores[1],
        "the refusal of Reset.VALUE in hardware/speck.py (keep it if the chip has no such value)",
    )

    with pytest.raises(UnsupportedError, match="reset value"):
        convert(_network(Conv2d(_weights(3, 2, 3, 3)), Neuron(np.array(1.0), reset=Reset.VALUE, reset_value=0.25)))
    assert _agrees(_network(Conv2d(_weights(3, 2, 3, 3)), Neuron(np.array(1.0), reset=Reset.SUBTRACT))) > 100


# --- geometry -------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", [{"groups": 2}, {"dilation": 2}], ids=["groups", "dilation"])
def test_groups_and_dilation_are_taken_without_a_word(option: dict[str, Any]) -> None:
    channels = 2 // option.get("groups", 1)
    conv = nn.Conv2d(2, 4, 3, bias=False, **option)
    made = _sinabs(nn.Sequential(conv, _iaf()))
    core = _settings(made)
    silent = (
        np.shape(core["weights"]) == (4, channels, 3, 3) and not {"groups", "dilation"} & core["dimensions"].keys()
    )
    _still(silent, "plain_convolution in speck_notes.forward_limits")

    same: dict[str, Any] = {key: 2 if key == "groups" else (2, 2) for key in option}
    ours = Conv2d(_weights(4, channels, 3, 3), **same)
    for refused in (convert, to_speck.discretised):
        with pytest.raises(UnsupportedError, match=next(iter(option))):
            refused(_network(ours, ONE))


@pytest.mark.parametrize("option", [{"ceil_mode": True}, {"padding": 1}], ids=["ceil_mode", "padding"])
def test_ceil_mode_and_padding_of_a_pool_are_ignored(option: dict[str, Any]) -> None:
    pool = nn.AvgPool2d(3, **option)  # 10 x 10 to 4 x 4; plain it would be 3 x 3
    modules = nn.Sequential(
        _torch_conv(_weights(3, 2, 3, 3)), _iaf(), pool, _torch_conv(_weights(3, 3, 1, 1)), _iaf()
    )
    x = torch.ones(1, *SPEC.shape)
    with torch.no_grad():
        given, theirs = modules(x), _sinabs(modules, discretize=False)(x)
    assert given.shape[2:] == (4, 4)
    _still(theirs.shape[2:] == (3, 3), "the refusal in from_torch._average_pool (keep it: a core's pool has neither)")

    with pytest.raises(UnsupportedError, match="average pool"):
        from_torch(nn.Sequential(pool), SPEC, 1)


def test_a_branch_of_which_one_way_is_pooled_and_a_pooled_sum_break_it() -> None:
    class Branch(nn.Module):
        def __init__(self, behind: bool) -> None:
            super().__init__()
            self.a, self.b, self.c = (_torch_conv(_weights(2, 2, 1, 1)) for _ in range(3))
            self.na, self.nb, self.nc = _iaf(), _iaf(), _iaf()
            self.p, self.q, self.merge, self.behind = sl.SumPool2d(2), sl.SumPool2d(2), sl.Merge(), behind

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            first = self.na(self.a(x))
            second = self.nb(self.b(first))
            if self.behind:
                return self.nc(self.c(self.p(self.merge(first, second))))
            return self.nc(self.c(self.merge(self.p(first), self.q(second))))

    raised = []
    for behind in (False, True):
        try:
            _sinabs(Branch(behind))
        except (IndexError, AssertionError) as error:
            raised.append(type(error))
    _still(raised == [IndexError, AssertionError], "the rules in speck_notes.wiring")

    point = Conv2d(_weights(2, 2, 1, 1))
    layers = (
        Layer("a", point),
        Layer("na", ONE),
        Layer("b", point),
        Layer("nb", ONE),
        Layer("p", SumPool2d((2, 2)), ("na",)),
        Layer("q", SumPool2d((2, 2)), ("nb",)),
        Layer("c", point, ("p", "q")),
        Layer("nc", ONE),
    )
    with pytest.raises(UnsupportedError, match="pooled, or none does"):
        convert(Network(SPEC, layers, 1))


# --- what goes with a network ---------------------------------------------------------------------


def test_an_undeployed_network_cannot_be_reset() -> None:
    made = _sinabs(nn.Sequential(_torch_conv(_weights(4, 2, 3, 3)), _iaf()))
    try:
        made.reset_states()
        fault = False
    except AttributeError:
        fault = True
    _still(fault, "the fresh copy for each run in speck_runner")

    model = convert(_network(Conv2d(_weights(4, 2, 3, 3)), ONE))
    first, second = (run(model, _frames()).layers["neuron1"].raster for _ in range(2))
    assert np.array_equal(first, second)
    assert first.sum() > 100


def test_neuron_addresses_collide_where_a_map_is_wider_than_high() -> None:
    to_speck._dynapcnn_network()
    from sinabs.backend.dynapcnn import io

    shape = (16, 8, 32)
    places = list(np.ndindex(shape))
    theirs = {io.calculate_neuron_address(x, y, c, shape) for c, y, x in places}
    right = {(y << 4 + 5) | (x << 4) | c for c, y, x in places}
    assert len(right) == len(places) == 4096
    _still(len(theirs) < len(places), "not to ask sinabs for an address")

    root = Path(spikefold.__path__[0])  # in a checkout with its virtual environment inside
    files = [
        path
        for path in root.rglob("*.py")
        if not any(part.startswith(".") or part in ("tests", "build") for part in path.relative_to(root).parts)
    ]
    names = {
        getattr(node, "id", None) or getattr(node, "attr", None) or getattr(node, "name", None)
        for path in files
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Name | ast.Attribute | ast.alias)
    }
    assert len(files) > 50
    assert "DynapcnnNetwork" in names
    assert not names & {"calculate_neuron_address", "neuron_address_to_cxy"}


class _Filter:
    """A node of samna's specksim that only knows its shapes."""

    def set_parameters(self, *parameters: Any) -> None:
        self.parameters = parameters

    def set_weights(self, weights: list[Any]) -> None:
        self.weights = weights

    def get_layer(self) -> _Filter:
        return self

    def get_output_shape(self) -> tuple[int, int]:
        if len(self.parameters) == 2:
            (k, _), sides = self.parameters
            return sides[0] // k, sides[1] // k
        _, _, kernel, sides, stride, padding = self.parameters
        return tuple((n + 2 * p - k) // s + 1 for n, p, k, s in zip(sides, padding, kernel, stride, strict=True))


class _Graph:
    def sequential(self, filters: list[Any]) -> list[Any]:
        return filters


@pytest.fixture
def specksim(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """sinabs' own Python for specksim, on nodes that only record what they are told."""
    to_speck._dynapcnn_network()
    names = ("samna", "samna.graph", "samna.specksim", "samna.specksim.nodes", "samna.specksim.events")
    fake = {name: ModuleType(name) for name in names}
    for name, module in fake.items():
        monkeypatch.setitem(sys.modules, name, module)
        parent, _, leaf = name.rpartition(".")
        if parent:
            setattr(fake[parent], leaf, module)
    for kind in ("ConvolutionalFilter", "IAFFilter", "SumPoolingFilter"):
        setattr(fake["samna.specksim.nodes"], f"Specksim{kind}Node", type(kind, (_Filter,), {}))
    vars(fake["samna.graph"])["EventFilterGraph"] = _Graph
    vars(fake["samna.specksim.events"])["Spike"] = object
    for end in ("Source", "Sink"):
        setattr(fake["samna"], f"Basic{end}Node_specksim_events_spike", type(end, (), {}))
    import sinabs.backend.dynapcnn.specksim as loaded

    yield loaded
    sys.modules.pop(loaded.__name__)


def test_specksim_drops_the_pools_and_orders_the_layers_wrong(specksim: ModuleType) -> None:
    """Made from a ``DynapcnnNetwork``, as the documentation has it; the stand-in nodes record what they were told."""
    ops: list[Op] = []
    for i in range(5):
        ops += [Conv2d(_weights(3 + i, 2 + i, 3, 3, mean=0.1), padding=(1, 1)), ONE]
        ops += [SumPool2d((2, 2))] if i == 0 else []
    network = _network(*ops)
    model = convert(network)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nodes = specksim.from_sequential(model.network, SPEC.shape).members
    kinds = [type(node).__name__ for node in nodes]
    inputs = [node.parameters[0] for node in nodes if type(node).__name__ == "ConvolutionalFilter"]
    _still("SumPoolingFilter" not in kinds, "not to use specksim: it could judge too")
    _still(inputs != [2, 3, 4, 5, 6], "not to use specksim: it could judge too")

    trace = run(model, _frames())
    assert [layer.raster.shape[2:] for layer in trace.layers.values()] == [
        network.shapes[layer.name] for layer in network.neurons
    ]
    assert _agrees(network) > 100
