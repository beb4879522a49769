# SPDX-License-Identifier: Apache-2.0
"""``.net`` files in, ours and slayer's: what is in the network, what is refused, and lava on the very same file."""

from __future__ import annotations

import contextlib
import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from spikefold.errors import ConfigError, DataError, UnsupportedError
from spikefold.export import net_file
from spikefold.export.from_net import from_net
from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Fire, Leak, Neuron, Overflow
from spikefold.export.nir import hdf5
from spikefold.export.nir.file import decoded
from spikefold.export.ops import Conv2d, Dense
from spikefold.export.to_loihi import write_net
from spikefold.hardware import clocked, lava_process, reference
from spikefold.hardware.lava_process import Job, run_worker
from spikefold.hardware.lava_provision import provision
from spikefold.hardware.loihi import LOIHI2

T, N = 9, 4


def ints(seed: int, *shape: int, low: int = -128, high: int = 127) -> np.ndarray:
    return np.random.default_rng(seed).integers(low, high + 1, shape)


def events(shape: tuple[int, ...], seed: int = 1, *, density: float = 0.4, highest: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.random((T, N, *shape)) < density) * rng.integers(1, highest + 1, (T, N, *shape))


def slayer_neuron(**changes: Any) -> dict[str, Any]:
    """As lava-dl 0.6.0 ``slayer/neuron/cuba.py`` and ``block/cuba.py`` export it; texts of variable length."""
    return {
        "type": "CUBA",
        "iDecay": 4096,
        "vDecay": 512,
        "vThMant": 80,
        "refDelay": 1,
        "gradedSpike": False,
    } | changes


def slayer_layers(**neuron: Any) -> list[dict[str, Any]]:
    """A file in slayer's own style: float32 weights, 5 axes, pairs, shapes of three numbers."""
    cell = slayer_neuron(**neuron)
    first = 2 * ints(1, 4, 2, 3, 2, 1, low=-30, high=60).astype(np.float32)
    return [
        {"type": "input", "shape": (2, 6, 9)},
        {"type": "conv", "shape": (4, 3, 8), "weight": first, "bias": np.float32([12, -40, 0, 66]),
         "inChannels": 2, "outChannels": 4, "kernelSize": (3, 2), "stride": (2, 1), "padding": (1, 0),
         "dilation": (1, 1), "groups": 1, "neuron": cell},
        {"type": "flatten", "shape": (1, 1, 96)},
        {"type": "dense", "shape": (5, 1, 1), "weight": 2 * ints(2, 5, 96, low=-20, high=24).astype(np.float32),
         "inFeatures": 96, "outFeatures": 5, "bias": np.float64([4, 10, -2, 0, 30]), "neuron": cell},
        {"type": "dense", "shape": (1, 1, 1), "weight": np.float32([90, 30, -40, 66, 120]), "inFeatures": 5,
         "outFeatures": 1, "bias": np.zeros(1), "neuron": cell},
    ]  # fmt: skip


@contextlib.contextmanager
def reading_here() -> Iterator[None]:
    """Reads without a process for each file, where many small ones are read that we wrote ourselves."""

    def read(path: Path) -> dict[str, Any]:
        tree, arrays = hdf5.read_tree(str(path), "/")
        return decoded(json.loads(json.dumps(tree)), arrays)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(net_file, "_read_tree", read)
        yield


def write(path: Path, layers: list[dict[str, Any]], steps: int | None = T) -> Path:
    with h5py.File(path, "w") as file:
        for index, layer in enumerate(layers):
            for key, value in layer.items():
                if isinstance(value, dict):
                    for name, cell in value.items():
                        file[f"layer/{index}/{key}/{name}"] = cell
                elif isinstance(value, str):
                    file.create_dataset(f"layer/{index}/{key}", (1,), "S10", [value.encode("ascii", "ignore")])
                else:
                    file[f"layer/{index}/{key}"] = value
        if steps:
            file["simulation/Ts"], file["simulation/tSample"] = 1, steps
    return path


def changed(layer: int, **changes: Any) -> list[dict[str, Any]]:
    layers = slayer_layers()
    layers[layer] = {key: value for key, value in (layers[layer] | changes).items() if value is not None}
    return layers


