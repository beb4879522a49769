# SPDX-License-Identifier: Apache-2.0
"""Files of lava-dl, ours and in slayer's own style, and how the tests read and refuse them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from spikefold.errors import UnsupportedError
from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Fire, Leak, Neuron, Overflow
from spikefold.export.nir import hdf5
from spikefold.export.nir.file import decoded
from spikefold.export.ops import Conv2d, Dense
from spikefold.hardware.loihi import netx_file as net_file
from spikefold.hardware.loihi.from_netx import from_net

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
        {"type": "conv", "shape": (4, 3, 8), "weight": first, "bias": np.array([12, -40, 0, 66], np.float32),
         "inChannels": 2, "outChannels": 4, "kernelSize": (3, 2), "stride": (2, 1), "padding": (1, 0),
         "dilation": (1, 1), "groups": 1, "neuron": cell},
        {"type": "flatten", "shape": (1, 1, 96)},
        {"type": "dense", "shape": (5, 1, 1), "weight": 2 * ints(2, 5, 96, low=-20, high=24).astype(np.float32),
         "inFeatures": 96, "outFeatures": 5, "bias": np.array([4.0, 10, -2, 0, 30]), "neuron": cell},
        {"type": "dense", "shape": (1, 1, 1), "weight": np.array([90, 30, -40, 66, 120], np.float32), "inFeatures": 5,
         "outFeatures": 1, "bias": np.zeros(1), "neuron": cell},
    ]  # fmt: skip


@contextlib.contextmanager
def reading_here() -> Iterator[None]:
    """Reads without a process for each file, where many small ones are read that we wrote ourselves."""

    def read(path: Path) -> dict[str, Any]:
        tree, arrays = hdf5.read_tree(str(path), "/")
        return decoded(json.loads(json.dumps(tree)), list(arrays.values()))

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
    second = replace(
        first, threshold=np.array(int(rng.integers(60, 200))), current=Leak(2222, 12) if currents else None
    )
    geometry: dict[str, Any] = {"stride": (1, 2), "padding": (0, 1), "dilation": (2, 1), "groups": 2}
    layers = (
        Layer("c", Conv2d(ints(seed, 6, 1, 2, 3), ints(seed + 1, 6, low=-20, high=60), **geometry)),
        Layer("n", first),
        Layer("d", Dense(ints(seed + 2, 4, 96, low=-40, high=60), None if currents else ints(seed, 4))),
        Layer("m", second),
    )
    return Network(InputSpec((2, 6, 8), 1000, T), layers, classes=2)
