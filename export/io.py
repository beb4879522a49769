# SPDX-License-Identifier: Apache-2.0
"""Reads and writes a `Network` as ``NAME.json`` and ``NAME.safetensors``, and computes its identity.

No code is read from a file.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save

from spikefold.errors import DataError, NetworkError
from spikefold.export.network import MOST_LAYERS, InputSpec, Layer, Network
from spikefold.export.neuron import Fire, Leak, Neuron, Order, Overflow, Reset
from spikefold.export.neuron_support import everything, is_default, refuse
from spikefold.export.ops import AvgPool2d, BatchNorm, Concat, Conv2d, Dense, Gate, MaxPool2d, SumPool2d
from spikefold.files import replacing

SCHEMA = 1
_KINDS = (Conv2d, Dense, BatchNorm, Gate, AvgPool2d, SumPool2d, MaxPool2d, Concat, Neuron)
_OPS: dict[str, Any] = {op.__name__: op for op in _KINDS}
NEURONS = everything("the network file")
_FIRST_NEURON_FIELDS = frozenset(everything("").fields) - {"current"}
"""The fields of neurons that were there when the schema began; one that came later is written where it is set."""
_CHECKSUM = "sha256"
_MOST_TEXT, _MOST_NUMBERS = 2**26, 2**30
"""Bytes of the two files."""
_FIELDS = {"schema", "input", "classes", "history", "layers"}
_LAYER_FIELDS = {"name", "op", "inputs", "source", "fields"}
_ENUMS = {"fire": Fire, "reset": Reset, "order": Order, "overflow": Overflow}


def save_network(network: Network, path: Path) -> None:
    """Write ``path.json`` and ``path.safetensors``, the tensors first, each by rename."""
    about, tensors = _describe(network)
    numbers = save(tensors)
    about[_CHECKSUM] = _checksum(about, numbers)
    for suffix, content in ((".safetensors", numbers), (".json", _canonical(about, indent=1))):
        target = path.with_name(path.name + suffix)
        with replacing(target) as scratch:
            scratch.write_bytes(content)


def identity(network: Network) -> str:
    """SHA-256 over structure and numbers; provenance is left out, so equal networks have equal identities."""
    about, tensors = _describe(network)
    about.pop("history")
    for layer in about["layers"]:
        layer.pop("source")
    digest = hashlib.sha256(_canonical(about))
    for key in sorted(tensors):
        digest.update(f"{tensors[key].dtype}{tensors[key].shape}".encode())
        digest.update(np.ascontiguousarray(tensors[key]).tobytes())
    return digest.hexdigest()


def load_network(path: Path) -> Network:
    """Read what `save_network` wrote; ``path`` is the name without a suffix.

    Raises:
        DataError: a file is missing or damaged, the schema is newer, a field is unknown.
    """
    try:
        about = json.loads(_content(path, ".json", _MOST_TEXT))
        numbers = _content(path, ".safetensors", _MOST_NUMBERS)
        said = about.pop(_CHECKSUM, None)  # files of the first releases say none
        if about["schema"] != SCHEMA:
            raise DataError(f"network schema {about['schema']}", where=str(path), hint=f"this version reads {SCHEMA}")
        if unknown := about.keys() - _FIELDS or {key for layer in about["layers"] for key in layer} - _LAYER_FIELDS:
            raise ValueError(f"unknown fields {sorted(unknown)}")
        if said is not None and said != _checksum(about, numbers):
            raise ValueError("the checksum is another one: a file was changed, or is of another network")
        # from bytes: a mapped file that somebody truncates would crash the process
        tensors = load_tensors(numbers)
        if len(about["layers"]) > MOST_LAYERS:
            raise ValueError(f"{len(about['layers']):,} layers, more than the {MOST_LAYERS:,} allowed")
        layers = tuple(_layer(entry, tensors) for entry in about["layers"])
        spec = InputSpec(**(about["input"] | {"shape": tuple(about["input"]["shape"])}))
        return Network(spec, layers, about["classes"], tuple(about["history"]))
    except (
        OSError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        ArithmeticError,
        RecursionError,
        MemoryError,
        SafetensorError,
        NetworkError,
    ) as error:
        raise DataError(
            f"cannot read the network: {type(error).__name__}: {error}",
            where=str(path),
            hint="a network is NAME.json and NAME.safetensors, as `spikefold export` writes them",
        ) from error


def _content(path: Path, suffix: str, most: int) -> bytes:
    file = path.with_name(path.name + suffix)
    if file.stat().st_size > most:
        raise ValueError(f"{file.name} has {file.stat().st_size:,} bytes, more than the {most:,} allowed")
    return file.read_bytes()


def _checksum(about: dict[str, Any], numbers: bytes) -> str:
    """Of everything that both files hold, however the text is laid out."""
    return hashlib.sha256(_canonical(about) + hashlib.sha256(numbers).digest()).hexdigest()


def _describe(network: Network) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    refuse(network, NEURONS)
    tensors: dict[str, np.ndarray] = {}
    layers = []
    for layer in network:
        fields: dict[str, Any] = {}
        for field in dataclasses.fields(layer.op):
            value = getattr(layer.op, field.name)
            later = isinstance(layer.op, Neuron) and field.name not in _FIRST_NEURON_FIELDS
            if later and is_default(field.default, value):
                continue  # so that networks without it read and hash as before there was any
            if isinstance(value, np.ndarray):
                key = f"{layer.name}.{field.name}"
                # safetensors writes the memory as it lies, whatever the strides say
                tensors[key] = np.array(value, order="C")
                fields[field.name] = {"tensor": key}
            elif isinstance(value, Leak):
                fields[field.name] = dataclasses.asdict(value)
            else:
                fields[field.name] = value.value if isinstance(value, StrEnum) else value
        op = type(layer.op).__name__
        layers.append(
            {"name": layer.name, "op": op, "inputs": layer.inputs, "source": layer.source, "fields": fields}
        )
    about = {
        "schema": SCHEMA,
        "input": dataclasses.asdict(network.input),
        "classes": network.classes,
        "history": network.history,
        "layers": layers,
    }
    return about, tensors


def _canonical(about: dict[str, Any], indent: int | None = None) -> bytes:
    return json.dumps(about, sort_keys=True, indent=indent).encode()


def _layer(entry: dict[str, Any], tensors: dict[str, np.ndarray]) -> Layer:
    fields: dict[str, Any] = {}
    for name, value in entry["fields"].items():
        if isinstance(value, dict) and "tensor" in value:
            fields[name] = tensors[value["tensor"]]
        elif name in ("leak", "current") and value is not None:
            fields[name] = Leak(**value)
        elif name in _ENUMS:
            fields[name] = _ENUMS[name](value)
        else:
            fields[name] = tuple(value) if isinstance(value, list) else value
    return Layer(entry["name"], _OPS[entry["op"]](**fields), tuple(entry["inputs"]), entry["source"])