def refused(tmp_path: Path, layers: list[dict[str, Any]], **options: Any) -> list[tuple[str, str]]:
    with reading_here(), pytest.raises(UnsupportedError) as caught:
        from_net(write(tmp_path / "a.net", layers), **options)
    assert all(issue.got and issue.limit and issue.hint for issue in caught.value.issues)
    return [(issue.where.partition(" ")[0], issue.rule) for issue in caught.value.issues]


def ours(seed: int, leaky: bool, currents: bool) -> Network:
    """Two layers in int8 weights, as the quantiser makes them."""
    rng = np.random.default_rng(seed)
    shared: dict[str, Any] = {"state_shift": 7, "state_bits": 24, "overflow": Overflow.SATURATE}
    fire = Fire.GT if leaky or currents else Fire.GE
    first = Neuron(np.array(int(rng.integers(40, 90))), fire=fire, leak=Leak(3001, 12) if leaky else None, **shared)
    second = replace(first, threshold=np.array(int(rng.integers(60, 200))),
                     current=Leak(2222, 12) if currents else None)  # fmt: skip
    geometry: dict[str, Any] = {"stride": (1, 2), "padding": (0, 1), "dilation": (2, 1), "groups": 2}
    layers = (
        Layer("c", Conv2d(ints(seed, 6, 1, 2, 3), ints(seed + 1, 6, low=-20, high=60), **geometry)),
        Layer("n", first),
        Layer("d", Dense(ints(seed + 2, 4, 96, low=-40, high=60), None if currents else ints(seed, 4))),
        Layer("m", second),
    )
    return Network(InputSpec((2, 6, 8), 1000, T), layers, classes=2)


@pytest.mark.parametrize(("leaky", "currents"), [*itertools.product([False, True], repeat=2)])
def test_our_own_file_gives_the_same_network_back(tmp_path, leaky, currents):
    network = ours(3, leaky, currents)
    path = write_net(network, tmp_path / "a.net")
    back = from_net(path, dt_us=1000, classes=2)
    assert (back.input.shape, back.input.steps, back.classes) == ((2, 6, 8), T, 2)
    for before, after in zip(network, back, strict=True):
        ours_, theirs = before.op, after.op
        if isinstance(ours_, Conv2d | Dense):
            np.testing.assert_array_equal(theirs.weight, ours_.weight)
            np.testing.assert_array_equal(theirs.bias, ours_.bias)
        else:
            assert repr(replace(theirs, threshold=ours_.threshold)) == repr(ours_)
            assert theirs.threshold == ours_.threshold
    frames = events((2, 6, 8))
    runs = [runner.run(net, frames) for net in (network, back) for runner in (reference, clocked)]
    for rasters in zip(*([layer.raster for layer in run.layers.values()] for run in runs), strict=True):
        assert rasters[0].sum() > 20
        assert all(np.array_equal(raster, rasters[0]) for raster in rasters[1:])
    assert write_net(back, tmp_path / "b.net").read_bytes() == path.read_bytes()


def test_a_file_in_slayers_style(tmp_path):
    network = from_net(write(tmp_path / "a.net", slayer_layers()))
    kinds = [(layer.name, type(layer.op).__name__, network.shapes[layer.name]) for layer in network]
    weights = [("conv1", "Conv2d", (4, 3, 8)), ("dense3", "Dense", (5, 1, 1)), ("dense4", "Dense", (1, 1, 1))]
    assert kinds[::2] == weights
    assert kinds[1::2] == [(f"{name}.spikes", "Neuron", shape) for name, _, shape in weights]
    np.testing.assert_array_equal(2 * network["conv1"].op.weight, slayer_layers()[1]["weight"][..., 0])
    neuron = network["dense3.spikes"].op
    assert isinstance(neuron, Neuron)
    assert (neuron.threshold, neuron.leak, neuron.fire, neuron.state_shift) == (40, Leak(3584, 12), Fire.GT, 7)
    assert network["dense4"].op.weight.tolist() == [[45, 15, -20, 33, 60]]
    assert network["conv1"].source == "net layer/1 (conv)"
    assert LOIHI2.violations(network) == []


