# SPDX-License-Identifier: Apache-2.0
"""Max pools: simulated, counted, read, written; as OR neurons exact; as sum pools another function, and said so."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

from spikefold.energy.counts.count import count
from spikefold.errors import NetworkError, UnsupportedError
from spikefold.export.from_torch import from_torch
from spikefold.export.io import identity, load_network, save_network
from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Neuron, Reset
from spikefold.export.nir.to_nir import to_graph
from spikefold.export.ops import AvgPool2d, BatchNorm, Concat, Conv2d, Dense, MaxPool2d, SumPool2d
from spikefold.export.passes.maxpool_to_or import maxpool_to_or
from spikefold.export.passes.maxpool_to_sumpool import maxpool_to_sumpool
from spikefold.export.passes.quantise import quantise
from spikefold.export.to_onnx import to_model
from spikefold.hardware.loihi import chip as loihi
from spikefold.hardware.simulators import clocked, reference
from spikefold.hardware.speck import chip as speck

ONE = Neuron(np.array(1.0))
SPEC = InputSpec((2, 11, 9), 1000, 6)


def _network(*, whole: bool = False, window: tuple[int, int] = (2, 3), several: bool = False) -> Network:
    """Two max pools, one behind the other's neurons, and a max pool of a max pool."""
    rng = np.random.default_rng(1)
    number = np.int64 if whole else np.float64
    first = Neuron(np.array(11, number), reset=Reset.SUBTRACT, max_spikes=None if several else 1)
    spiking = replace(first, threshold=np.array(2, number))
    layers = (
        Layer("c1", Conv2d(rng.integers(-1, 3, (4, 2, 3, 3)).astype(number), padding=(1, 1))),
        Layer("n1", first),
        Layer("m1", MaxPool2d(window)),
        Layer("m2", MaxPool2d((2, 1))),
        Layer("c2", Conv2d(rng.integers(-1, 3, (3, 4, 1, 1)).astype(number))),
        Layer("n2", spiking),
        Layer("m3", MaxPool2d((1, 2))),
        Layer("fc", Dense(np.ones((2, 1), number))),
        Layer("o", spiking),
    )
    shape = Network(SPEC, (*layers[:7], Layer("o", spiking)), 1).shapes["m3"]
    dense = Dense(rng.integers(0, 3, (4, int(np.prod(shape)))).astype(number))
    return Network(SPEC, (*layers[:7], Layer("fc", dense), Layer("o", spiking)), 2)


def _frames(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).poisson(0.4, (6, 5, *SPEC.shape))


# ---- the operation ----------------------------------------------------------------------------------------------


def test_the_largest_of_each_window_and_the_remainder_is_dropped() -> None:
    x = np.arange(30.0).reshape(1, 1, 5, 6) * np.where(np.arange(30).reshape(5, 6) % 2, 1, -1)
    expected = [[[[7, 9, 11], [19, 21, 23]]]]
    np.testing.assert_array_equal(reference.apply(MaxPool2d((2, 2)), x), expected)
    np.testing.assert_array_equal(torch.nn.functional.max_pool2d(torch.tensor(x), 2).numpy(), expected)
    assert MaxPool2d((2, 3)).output_shape((4, 5, 8)) == (4, 2, 2)
    with pytest.raises(NetworkError, match="leaves nothing"):
        MaxPool2d((2, 3)).output_shape((4, 5, 2))


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("several", [True, False])
def test_both_engines_run_it_alike(whole: bool, several: bool) -> None:
    network = _network(whole=whole, several=several)
    assert network.is_integer is whole
    one, two = (engine.run(network, _frames(), potentials=True) for engine in (reference, clocked))
    for name, trace in one.layers.items():
        assert trace.spikes > 10
        np.testing.assert_array_equal(trace.raster, two.layers[name].raster)
        np.testing.assert_array_equal(trace.potentials, two.layers[name].potentials)


def test_on_analog_values_before_the_neurons_too() -> None:
    rng = np.random.default_rng(3)
    layers = (
        Layer("c", Conv2d(rng.integers(-3, 3, (3, 2, 3, 3)))),
        Layer("m", MaxPool2d((2, 2))),
        Layer("n", Neuron(np.array(4))),
    )
    network = Network(SPEC, layers, 1)
    one, two = (engine.run(network, _frames(), potentials=True) for engine in (reference, clocked))
    np.testing.assert_array_equal(one.layers["n"].potentials, two.layers["n"].potentials)
    assert one.spikes > 50


