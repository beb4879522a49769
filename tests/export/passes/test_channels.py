# SPDX-License-Identifier: Apache-2.0
"""Channels split, removed, laid side by side; kernels written out; dense layers as convolutions: the same spikes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

from spikefold.energy.counts.count import count
from spikefold.errors import NetworkError, UnsupportedError
from spikefold.export.io import load_network, save_network
from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Leak, Neuron, Overflow
from spikefold.export.nir.to_nir import to_graph
from spikefold.export.ops import Concat, Conv2d, Dense, MaxPool2d, SumPool2d
from spikefold.export.passes.dense_to_conv import dense_to_conv
from spikefold.export.passes.expand_kernels import expand_kernels
from spikefold.export.passes.remove_silent_channels import remove_silent_channels
from spikefold.export.passes.silence import proven_silent
from spikefold.export.passes.split_channels import split_channels
from spikefold.export.to_onnx import to_model
from spikefold.hardware.loihi import chip as loihi
from spikefold.hardware.simulators import clocked, reference
from spikefold.hardware.simulators.trace import alive_in, never_fired
from tests.norms import batch_norm

SPEC = InputSpec((2, 8, 9), 1000, 6)


def _neuron(rng: np.random.Generator, channels: int, whole: bool, low: int = 3) -> Neuron:
    return Neuron(rng.integers(low, 2 * low, (channels, 1, 1)).astype(np.int64 if whole else np.float64))


def _network(*, whole: bool = False, silent: tuple[int, ...] = (), seed: int = 0) -> Network:
    """Grouped and dilated convolutions, a sum and a max pool, dense behind maps and behind dense; whole weights.

    ``silent`` channels of the first layer have no weight above 0.
    """
    rng, kind = np.random.default_rng(seed), np.int64 if whole else np.float64
    first = rng.integers(-1, 3, (6, 1, 3, 2))
    first[list(silent)] = -np.abs(first[list(silent)])
    bias = np.array([0, -1, 1, 0, -2, 2])
    layers = (
        Layer("c1", Conv2d(first.astype(kind), bias.astype(kind), padding=(1, 1), dilation=(1, 2), groups=2)),
        Layer("n1", _neuron(rng, 6, whole)),
        Layer("p1", SumPool2d((2, 1))),
        Layer("m1", MaxPool2d((1, 2))),
        Layer("c2", Conv2d(rng.integers(-1, 3, (6, 2, 2, 2)).astype(kind), groups=3)),
        Layer("n2", _neuron(rng, 6, whole, 8)),
        Layer("d1", Dense(rng.integers(-1, 3, (5, 6 * 3 * 3)).astype(kind))),
        Layer("n3", _neuron(rng, 5, whole, 30)),
        Layer("d2", Dense(rng.integers(-1, 4, (4, 5)).astype(kind), np.array([0, 1, 0, 1], kind))),
        Layer("o", _neuron(rng, 4, whole)),
    )
    return Network(SPEC, layers, 2)


def _frames(seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).poisson(0.6, (6, 5, *SPEC.shape))


def _same(before: Network, after: Network, *, spikes: int = 20) -> None:
    """Every spike and state of every layer: the numbers are whole, so float64 rounds nothing."""
    one, two = (reference.run(net, _frames(), potentials=True).layers for net in (before, after))
    for name, trace in one.items():
        assert spikes < trace.spikes < 0.9 * trace.raster.size
        np.testing.assert_array_equal(trace.raster, two[name].raster, err_msg=name)
        np.testing.assert_array_equal(trace.potentials, two[name].potentials, err_msg=name)


def _issues(call: Callable[[], object]) -> dict[str, str]:
    with pytest.raises(UnsupportedError) as caught:
        call()
    assert all(issue.hint and issue.where in str(caught.value) for issue in caught.value.issues)
    return {issue.where: issue.got for issue in caught.value.issues}


BOTH = pytest.mark.parametrize("whole", [False, True])


# ---- Concat -----------------------------------------------------------------------------------------------------


def test_inputs_lie_side_by_side_in_their_order(tmp_path: Path) -> None:
    ones = Conv2d(np.ones((3, 2, 1, 1), int))
    layers = (
        Layer("a", ones, ("input",)),
        Layer("na", Neuron(np.array(2)), ("a",)),
        Layer("both", Concat(), ("na", "input", "na")),
        Layer("d", Dense(np.random.default_rng(0).integers(-1, 3, (2, 8 * 72)))),
        Layer("o", Neuron(np.array(90))),
    )
    network = Network(SPEC, layers, 1)
    assert network.shapes["both"] == network.input_shape(network["both"]) == (8, 8, 9)
    spikes = reference.run(network, _frames()).layers["na"].raster
    expected = [np.concatenate([s, f, s], axis=1) for s, f in zip(spikes, _frames(), strict=True)]
    plain = Network(InputSpec((8, 8, 9), 1000, 6), (layers[3], layers[4]), 1)
    ours = reference.run(network, _frames(), potentials=True).layers["o"]
    np.testing.assert_array_equal(ours.raster, reference.run(plain, np.stack(expected)).layers["o"].raster)
    assert 10 < ours.spikes < ours.raster.size
    other = clocked.run(network, _frames(), potentials=True).layers["o"]
    np.testing.assert_array_equal(ours.raster, other.raster)
    np.testing.assert_array_equal(ours.potentials, other.potentials)
    save_network(network, tmp_path / "n")
    assert load_network(tmp_path / "n")["both"].inputs == ("na", "input", "na")
    for layer in (Layer("both", Concat(), ("a", "small")), Layer("both", ones, ("a", "input"))):
        with pytest.raises(NetworkError, match="different s"):
            Network(SPEC, (layers[0], Layer("small", SumPool2d((2, 2))), layer, layers[-1]), 1)


def test_loihi_and_nir_refuse_it_by_name_and_onnx_carries_it() -> None:
    network = split_channels(_network(whole=True), "c2", 2)
    assert [issue.where for issue in loihi.LOIHI2.violations(network) if issue.got == "Concat"] == ["n2"]
    assert _issues(lambda: to_graph(network))["n2"] == "Concat"
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


# ---- split ------------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("layer", ["c1", "c2", "d1"])
@pytest.mark.parametrize("parts", [1, 2, 3, 5, (1, 4), (2, 2, 1)])
def test_the_parts_fire_what_the_whole_fired(whole: bool, layer: str, parts: int | tuple[int, ...]) -> None:
    network = _network(whole=whole)
    channels = network.shapes[layer][0]
    sizes = parts if isinstance(parts, int) else (*parts[:-1], parts[-1] + channels - sum(parts))
    split = split_channels(network, layer, sizes)
    assert split.history == ("split_channels",)
    spiking = network.consumers(layer)[0].name
    count_of = sizes if isinstance(sizes, int) else len(sizes)
    expected = [name for i in range(count_of) for name in (f"{layer}.{i}", f"{spiking}.{i}")]
    assert [la.name for la in split if "." in la.name] == expected
    assert split[spiking].inputs == tuple(expected[1::2])
    for engine in (reference, clocked):
        one, two = (engine.run(net, _frames(), potentials=True).layers for net in (network, split))
        for name, trace in one.items():
            assert trace.spikes > 20
            halves = [two[half] for half in expected[1::2]] if name == spiking else [two[name]]
            np.testing.assert_array_equal(trace.raster, np.concatenate([half.raster for half in halves], axis=2))
            states = [half.potentials for half in halves]
            np.testing.assert_array_equal(trace.potentials, np.concatenate(states, axis=2))


def test_the_counts_of_the_parts_add_up_and_their_readers_count_as_before() -> None:
    network, frames = expand_kernels(_network(whole=True)), _frames().astype(np.uint16)
    split = split_channels(network, "c1", (1, 5))
    one, two = (
        {la.name: la for la in count(net, frames, reference.run(net, frames)).layers} for net in (network, split)
    )
    assert one["c2"] == two["c2"]
    assert one["d1"] == two["d1"]
    for field in ("pairs", "events", "dense", "dense_padded", "spikes", "neurons"):
        assert getattr(one["c1"], field) == getattr(two["c1.0"], field) + getattr(two["c1.1"], field) > 0
    assert one["c1"].input_events == two["c1.0"].input_events


def test_splits_that_make_no_sense_are_refused() -> None:
    network = _network()
    assert _issues(lambda: split_channels(network, "n1", 2))["n1"] == "no weight layer of that name"
    assert _issues(lambda: split_channels(network, "d2", 2))["d2"] == "o is the output"
    for parts in (0, 7, (6, 1), (0, 6), (), (-1, 7)):
        assert "parts" in _issues(lambda parts=parts: split_channels(network, "c1", parts))["c1"]  # type: ignore[misc]
    conv = Conv2d(np.ones((2, 2, 1, 1)))
    layers = (
        Layer("c", conv),
        Layer("p", SumPool2d((1, 1))),
        Layer("n", Neuron(np.array(1.0))),
        Layer("c2", conv),
        Layer("o", Neuron(np.array(1.0))),
    )
    assert _issues(lambda: split_channels(Network(SPEC, layers, 1), "c", 2))["c"] == "['p'] behind it"


# ---- dense and kernels ------------------------------------------------------------------------------------------


@BOTH
def test_dense_layers_are_convolutions_over_their_whole_map(whole: bool) -> None:
    network = _network(whole=whole)
    convs = dense_to_conv(network)
    assert not any(isinstance(la.op, Dense) for la in convs)
    assert convs["d1"].op.weight.shape == (5, 6, 3, 3)
    assert convs["d2"].op.weight.shape == (4, 5, 1, 1)
    assert convs.history == ("dense_to_conv",)
    _same(network, convs)
    assert dense_to_conv(convs) is convs


@BOTH
def test_groups_and_dilation_are_written_out_with_zeros(whole: bool) -> None:
    network = _network(whole=whole)
    plain = expand_kernels(network)
    assert {(la.op.groups, la.op.dilation) for la in plain if isinstance(la.op, Conv2d)} == {(1, (1, 1))}
    assert plain["c1"].op.weight.shape == (6, 2, 3, 3)
    assert plain["c2"].op.weight.shape == (6, 6, 2, 2)
    for name in ("c1", "c2"):
        one, two = network[name].op, plain[name].op
        assert np.abs(one.weight).sum() == np.abs(two.weight).sum()
    _same(network, plain)
    assert expand_kernels(plain) is plain


# ---- silent channels --------------------------------------------------------------------------------------------


@BOTH
def test_removing_channels_that_are_proven_silent_leaves_every_other_spike_on_every_clip(whole: bool) -> None:
    network = _network(whole=whole, silent=(1, 4))
    proven = proven_silent(network)
    assert [int(channel) for channel in np.flatnonzero(proven["n1"])] == [1, 4]
    smaller = remove_silent_channels(network, {name: ~silent for name, silent in proven.items() if name != "o"})
    assert smaller.shapes["n1"][0] == smaller.shapes["m1"][0] == 4
    assert smaller.history == ("remove_silent_channels",)
    assert smaller.is_integer is whole
    for seed in range(4):
        one, two = (reference.run(net, _frames(seed), potentials=True).layers for net in (network, smaller))
        assert one["n1"].spikes > 100
        np.testing.assert_array_equal(one["n1"].raster[:, :, ~proven["n1"]], two["n1"].raster)
        for name in ("n2", "n3", "o"):
            kept = ~proven[name]
            assert one[name].spikes > 10
            np.testing.assert_array_equal(one[name].raster[:, :, kept], two[name].raster)
            np.testing.assert_array_equal(one[name].potentials[:, :, kept], two[name].potentials)


def test_channels_silent_on_these_clips_are_exact_on_these_clips_and_another_function_on_others() -> None:
    network = _network(whole=True)
    thresholds = np.array([3, 400, 3, 120, 3, 5]).reshape(6, 1, 1)
    layers = tuple(
        replace(la, op=replace(la.op, threshold=thresholds))
        if la.name in ("n1", "n2") and isinstance(la.op, Neuron)
        else la
        for la in network
    )
    network = Network(SPEC, layers, 2)
    trace = reference.run(network, _frames())
    silent, alive = never_fired(trace), alive_in(trace)
    assert silent["n1"].tolist() == [False, True, False, True, False, False]
    assert list(alive) == ["n1", "n2", "n3"]  # never of the output
    smaller = remove_silent_channels(network, alive)
    after = reference.run(smaller, _frames(), potentials=True).layers
    for name, layer in trace.layers.items():
        kept = alive.get(name, np.ones(4, bool))
        np.testing.assert_array_equal(layer.raster[:, :, kept], after[name].raster)
        assert layer.spikes > 20
    loud = 40 * np.random.default_rng(3).poisson(0.05, (6, 30, *SPEC.shape))
    one, two = (reference.run(net, loud).layers["n2"].raster for net in (network, smaller))
    assert int((one[:, :, alive["n2"]] != two).sum()) > 2
    assert remove_silent_channels(network, {"n1": np.ones(6, bool)}) is network
    assert remove_silent_channels(network, {}) is network


def test_silence_is_proven_through_layers_and_only_where_it_holds() -> None:
    def network(bias: float = 0.0, state_bits: int | None = None, behind: float = 1.0, pool: bool = True) -> Network:
        neuron = Neuron(np.array(1.0), leak=Leak(0.5), v_min=-1.0, state_bits=state_bits, overflow=Overflow.WRAP)
        between = (Layer("p", MaxPool2d((1, 1))),) if pool else (Layer("b", batch_norm(np.ones((4, 2)))),)
        layers = (
            Layer("c", Conv2d(np.array([[-1.0, 0], [0.5, -1]]).reshape(2, 2, 1, 1), np.array([bias, 0]))),
            Layer("n", neuron),
            *between,
            Layer("d", Dense(np.array([[behind, behind, 0, -1], [1, 1, 1, 1]]))),
            Layer("o", Neuron(np.array(1.0))),
        )
        return Network(InputSpec((2, 2, 1), 1000, 1), layers, 1)

    def found(**options: object) -> list[list[bool]]:
        return [silent.tolist() for silent in proven_silent(network(**options)).values()]  # type: ignore[arg-type]

    # weights from silent channels do not count: the first output has none above 0 but those
    assert found() == [[True, False], [True, False]]
    assert found(bias=1e-9) == [[False, False], [False, False]]
    assert found(bias=1e-9, behind=-1.0) == [[False, False], [True, False]]
    assert found(state_bits=8) == [[False, False], [False, False]]
    assert found(pool=False) == [[True, False], [False, False]]


def test_everything_that_cannot_be_removed_is_named_at_once() -> None:
    network = _network()
    keep = np.array([True, False, True, True, True, True])
    found = _issues(
        lambda: remove_silent_channels(
            network,
            {
                "n9": keep,
                "n1": keep[:3],
                "n2": np.zeros(6, bool),
                "o": keep[:4],
            },
        )
    )
    assert found == {
        "n9": "no spiking layer of that name",
        "n1": "(3,) flags",
        "n2": "no channel that stays",
        "o": "channels of the output",
    }
    conv, one = Conv2d(np.ones((2, 2, 1, 1))), Neuron(np.array(1.0))
    layers = (
        Layer("c1", conv, ("input",)),
        Layer("n1", one, ("c1",)),
        Layer("c2", conv, ("input",)),
        Layer("n2", one),
        Layer("b", batch_norm(np.ones((4, 2))), ("n1",)),
        Layer("both", conv, ("n1", "n2")),
        Layer("o", one),
    )
    graph = Network(SPEC, layers, 1)
    half = np.array([True, False])
    found = _issues(lambda: remove_silent_channels(graph, {"n1": half}))
    assert list(found) == ["b", "both"]
    assert "which lose different channels" in found["both"]
    assert _issues(lambda: remove_silent_channels(graph, {"n1": half, "n2": ~half})).keys() == {"b", "both"}


def test_several_readers_and_concatenations_lose_the_same_channels() -> None:
    rng = np.random.default_rng(2)
    conv = [Conv2d(rng.integers(0, 3, (3, 2, 1, 1)) + 1) for _ in range(2)]
    four, unequal = Neuron(np.array(4)), np.broadcast_to(np.array([4, 900, 4]).reshape(3, 1, 1), (3, 8, 9))
    layers = (
        Layer("c1", conv[0], ("input",)),
        Layer("n1", four, ("c1",)),
        Layer("c2", conv[1], ("input",)),
        Layer("n2", replace(four, threshold=unequal), ("c2",)),
        Layer("both", Concat(), ("n1", "n2")),
        Layer("p", MaxPool2d((4, 3))),
        Layer("d", Dense(rng.integers(-1, 3, (4, 6 * 2 * 3)))),
        Layer("o", four),
    )
    network = Network(SPEC, layers, 1)
    trace = reference.run(network, _frames())
    smaller = remove_silent_channels(network, alive_in(trace))
    assert smaller.shapes["both"][0] == 5
    after = reference.run(smaller, _frames())
    np.testing.assert_array_equal(after.layers["o"].raster, trace.layers["o"].raster)
    np.testing.assert_array_equal(after.layers["n2"].raster, trace.layers["n2"].raster[:, :, [0, 2]])
    assert trace.layers["o"].spikes > 20