def test_an_odd_threshold_keeps_the_numbers_of_the_file(tmp_path):
    """25 half weights are no whole weight: slayer's own PilotNet has that threshold."""
    network = from_net(write(tmp_path / "a.net", slayer_layers(vThMant=25)))
    neuron = network["conv1.spikes"].op
    assert isinstance(neuron, Neuron)
    assert (neuron.threshold, neuron.state_shift) == (25, 6)
    assert network["dense4"].op.weight.tolist() == [[90, 30, -40, 66, 120]]
    assert LOIHI2.violations(network) == []
    with h5py.File(write_net(network, tmp_path / "b.net")) as file:
        assert file["layer/4/neuron/vThMant"][()] == 25
        assert file["layer/4/weight"][()].tolist() == [[90, 30, -40, 66, 120]]


@pytest.mark.parametrize("field", ["weight", "bias"])
def test_one_odd_number_keeps_the_numbers_of_the_file(tmp_path, field):
    layers = slayer_layers()
    layers[3][field].flat[0] += 1
    network = from_net(write(tmp_path / "a.net", layers))
    assert [layer.op.state_shift for layer in network.neurons] == [7, 6, 7]
    np.testing.assert_array_equal(getattr(network["dense3"].op, field), layers[3][field])


def test_a_stride_for_both_axes(tmp_path):
    op = from_net(write(tmp_path / "a.net", [*changed(1, stride=2, shape=(4, 3, 4))[:2]]))["conv1"].op
    assert isinstance(op, Conv2d)
    assert (op.stride, op.padding) == ((2, 2), (1, 0))


def test_neurons_of_the_input_become_a_layer(tmp_path):
    layers = changed(0, neuron=slayer_neuron(vThMant=40), weight=np.float32([36]), bias=np.float32([34]))
    network = from_net(write(tmp_path / "a.net", layers), max_count=2)
    op = network["input0"].op
    assert isinstance(op, Conv2d)
    assert (op.weight.shape, op.groups, np.unique(op.weight).tolist()) == ((2, 1, 1, 1), 2, [18])
    assert op.bias.tolist() == [17, 17]  # type: ignore[union-attr]
    assert network.shapes["input0.spikes"] == (2, 6, 9)
    vector = [{"type": "input", "shape": (7,), "neuron": slayer_neuron()},
              {"type": "dense", "shape": (2,), "weight": 2 * ints(3, 2, 7), "neuron": slayer_neuron()}]  # fmt: skip
    plain = from_net(write(tmp_path / "b.net", vector))
    assert np.unique(plain["input0"].op.weight).tolist() == [32]
    assert plain["input0"].op.bias is None
    assert LOIHI2.violations(plain) == []


def test_biases_of_a_convolution(tmp_path):
    """One a channel, or in netx' order (W, H, C)."""
    everywhere = np.broadcast_to(np.array([12, -40, 0, 66]), (8, 3, 4))
    network = from_net(write(tmp_path / "a.net", changed(1, bias=everywhere)))
    assert network["conv1"].op.bias.tolist() == [6, -20, 0, 33]
    uneven = np.array(everywhere)
    uneven[3, 1, 2] = 8
    assert refused(tmp_path, changed(1, bias=uneven)) == [("layer/1", "bias of a channel")]
    for bias in (6, np.array([6]), np.zeros((4, 3, 8), int)):
        assert refused(tmp_path, changed(1, bias=bias)) == [("layer/1", "conv bias")]
    assert refused(tmp_path, changed(3, bias=np.array([1, 2]))) == [("layer/3", "dense bias")]


def test_spikes_joined_by_or(tmp_path):
    """netx' way to pool: any spike fires, nothing stays."""
    layers = changed(1, weight=2 * np.ones((4, 2, 3, 2)), bias=None, neuron=slayer_neuron(vThMant=0, vDecay=4096))
    neuron = from_net(write(tmp_path / "a.net", layers))["conv1.spikes"].op
    assert isinstance(neuron, Neuron)
    assert (neuron.threshold, neuron.fire, neuron.leak) == (1, Fire.GE, None)
    layers[1]["bias"] = np.array([0, -2, 0, 0])
    assert refused(tmp_path, layers) == [("layer/1", "vThMant")]