def test_it_is_saved_and_comes_back(tmp_path: Path) -> None:
    network = _network()
    save_network(network, tmp_path / "net")
    back = load_network(tmp_path / "net")
    assert identity(back) == identity(network) != identity(_network(window=(2, 2)))
    assert back["m1"].op == MaxPool2d((2, 3))


def _modules(of: object, **changed: object) -> nn.Sequential:
    """All steps at once with SpikingJelly's layers, one step at a time with PyTorch's own."""
    mode = "m" if of is layer else "s"
    many = {"step_mode": mode} if of is layer else {}
    pool = of.MaxPool2d(**({"kernel_size": (2, 3)} | changed), **many)  # type: ignore[attr-defined]
    return nn.Sequential(
        OrderedDict(
            conv=layer.Conv2d(2, 4, 3, step_mode=mode),
            n=neuron.IFNode(v_threshold=0.4, step_mode=mode),
            pool=pool,
            flatten=nn.Flatten(2 if of is layer else 1),
            fc=layer.Linear(4 * 4 * 2, 3, step_mode=mode),
            bn=layer.BatchNorm1d(3, step_mode=mode),
            out=neuron.IFNode(v_threshold=0.4, step_mode=mode),
        )
    )


def test_pytorchs_max_pool_and_batch_norm_behind_a_dense_layer_fire_the_same_spikes() -> None:
    torch.manual_seed(0)
    modules = _modules(layer)
    first = layer.BatchNorm2d(2, step_mode="m")
    before = nn.Sequential(OrderedDict(before=first, **dict(modules.named_children()))).double().eval()
    with torch.no_grad():
        for part in before.modules():
            if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
                part.running_mean.normal_(0, 0.1)
                part.running_var.uniform_(0.01, 0.5)
                part.bias.uniform_(0.0, 0.2)
        nn.init.uniform_(modules.get_parameter("fc.weight"), -0.3, 0.3)
        functional.reset_net(before)
        theirs = before(torch.from_numpy(_frames()).double()).numpy()
    network = from_torch(before, SPEC, 3)
    assert [type(la.op) for la in network] == [BatchNorm, Conv2d, Neuron, MaxPool2d, Dense, BatchNorm, Neuron]
    ours = reference.run(network, _frames()).layers["out"].raster
    np.testing.assert_array_equal(ours[..., 0, 0], theirs)
    assert 10 < ours.sum() < ours.size


@pytest.mark.parametrize("of", [nn, layer])
def test_pools_of_pytorch_and_of_spikingjelly_are_taken(of: object) -> None:
    network = from_torch(_modules(of), SPEC, 3)
    assert network["pool"].op == MaxPool2d((2, 3))
    parts = {"flat": nn.Flatten(), "fc": nn.Linear(198, 3), "bn": nn.BatchNorm1d(3, eps=0.01), "out": neuron.IFNode()}
    plain = nn.Sequential(OrderedDict(parts))
    described = from_torch(plain, SPEC, 3)["bn"].op
    assert isinstance(described, BatchNorm)
    assert described.eps == 0.01


@pytest.mark.parametrize("changed", [{"dilation": 2}, {"ceil_mode": True}, {"return_indices": True}], ids=str)
def test_any_other_max_pool_is_refused_by_name(changed: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedError) as caught:
        from_torch(_modules(nn, **changed), SPEC, 3)
    # a pool of another shape leaves nothing that the layers behind it could read
    assert ("pool", "leave that out") in [(issue.where, issue.hint) for issue in caught.value.issues]


