# SPDX-License-Identifier: Apache-2.0
"""``.net`` files that no network here can hold, or that are broken: all is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from spikefold.errors import ConfigError, DataError, UnsupportedError
from spikefold.export.network import InputSpec
from spikefold.export.neuron import Leak
from spikefold.hardware.loihi.from_netx import from_net
from tests.hardware.loihi.netx_cases import changed, ints, reading_here, refused, slayer_layers, slayer_neuron, write

REFUSALS: dict[str, tuple[int, dict[str, Any], str]] = {
    "a current that lasts, and biases": (
        1,
        {"neuron": slayer_neuron(iDecay=1024)},
        "no bias beside a current that lasts",
    ),
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
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refused_by_name(tmp_path: Path, name: str) -> None:
    layer, changes, rule = REFUSALS[name]
    found = refused(tmp_path, changed(layer, **changes))
    assert found[0] == (f"layer/{layer}", rule)


def test_everything_is_refused_at_once(tmp_path: Path) -> None:
    layers = changed(1, delay=2, neuron=slayer_neuron(refDelay=3, vThMant=-1))
    layers[3] |= {"type": "dense_rec", "weight_rec": np.eye(5)}
    layers[4] |= {"neuron": slayer_neuron(vDecay=9000)}
    assert refused(tmp_path, layers) == [
        ("layer/1", "no delays"),
        ("layer/1", "refDelay"),
        ("layer/1", "vThMant"),
        ("layer/3", "a layer of the subset"),
        ("layer/4", "vDecay"),
    ]


def test_flatten_where_it_must_be_and_nowhere_else(tmp_path: Path) -> None:
    layers = slayer_layers()
    assert refused(tmp_path, [*layers[:2], *layers[3:]]) == [("layer/2", "flatten before dense")]
    assert refused(tmp_path, [*layers[:4], layers[2], layers[4]]) == [("layer/4", "a map to flatten")]
    assert ("layer/3", "convolutions first") in refused(tmp_path, [*layers[:3], layers[1]])
    assert refused(tmp_path, layers[1:])[0] == ("layer/0", "one input layer, first")


def test_the_current_must_hold_the_highest_count_and_what_adds_up(tmp_path: Path) -> None:
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


def test_how_long_a_clip_is(tmp_path: Path) -> None:
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
def test_fields_that_are_broken(tmp_path: Path, changes: dict[str, Any], match: str) -> None:
    with reading_here(), pytest.raises(DataError, match=match) as caught:
        from_net(write(tmp_path / "a.net", changed(3, **changes)))
    assert "a.net" in caught.value.where
    assert "layer/3" in caught.value.where


def test_strides_of_three_are_broken(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"stride.*shape \(3,\)"):
        from_net(write(tmp_path / "a.net", changed(1, stride=(1, 1, 1))))


def test_files_that_are_none(tmp_path: Path) -> None:
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


def test_damaged_files_end_in_our_errors_or_in_a_network(tmp_path: Path) -> None:
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