REFUSALS = {
    "a current that lasts, and biases": (1, {"neuron": slayer_neuron(iDecay=1024)},
                                         "no bias beside a current that lasts"),
    "decay above one": (1, {"neuron": slayer_neuron(vDecay=4097)}, "vDecay"),
    "current decay below zero": (3, {"neuron": slayer_neuron(iDecay=-1)}, "iDecay"),
    "negative threshold": (1, {"neuron": slayer_neuron(vThMant=-4)}, "vThMant"),
    "threshold 0 with negative weights": (1, {"neuron": slayer_neuron(vThMant=0)}, "vThMant"),
    "another neuron": (1, {"neuron": {"type": "SDNN", "vThMant": 3}}, "CUBA neurons"),
    "no neuron": (3, {"neuron": None}, "neurons"),
    "refractory": (1, {"neuron": slayer_neuron(refDelay=2)}, "refDelay"),
    "graded spikes": (1, {"neuron": slayer_neuron(gradedSpike=True)}, "gradedSpike"),
    "weight exponent": (1, {"neuron": slayer_neuron(wgtExp=2)}, "wgtExp"),
    "neurons with unknown fields": (1, {"neuron": slayer_neuron(sinDecay=2)}, "known fields"),
    "delays of a convolution": (1, {"delay": np.array([0, 3])}, "no delays"),
    "delays": (3, {"delay": 5}, "no delays"),
    "recurrence": (3, {"type": "dense_rec"}, "a layer of the subset"),
    "complex weights": (3, {"type": "dense_comp"}, "a layer of the subset"),
    "pool": (2, {"type": "pool"}, "a layer of the subset"),
    "average": (2, {"type": "average"}, "a layer of the subset"),
    "unknown field": (3, {"weight_rec": np.eye(5)}, "known fields"),
    "unknown shape": (1, {"shape": (4, 3, 7)}, "shape"),
    "other inputs": (3, {"weight": 2 * ints(2, 5, 95)}, "a layer that can be"),
    "input of two axes": (0, {"shape": (6, 9)}, "a layer that can be"),
    "input transformed, without neurons": (0, {"weight": 3}, "a plain input"),
    "second input": (2, {"type": "input", "shape": (96,)}, "one input layer, first"),
    "dense weights of zero": (3, {"weight": np.zeros((5, 96))}, "dense weights"),
    "dense weights above 255": (3, {"weight": np.full((5, 96), 256)}, "dense weights"),
    "mixed dense weights above 254": (3, {"weight": np.r_[255, -np.ones(479)].reshape(5, 96)}, "dense weights"),
    "mixed dense weights below -256": (3, {"weight": np.r_[-257, np.ones(479)].reshape(5, 96)}, "dense weights"),
    "dense weights, lowest -2^k": (3, {"weight": np.r_[-64, -np.ones(479)].reshape(5, 96)}, "dense weights"),
    "sum of weights": (1, {"weight": np.full((4, 2, 3, 2), 10923)}, "sum of weights"),
    "negative sum of weights": (1, {"weight": np.full((4, 2, 3, 2), -10923)}, "sum of weights"),
    "bias of 17 bits": (1, {"bias": np.array([0, 0, 32768, 0])}, "bias"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSALS)
def test_refused_by_name(tmp_path, name):
    layer, changes, rule = REFUSALS[name]
    found = refused(tmp_path, changed(layer, **changes))
    assert found[0] == (f"layer/{layer}", rule)


def test_everything_is_refused_at_once(tmp_path):
    layers = changed(1, delay=2, neuron=slayer_neuron(refDelay=3, vThMant=-1))
    layers[3] |= {"type": "dense_rec", "weight_rec": np.eye(5)}
    layers[4] |= {"neuron": slayer_neuron(vDecay=9000)}
    assert refused(tmp_path, layers) == [
        ("layer/1", "no delays"), ("layer/1", "refDelay"), ("layer/1", "vThMant"),
        ("layer/3", "a layer of the subset"), ("layer/4", "vDecay"),
    ]  # fmt: skip


def test_flatten_where_it_must_be_and_nowhere_else(tmp_path):
    layers = slayer_layers()
    assert refused(tmp_path, [*layers[:2], *layers[3:]]) == [("layer/2", "flatten before dense")]
    assert refused(tmp_path, [*layers[:4], layers[2], layers[4]]) == [("layer/4", "a map to flatten")]
    assert ("layer/3", "convolutions first") in refused(tmp_path, [*layers[:3], layers[1]])
    assert refused(tmp_path, layers[1:])[0] == ("layer/0", "one input layer, first")


def test_the_current_must_hold_the_highest_count_and_what_adds_up(tmp_path):
    layers = changed(1, weight=np.full((4, 2, 3, 2), 2000), bias=None)
    path = write(tmp_path / "a.net", layers)
    assert from_net(path, max_count=5).input.max_count == 5  # 12 inputs of 10 000 are below 2^17
    assert refused(tmp_path, layers, max_count=6) == [("layer/1", "sum of weights")]
    layers[1]["neuron"] = slayer_neuron(iDecay=0)
    assert refused(tmp_path, layers, steps=6) == [("layer/1", "sum of weights")]
    assert from_net(path, steps=5)["conv1.spikes"].op.leak == Leak(3584, 12)
    path = write(path, changed(0, neuron=slayer_neuron(), weight=64, bias=0))
    assert from_net(path, max_count=511).input.max_count == 511
    with pytest.raises(UnsupportedError, match="drive of the input"):
        from_net(path, max_count=512)


def test_how_long_a_clip_is(tmp_path):
    path = write(tmp_path / "a.net", slayer_layers(), steps=None)
    with pytest.raises(ConfigError, match="how long a clip is"):
        from_net(path)
    assert from_net(path, steps=4, dt_us=123).input == InputSpec((2, 6, 9), 123, 4, 1)
    with h5py.File(path, "r+") as file:
        file["simulation/Ts"], file["simulation/tSample"] = 2, 30
    assert from_net(path).input.steps == 15
    with pytest.raises(UnsupportedError, match="2 classes"):
        from_net(path, classes=2)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"weight": np.full((5, 96), 0.5)}, "fractions"),
        ({"weight": np.full((5, 96), np.nan)}, "NaN"),
        ({"weight": None}, "missing"),
        ({"weight": "heavy"}, "no numbers"),
        ({"weight": np.full((5, 96), 2.0**31)}, "31 bits"),
        ({"neuron": slayer_neuron(vThMant=np.array([80, 82]))}, "2 different numbers"),
        ({"neuron": {"vThMant": 3}}, "no type"),
        ({"type": None}, "no type"),
    ],
)
def test_fields_that_are_broken(tmp_path, changes, match):
    with reading_here(), pytest.raises(DataError, match=match) as caught:
        from_net(write(tmp_path / "a.net", changed(3, **changes)))
    assert "a.net" in caught.value.where
    assert "layer/3" in caught.value.where