def test_onnx_runs_it_and_nir_and_the_chips_refuse_it_by_name() -> None:
    network = _network(whole=True)
    evaluator = ReferenceEvaluator(to_model(network))
    names = [la.name for la in network.neurons]
    states = {name: np.zeros((5, *network.shapes[name]), np.float32) for name in names}
    ours = reference.run(network, _frames()).layers
    for step, frame in enumerate(_frames()):
        feeds = {"frame": frame.astype(np.float32)} | {f"{name}_state": states[name] for name in names}
        found = dict(zip(evaluator.output_names, evaluator.run(None, feeds), strict=True))
        states = {name: found[f"{name}_next"] for name in names}
        for name in names:
            np.testing.assert_array_equal(found[f"{name}_spikes"], ours[name].raster[step])
    with pytest.raises(UnsupportedError) as caught:
        to_graph(network)
    assert {"m1", "m2", "m3"} <= {issue.where for issue in caught.value.issues if issue.got == "MaxPool2d"}
    for chip in (speck.SPECK2F, loihi.LOIHI2):
        assert {issue.where for issue in chip.violations(network) if issue.got == "MaxPool2d"} == {"m1", "m2", "m3"}
        with pytest.raises(UnsupportedError) as caught:
            quantise(_network(), chip.numbers)
        assert {"m1", "m2", "m3"} <= {issue.where for issue in caught.value.issues}


def test_a_max_pool_passes_one_spike_of_a_window_on_to_the_counts() -> None:
    network = _network()
    frames = _frames().astype(np.uint16)
    trace = reference.run(network, frames)
    c1, c2, fc = count(network, frames, trace).layers
    raster = trace.layers["n1"].raster[..., :8, :9].reshape(6, 5, 4, 2, 4, 3, 3)
    windows = raster.any(axis=(4, 6))
    assert c2.input_events == int(windows.sum()) < int(raster.sum())
    assert (c2.pairs, c2.events) == (3 * c2.input_events, 3 * c2.input_events)
    assert [c1.input_kind, c2.input_kind, fc.input_kind] == ["counts", "binary", "binary"]
    exact = maxpool_to_or(network)
    counts = {one.name: one for one in count(exact, frames, reference.run(exact, frames)).layers}
    assert counts["c2"] == c2
    assert counts["fc"] == fc
    assert counts["m1.or"].input_events == trace.layers["n1"].spikes
    assert counts["m1.or"].events == int(trace.layers["n1"].raster[..., :10, :].sum()) < trace.layers["n1"].spikes


# ---- as OR neurons ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("groups", [True, False])
@pytest.mark.parametrize("window", [(2, 3), (3, 2), (1, 1), (2, 2)])
@pytest.mark.parametrize("whole", [True, False])
def test_the_or_of_binary_spikes_is_their_max_spike_for_spike(
    groups: bool, window: tuple[int, int], whole: bool
) -> None:
    network = _network(window=window, whole=whole)
    exact = maxpool_to_or(network, groups=groups)
    assert not any(isinstance(la.op, MaxPool2d) for la in exact)
    assert exact.history == ("maxpool_to_or",)
    assert exact.is_integer is whole
    one, two = reference.run(network, _frames(), potentials=True), reference.run(exact, _frames(), potentials=True)
    for name, trace in one.layers.items():
        assert trace.spikes > 10
        np.testing.assert_array_equal(trace.raster, two.layers[name].raster)
        np.testing.assert_array_equal(trace.potentials, two.layers[name].potentials)
    assert window == (1, 1) or 0.1 < two.layers["m1"].raster.mean() < 0.95
    # the new neurons fire what the pool gave, and keep nothing
    pooled = [reference.apply(MaxPool2d(window), step) for step in one.layers["n1"].raster]
    np.testing.assert_array_equal(two.layers["m1"].raster, np.stack(pooled))
    assert not two.layers["m1"].potentials.any()
    conv = exact["m1.or"].op
    assert isinstance(conv, Conv2d)
    assert (conv.groups, conv.weight.shape[1], conv.weight.sum()) == ((4, 1) if groups else (1, 4)) + (
        4 * window[0] * window[1],
    )
    assert maxpool_to_or(exact) is exact


def test_quantised_or_neurons_are_still_exact_on_both_chips() -> None:
    for chip in (speck.SPECK2F, loihi.LOIHI2):
        layers = tuple(
            replace(la, op=replace(la.op, reset=Reset.ZERO)) if isinstance(la.op, Neuron) else la for la in _network()
        )
        whole, _ = quantise(maxpool_to_or(Network(SPEC, layers, 2)), chip.numbers)
        trace = reference.run(whole, _frames())
        pooled = np.stack([reference.apply(MaxPool2d((2, 3)), step) for step in trace.layers["n1"].raster])
        np.testing.assert_array_equal(trace.layers["m1"].raster, pooled)
        assert trace.layers["m1"].spikes > 50


