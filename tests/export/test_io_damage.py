# SPDX-License-Identifier: Apache-2.0
"""Damaged network files are refused, and no code is read from one."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from spikefold.errors import DataError
from spikefold.export.io import identity, load_network, save_network
from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Neuron
from spikefold.export.ops import Conv2d, Dense
from tests.export.io_cases import BOTH, integer_network, real_network


def _saved(tmp_path: Path, build: Callable[[], Network] = real_network) -> Path:
    """Without its checksum: what is refused below is the content."""
    path = _sealed(tmp_path, build)
    _edit(path, lambda about: about.pop("sha256"))
    return path


def _sealed(tmp_path: Path, build: Callable[[], Network] = real_network) -> Path:
    save_network(build(), tmp_path / "net")
    return tmp_path / "net"


def _edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    file = path.with_name(path.name + ".json")
    about = json.loads(file.read_text())
    change(about)
    file.write_text(json.dumps(about))


def _layer(about: dict[str, Any], name: str) -> dict[str, Any]:
    return next(entry for entry in about["layers"] if entry["name"] == name)


EDITS: dict[str, Callable[[dict[str, Any]], object]] = {
    "newer schema": lambda d: d.update(schema=2),
    "older schema": lambda d: d.update(schema=0),
    "no schema": lambda d: d.pop("schema"),
    "no input": lambda d: d.pop("input"),
    "no classes": lambda d: d.pop("classes"),
    "no history": lambda d: d.pop("history"),
    "no layers": lambda d: d.pop("layers"),
    "layers empty": lambda d: d["layers"].clear(),
    "layers null": lambda d: d.update(layers=None),
    "layers a number": lambda d: d.update(layers=3),
    "a layer that is a text": lambda d: d["layers"].insert(0, "conv"),
    "input a list": lambda d: d.update(input=[1, 2]),
    "input shape null": lambda d: d["input"].update(shape=None),
    "input shape of two": lambda d: d["input"].update(shape=[2, 8]),
    "input shape negative": lambda d: d["input"].update(shape=[2, -8, 7]),
    "input shape text": lambda d: d["input"].update(shape="287"),
    "input smaller": lambda d: d["input"].update(shape=[2, 3, 2]),
    "steps 0": lambda d: d["input"].update(steps=0),
    "steps text": lambda d: d["input"].update(steps="5"),
    "classes text": lambda d: d.update(classes="3"),
    "classes that do not divide": lambda d: d.update(classes=5),
    "unknown field of the network": lambda d: d.update(colour="red"),
    "unknown field of the input": lambda d: d["input"].update(colour="red"),
    "unknown field of a layer": lambda d: _layer(d, "fc").update(colour="red"),
    "unknown field of an operation": lambda d: _layer(d, "fc")["fields"].update(colour="red"),
    "unknown field of a leak": lambda d: _layer(d, "sn1")["fields"]["leak"].update(colour="red"),
    "unknown operation": lambda d: _layer(d, "fc").update(op="Attention"),
    "another operation": lambda d: _layer(d, "fc").update(op="Conv2d"),
    "operation that is a list": lambda d: _layer(d, "fc").update(op=["Dense"]),
    "unknown fire": lambda d: _layer(d, "sn1")["fields"].update(fire="=="),
    "unknown reset": lambda d: _layer(d, "sn1")["fields"].update(reset="ZERO"),
    "unknown order": lambda d: _layer(d, "sn1")["fields"].update(order=1),
    "unknown overflow": lambda d: _layer(d, "sn1")["fields"].update(overflow=None),
    "leak above 1": lambda d: _layer(d, "sn1")["fields"]["leak"].update(keep=1.5),
    "leak NaN": lambda d: _layer(d, "sn1")["fields"]["leak"].update(keep=float("nan")),
    "leak a number": lambda d: _layer(d, "sn1")["fields"].update(leak=0.5),
    "current above 1": lambda d: _layer(d, "sn1")["fields"].update(current={"keep": 1.5, "shift": 0}),
    "current a number": lambda d: _layer(d, "sn1")["fields"].update(current=0.5),
    "no name": lambda d: _layer(d, "fc").pop("name"),
    "a name twice": lambda d: _layer(d, "fc").update(name="sn1"),
    "unknown input": lambda d: _layer(d, "fc").update(inputs=["nowhere"]),
    "inputs null": lambda d: _layer(d, "fc").update(inputs=None),
    "fields a list": lambda d: _layer(d, "fc").update(fields=[]),
    "fields null": lambda d: _layer(d, "fc").update(fields=None),
    "no fields": lambda d: _layer(d, "fc").pop("fields"),
    "no weight": lambda d: _layer(d, "fc")["fields"].pop("weight"),
    "weight null": lambda d: _layer(d, "fc")["fields"].update(weight=None),
    "weight text": lambda d: _layer(d, "fc")["fields"].update(weight="many"),
    "tensor that is not there": lambda d: _layer(d, "fc")["fields"].update(weight={"tensor": "../net"}),
    "tensor of another layer": lambda d: _layer(d, "fc")["fields"].update(weight={"tensor": "conv1.weight"}),
    "tensor named by a list": lambda d: _layer(d, "fc")["fields"].update(weight={"tensor": []}),
    "stride 0": lambda d: _layer(d, "conv1")["fields"].update(stride=[0, 1]),
    "stride of three": lambda d: _layer(d, "conv1")["fields"].update(stride=[1, 1, 1]),
    "stride a number": lambda d: _layer(d, "conv1")["fields"].update(stride=1),
    "padding text": lambda d: _layer(d, "conv1")["fields"].update(padding="same"),
    "groups null": lambda d: _layer(d, "conv1")["fields"].update(groups=None),
    "eps negative": lambda d: _layer(d, "bn1")["fields"].update(eps=-1.0),
    "eps text": lambda d: _layer(d, "bn1")["fields"].update(eps="small"),
    "kernel of one": lambda d: _layer(d, "pool1")["fields"].update(kernel=[2]),
    "v_min above 0": lambda d: _layer(d, "sn1")["fields"].update(v_min=1.0),
    "max_spikes 0": lambda d: _layer(d, "sn1")["fields"].update(max_spikes=0),
    "v_min without end": lambda d: _layer(d, "sn1")["fields"].update(v_min=float("-inf")),
    "v_min NaN": lambda d: _layer(d, "sn1")["fields"].update(v_min=float("nan")),
    "reset value NaN": lambda d: _layer(d, "out")["fields"].update(reset_value=float("nan")),
    "steps a fraction": lambda d: d["input"].update(steps=5.5),
    "classes a fraction": lambda d: d.update(classes=1.5),
    "state shift negative": lambda d: _layer(d, "sn1")["fields"].update(state_shift=-3),
    "state of 99 bits": lambda d: _layer(d, "sn1")["fields"].update(state_bits=99),
    "leak shift beyond memory": lambda d: _layer(d, "sn1")["fields"]["leak"].update(shift=2**40),
    "current shift beyond memory": lambda d: _layer(d, "sn1")["fields"].update(current={"keep": 1, "shift": 2**40}),
    "leak shift of thousands of digits": lambda d: _layer(d, "sn1")["fields"]["leak"].update(shift=10**4000),
    "state shift beyond memory": lambda d: _layer(d, "sn1")["fields"].update(state_shift=2**40),
    "v_min of thousands of digits": lambda d: _layer(d, "sn1")["fields"].update(v_min=-(10**4000)),
    "v_min beyond 62 bits": lambda d: _layer(d, "sn1")["fields"].update(v_min=-1e300),
    "reset value of thousands of digits": lambda d: _layer(d, "out")["fields"].update(reset_value=10**4000),
    "max_spikes of thousands of digits": lambda d: _layer(d, "sn1")["fields"].update(max_spikes=10**4000),
    "padding beyond memory": lambda d: _layer(d, "conv1")["fields"].update(padding=[2**40, 2**40]),
    "padding of a large map": lambda d: _layer(d, "conv1")["fields"].update(padding=[2**19, 2**19]),
    "stride of thousands of digits": lambda d: _layer(d, "conv1")["fields"].update(stride=[10**4000, 1]),
    "stride a fraction": lambda d: _layer(d, "conv1")["fields"].update(stride=[1.5, 1]),
    "stride true": lambda d: _layer(d, "conv1")["fields"].update(stride=[True, 1]),
    "kernel beyond memory": lambda d: _layer(d, "pool1")["fields"].update(kernel=[2**40, 1]),
    "steps beyond memory": lambda d: d["input"].update(steps=2**40),
    "steps of thousands of digits": lambda d: d["input"].update(steps=10**4000),
    "max_count of thousands of digits": lambda d: d["input"].update(max_count=10**4000),
    "classes of thousands of digits": lambda d: d.update(classes=10**4000),
    "input beyond memory": lambda d: d["input"].update(shape=[2, 2**20, 2**20]),
    "thousands of layers": lambda d: d["layers"].extend(
        {"name": f"n{n}", "op": "SumPool2d", "inputs": [], "source": "", "fields": {"kernel": [1, 1]}}
        for n in range(5_000)
    ),
}


@pytest.mark.parametrize("edit", EDITS)
def test_a_changed_description_is_refused(edit: str, tmp_path: Path) -> None:
    path = _saved(tmp_path)
    _edit(path, EDITS[edit])
    with pytest.raises(DataError) as caught:
        load_network(path)
    assert caught.value.exit_code == 6
    assert str(path) in str(caught.value)
    assert "to do:" in str(caught.value)


def test_a_newer_schema_says_which_one_is_read(tmp_path: Path) -> None:
    path = _saved(tmp_path)
    _edit(path, lambda d: d.update(schema=7))
    with pytest.raises(DataError, match="network schema 7") as caught:
        load_network(path)
    assert "this version reads 1" in str(caught.value)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b"3", b'"x"', b"\xff\xfe{", b"[" * 100_000])
def test_a_description_that_is_no_json_object_is_refused(text: bytes, tmp_path: Path) -> None:
    path = _saved(tmp_path)
    (tmp_path / "net.json").write_bytes(text)
    with pytest.raises(DataError, match="cannot read the network"):
        load_network(path)


@BOTH
def test_every_flipped_byte_of_the_description_is_refused_or_read_as_a_network(
    build: Callable[[], Network], tmp_path: Path
) -> None:
    path = _saved(tmp_path, build)
    file = tmp_path / "net.json"
    content = file.read_bytes()
    refused = 0
    for at in range(0, len(content), 5):
        file.write_bytes(content[:at] + bytes([content[at] ^ (1 << at % 7)]) + content[at + 1 :])
        try:
            assert isinstance(load_network(path), Network)
        except DataError:
            refused += 1
    assert refused > len(content) / 5 / 2


def test_every_truncation_of_either_file_is_refused(tmp_path: Path) -> None:
    path = _saved(tmp_path)
    for name, step in (("net.safetensors", 97), ("net.json", 53)):
        content = (tmp_path / name).read_bytes()
        for end in range(0, len(content), step):
            (tmp_path / name).write_bytes(content[:end])
            with pytest.raises(DataError):
                load_network(path)
        (tmp_path / name).write_bytes(content)
    assert identity(load_network(path)) == identity(real_network())


@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
def test_a_missing_file_or_a_folder_in_its_place_is_refused(suffix: str, tmp_path: Path) -> None:
    path = _saved(tmp_path)
    (tmp_path / f"net{suffix}").unlink()
    with pytest.raises(DataError, match="cannot read the network"):
        load_network(path)
    (tmp_path / f"net{suffix}").mkdir()
    with pytest.raises(DataError, match="cannot read the network"):
        load_network(path)


@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
def test_a_renamed_pickle_is_refused_and_not_run(suffix: str, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (tmp_path.joinpath("sprung").touch, ())

    path = _saved(tmp_path)
    (tmp_path / f"net{suffix}").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(DataError):
        load_network(path)
    assert not (tmp_path / "sprung").exists()


HEADERS = {
    "huge header": (2**62).to_bytes(8, "little") + b"{}",
    "header past the end": (500).to_bytes(8, "little") + b"{}",
    "header that is no json": (4).to_bytes(8, "little") + b"{{{{",
    "offsets outside": (64).to_bytes(8, "little")
    + b'{"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}}'.ljust(64),
    "shape of 10^18": (88).to_bytes(8, "little")
    + b'{"a":{"dtype":"F64","shape":[1000000000,1000000000],"data_offsets":[0,8]}}'.ljust(88)
    + bytes(8),
}


@pytest.mark.parametrize("header", HEADERS)
def test_tensor_files_with_a_crafted_header_are_refused(header: str, tmp_path: Path) -> None:
    path = _saved(tmp_path)
    (tmp_path / "net.safetensors").write_bytes(HEADERS[header])
    with pytest.raises(DataError, match="SafetensorError"):
        load_network(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda w: np.where(np.arange(w.size).reshape(w.shape) == 0, np.nan, w),
        lambda w: np.full_like(w, np.inf),
        lambda w: w[:, :-1],
        lambda w: w.ravel(),
        lambda w: w.astype(np.int64),
    ],
    ids=["NaN", "infinity", "too small", "flat", "integers in a real network"],
)
def test_tensors_that_break_an_invariant_are_refused(change: Callable[..., Any], tmp_path: Path) -> None:
    path = _saved(tmp_path)
    tensors = load_file(tmp_path / "net.safetensors")
    tensors["fc.weight"] = np.ascontiguousarray(change(tensors["fc.weight"]))
    save_file(tensors, tmp_path / "net.safetensors")
    with pytest.raises(DataError, match="NetworkError"):
        load_network(path)


def test_numbers_come_back_whatever_their_order_in_memory(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    # as indexing of the second axis leaves it, and transposed
    weight = rng.normal(size=(4, 9, 3, 3))[:, [0, 2, 5]]
    dense = rng.normal(size=(12, 2)).T
    assert not weight.flags.c_contiguous
    assert not dense.flags.c_contiguous
    threshold = np.asfortranarray(rng.uniform(1, 2, (4, 2, 1)))
    spec = InputSpec((3, 4, 3), 1000, 2)
    layers = (
        Layer("c", Conv2d(weight)),
        Layer("n", Neuron(threshold)),
        Layer("d", Dense(dense[:, :8])),
        Layer("o", Neuron(np.array(1.0))),
    )
    save_network(Network(spec, layers, 2), tmp_path / "network")
    loaded = load_network(tmp_path / "network")
    np.testing.assert_array_equal(loaded["c"].op.weight, weight)
    np.testing.assert_array_equal(loaded["d"].op.weight, dense[:, :8])
    np.testing.assert_array_equal(loaded["n"].op.threshold, threshold)
    assert identity(loaded) == identity(Network(spec, layers, 2))


@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
def test_no_changed_byte_of_a_sealed_network_is_read_as_another(suffix: str, tmp_path: Path) -> None:
    path = _sealed(tmp_path)
    file = path.with_name(path.name + suffix)
    content, known = file.read_bytes(), identity(load_network(path))
    places = range(0, len(content), max(1, len(content) // 400))
    refused = 0
    for place in places:
        file.write_bytes(content[:place] + bytes([content[place] ^ 16]) + content[place + 1 :])
        try:
            assert identity(load_network(path)) == known  # in a blank between two values
        except DataError:
            refused += 1
    assert refused > 0.6 * len(places)


def test_files_of_two_networks_do_not_go_together(tmp_path: Path) -> None:
    path = _sealed(tmp_path)
    numbers = load_file(path.with_suffix(".safetensors"))
    save_file(numbers | {"fc.weight": numbers["fc.weight"] * 2}, path.with_suffix(".safetensors"))
    with pytest.raises(DataError, match="checksum"):
        load_network(path)


def test_a_sparse_file_of_tensors_is_not_read(tmp_path: Path) -> None:
    path = _saved(tmp_path)
    with path.with_suffix(".safetensors").open("r+b") as file:
        file.truncate(2**40)
    with pytest.raises(DataError, match="more than"):
        load_network(path)


@pytest.mark.parametrize("value", [-(2**63), 2**62])
def test_weights_beyond_62_bits_are_refused(value: int, tmp_path: Path) -> None:
    path = _saved(tmp_path, integer_network)
    numbers = load_file(path.with_suffix(".safetensors"))
    numbers["d.weight"][0, 0] = value
    save_file(numbers, path.with_suffix(".safetensors"))
    with pytest.raises(DataError, match="beyond 62 bits"):
        load_network(path)