def test_strides_of_three_are_broken(tmp_path):
    with pytest.raises(DataError, match=r"stride.*shape \(3,\)"):
        from_net(write(tmp_path / "a.net", changed(1, stride=(1, 1, 1))))


def test_files_that_are_none(tmp_path):
    path = tmp_path / "a.net"
    with pytest.raises(DataError, match="cannot read"):
        from_net(path)
    path.write_bytes(b"no hdf5")
    with pytest.raises(DataError, match="cannot read"):
        from_net(path)
    with h5py.File(path, "w") as file:
        file["layer/1/type"] = "conv"
    with pytest.raises(DataError, match="numbered from 0"):
        from_net(path)
    with h5py.File(path, "w") as file:
        file["layer/0"] = 3
    with pytest.raises(DataError, match="no group"):
        from_net(path)


def test_damaged_files_end_in_our_errors_or_in_a_network(tmp_path):
    """Single bytes changed; a crash of HDF5 stays in its own process."""
    path = write(tmp_path / "a.net", slayer_layers())
    original, rng, broken = path.read_bytes(), np.random.default_rng(8), 0
    for _ in range(8):
        data = bytearray(original)
        for place in rng.integers(0, len(data), 30):
            data[place] = rng.integers(256)
        path.write_bytes(bytes(data))
        try:
            from_net(path)
        except (DataError, UnsupportedError, ConfigError):
            broken += 1
    assert broken > 0