def test_max_pools_of_anything_but_zeros_and_ones_are_all_named() -> None:
    conv, pool = Conv2d(np.ones((2, 2, 1, 1))), MaxPool2d((1, 1))
    layers = (
        Layer("counts", pool), Layer("c", conv), Layer("analog", pool), Layer("n", replace(ONE, max_spikes=2)),
        Layer("many", pool, ("n",)), Layer("c2", conv), Layer("m", ONE), Layer("fine", pool),
        Layer("twice", pool, ("m", "fine")), Layer("sum", SumPool2d((1, 1)), ("m",)), Layer("of sums", pool),
        Layer("both", Concat(), ("m", "fine")), Layer("fine too", pool), Layer("half", Concat(), ("m", "sum")),
        Layer("not fine", pool), Layer("c3", Conv2d(np.ones((2, 4, 1, 1)))), Layer("o", ONE),
    )  # fmt: skip
    network = Network(InputSpec((2, 3, 3), 1000, 1), layers, 1)
    with pytest.raises(UnsupportedError) as caught:
        maxpool_to_or(network)
    assert [issue.where for issue in caught.value.issues] == [
        "counts",
        "analog",
        "many",
        "twice",
        "of sums",
        "not fine",
    ]
    one_event = Network(replace(network.input, max_count=1), (*layers[:2], Layer("o", ONE)), 1)
    assert [la.name for la in maxpool_to_or(one_event)] == ["counts.or", "counts", "c", "o"]


# ---- as sum pools -----------------------------------------------------------------------------------------------


def test_a_sum_is_another_function_and_the_same_where_a_window_sees_one_spike() -> None:
    network = _network()
    summed, mean = maxpool_to_sumpool(network), maxpool_to_sumpool(network, mean=True)
    assert {type(summed[name].op) for name in ("m1", "m2", "m3")} == {SumPool2d}
    assert summed.history == ("maxpool_to_sumpool",)
    assert mean.history == ("maxpool_to_sumpool", "fold_spike_pooling")
    for net, area in ((summed, 1), (mean, 12)):
        np.testing.assert_array_equal(net["c2"].op.weight * area, network["c2"].op.weight)
    busy = [reference.run(net, _frames()).layers["n2"].raster for net in (network, summed, mean)]
    assert int((busy[0] != busy[1]).sum()) > 100
    assert busy[2].sum() < busy[0].sum() < busy[1].sum()
    sparse = np.zeros_like(_frames())
    sparse[:, :, 0, 4, 4] = 1  # one event a step: with a 1x1 kernel at most one spike in any window
    alone = Network(SPEC, (Layer("c", Conv2d(np.ones((2, 2, 1, 1)))), Layer("n1", ONE), *network.layers[2:4],
                           Layer("c2", Conv2d(np.ones((2, 2, 1, 1)))), Layer("o", ONE)), 1)  # fmt: skip
    one, two = (reference.run(net, sparse).layers["o"].raster for net in (alone, maxpool_to_sumpool(alone)))
    np.testing.assert_array_equal(one, two)
    assert one.sum() == 60


def test_a_sum_of_something_else_than_spikes_is_refused() -> None:
    conv, pool = Conv2d(np.ones((2, 2, 1, 1))), MaxPool2d((1, 1))
    layers = (
        Layer("fine", pool),
        Layer("c", conv),
        Layer("analog", pool),
        Layer("n", ONE),
        Layer("mean", AvgPool2d((1, 1))),
        Layer("fine too", pool),
        Layer("c2", conv),
        Layer("o", ONE),
    )
    with pytest.raises(UnsupportedError) as caught:
        maxpool_to_sumpool(Network(InputSpec((2, 3, 3), 1000, 1), layers, 1))
    assert [issue.where for issue in caught.value.issues] == ["analog"]
    with pytest.raises(UnsupportedError) as caught:
        maxpool_to_sumpool(_network(whole=True), mean=True)
    assert [issue.where for issue in caught.value.issues] == ["m1", "m2", "m3"]
    assert maxpool_to_sumpool(maxpool_to_sumpool(_network(whole=True))).is_integer