@settings(derandomize=True, max_examples=25, deadline=None)
@given(
    st.integers(0, 2**20),
    st.integers(0, 4096),
    st.integers(0, 4096),
    st.integers(1, 400),
    st.booleans(),
    st.booleans(),
)
@example(3, 2000, 0, 151, True, False)
@example(4, 4096, 0, 151, True, True)
def test_imported_networks_follow_lavas_equations(tmp_path_factory, seed, i_decay, v_decay, theta, even, biased):
    """A plain model in the file's own numbers, of the equations in the fact sheet, with one dense layer."""
    weight, bias = ints(seed, 6, 10, low=-100, high=150), ints(seed + 1, 6, low=-90, high=90)
    weight, bias = (2 * np.minimum(weight, 127), 2 * bias) if even else (weight, bias)
    biased &= i_decay == 4096
    neuron = slayer_neuron(iDecay=i_decay, vDecay=v_decay, vThMant=theta)
    layer = {"type": "dense", "shape": (6,), "weight": weight, "neuron": neuron} | ({"bias": bias} if biased else {})
    path = tmp_path_factory.getbasetemp() / "plain.net"
    frames = events((10, 1, 1), seed)
    with reading_here():
        network = from_net(write(path, [{"type": "input", "shape": (10,)}, layer]))
    found = reference.run(network, frames, potentials=True).layers["dense1.spikes"]
    u = v = np.zeros((N, 6), np.int64)
    fired = 0
    for step, frame in enumerate(frames.reshape(T, N, 10)):
        u = np.sign(u) * (np.abs(u) * (4096 - i_decay) >> 12) + ((frame @ weight.T) << 6)
        v = np.sign(v) * (np.abs(v) * (4096 - v_decay) >> 12) + u + ((bias if biased else 0 * bias) << 6)
        spikes = v > theta << 6
        v = np.where(spikes, 0, v)
        fired += spikes.sum()
        np.testing.assert_array_equal(found.raster[step].reshape(N, 6), spikes)
        np.testing.assert_array_equal(found.potentials[step].reshape(N, 6), v)
    assert fired > 0


LAVA_CASES: dict[str, tuple[list[dict[str, Any]], int]] = {
    "slayer": (slayer_layers(), 1),
    "odd threshold": (slayer_layers(vThMant=45), 1),
    "no leak": (slayer_layers(vDecay=0, vThMant=300), 1),
    "no leak, odd threshold": (slayer_layers(vDecay=0, vThMant=301), 1),
    "no memory": (slayer_layers(vDecay=4096, vThMant=60), 1),
    "counts": (slayer_layers(vThMant=200), 7),
    "older name": (slayer_layers(type="LOIHI", vThMant=100), 1),
    "delays of zero": (changed(3, delay=np.zeros(5)), 1),
    "or": (changed(1, weight=2 * np.ones((4, 2, 3, 2)), bias=None, neuron=slayer_neuron(vThMant=0, vDecay=9)), 1),
    "odd weights": (changed(3, weight=ints(4, 5, 96, low=-101, high=153)), 1),
    "positive weights": (changed(3, weight=ints(4, 5, 96, low=0, high=255), neuron=slayer_neuron(vThMant=2001)), 1),
    "biases (W, H, C)": (changed(1, bias=np.broadcast_to(np.array([12, -40, 5, 66]), (8, 3, 4))), 1),
    **{
        f"current {decay}": ([slayer_layers()[0]] + [
            {key: value for key, value in layer.items() if key != "bias"} | (
                {"neuron": slayer_neuron(iDecay=decay, vThMant=theta)} if "neuron" in layer else {})
            for layer in slayer_layers()[1:]
        ], 1)
        for decay, theta in ((0, 900), (1, 801), (1024, 500), (2047, 401), (4095, 80))
    },
}  # fmt: skip
"""Layers of a file, and the highest count of the input."""


@pytest.fixture(scope="module")
def library() -> Path:
    return provision()


@pytest.fixture(scope="module")
def computed(library, tmp_path_factory) -> dict[str, tuple[Network, np.ndarray, list[tuple[np.ndarray, np.ndarray]]]]:
    """Network, frames, and lava's (spikes, states) of each layer of each file, from one start."""
    home = tmp_path_factory.mktemp("files")
    jobs, networks = [], []
    for index, (layers, highest) in enumerate(LAVA_CASES.values()):
        path = write(home / f"{index}.net", layers)
        jobs.append(Job(path.name, events((2, 6, 9), index, highest=highest), potentials=True))
        networks.append(from_net(path, max_count=highest))
    arrays = run_worker(home, jobs, library, timeout_s=120)
    layers_of = [
        [(arrays[f"{index}/{k}/spikes"], arrays[f"{index}/{k}/potentials"]) for k in range(3)]
        for index in range(len(jobs))
    ]
    return dict(zip(LAVA_CASES, zip(networks, (job.frames for job in jobs), layers_of, strict=True), strict=True))


@pytest.mark.lava
@pytest.mark.skipif(sys.platform != "linux", reason="lava forks; reads /proc")
@pytest.mark.parametrize("name", LAVA_CASES)
def test_lava_on_the_same_file(computed, name):
    network, frames, layers = computed[name]
    found = reference.run(network, frames, potentials=True)
    fast = clocked.run(network, frames)
    assert len(found.layers) == len(layers) == 3
    for (key, layer), (spikes, states) in zip(found.layers.items(), layers, strict=True):
        assert layer.spikes > 0, f"{key} never fired: nothing was compared"
        assert layer.raster.size == spikes.size >= T * N
        np.testing.assert_array_equal(layer.raster, spikes.reshape(layer.raster.shape))
        np.testing.assert_array_equal(layer.potentials, states.reshape(layer.raster.shape))
        np.testing.assert_array_equal(layer.raster, fast.layers[key].raster)


_DRIVEN = """
import importlib.util as u, sys
import numpy as np
spec = u.spec_from_file_location("shim", sys.argv[1])
shim = u.module_from_spec(spec); spec.loader.exec_module(shim); shim.install()
from lava.lib.dl.netx.hdf5 import Network
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.io.sink import RingBuffer as Sink
from lava.proc.io.source import RingBuffer
drive = np.load(sys.argv[3])
T, N = drive.shape[:2]
net = Network(sys.argv[2], reset_interval=T, reset_offset=0)
steps = T * N + len(net.layers)
data = np.zeros((*drive.shape[:1:-1], steps), np.int32)
data[..., : T * N] = drive.swapaxes(0, 1).reshape(T * N, *drive.shape[2:]).transpose(3, 2, 1, 0)
source = RingBuffer(data=data)
source.s_out.connect(net.in_layer.neuron.a_in)
sinks = [Sink(shape=layer.out.shape, buffer=steps) for layer in net.layers]
for layer, sink in zip(net.layers, sinks):
    layer.out.connect(sink.a_in)
net.run(condition=RunSteps(num_steps=steps), run_cfg=Loihi2SimCfg(select_tag="fixed_pt"))
found = {str(k): sink.data.get()[..., k : k + T * N] for k, sink in enumerate(sinks)}
net.stop()
np.savez(sys.argv[4], **found)
"""


@pytest.mark.lava
@pytest.mark.skipif(sys.platform != "linux", reason="lava forks; reads /proc")
def test_lava_with_neurons_on_the_input(library, tmp_path):
    """As slayer's own PilotNet: the input's neurons charged with weight * x + bias, no delay, reset at offset 0."""
    layers = changed(0, neuron=slayer_neuron(vThMant=45), weight=36, bias=np.float32([-2]))[:2]
    path = write(tmp_path / "a.net", layers)
    frames = events((2, 6, 9), 5)
    np.save(tmp_path / "drive.npy", 36 * frames - 2)
    shim = lava_process.WORKER.with_name("lava_shim.py")
    command = [sys.executable, "-W", "ignore", "-c", _DRIVEN, str(shim), str(path)]
    done = subprocess.run([*command, str(tmp_path / "drive.npy"), str(tmp_path / "out.npz")],
                          env=lava_process._environment(library), capture_output=True, text=True, timeout=60,
                          check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found = reference.run(from_net(path), frames)
    with np.load(tmp_path / "out.npz") as arrays:
        for k, layer in enumerate(found.layers.values()):
            assert layer.spikes > 50
            # (W, H, C, N * T) to (T, N, C, H, W)
            spikes = np.moveaxis(arrays[str(k)], -1, 0).transpose(0, 3, 2, 1)
            spikes = spikes.reshape(N, T, *spikes.shape[1:]).swapaxes(0, 1)
            np.testing.assert_array_equal(spikes, layer.raster)
