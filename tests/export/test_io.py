# SPDX-License-Identifier: Apache-2.0
"""Networks on disk: what is written comes back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spikefold.export.io import identity, load_network, save_network
from spikefold.export.network import Network
from spikefold.hardware.simulators import reference
from tests.export.io_cases import BOTH


def _differences(one: Any, two: Any, at: str = "network") -> list[str]:
    """Every field in which two descriptions differ, types of arrays included."""
    if is_dataclass(one):
        kinds = [] if type(one) is type(two) else [f"{at}: {type(one)} {type(two)}"]
        return kinds + [
            found
            for field in fields(one)
            for found in _differences(getattr(one, field.name), getattr(two, field.name), f"{at}.{field.name}")
        ]
    if isinstance(one, np.ndarray):
        same = one.dtype == two.dtype and one.shape == two.shape and np.array_equal(one, two)
        return [] if same and not two.flags.writeable else [at]
    if isinstance(one, tuple):
        if len(one) != len(two):
            return [f"{at}: {len(one)} {len(two)}"]
        return [
            found for i, pair in enumerate(zip(one, two, strict=True)) for found in _differences(*pair, f"{at}[{i}]")
        ]
    return [] if one == two and type(one) is type(two) else [f"{at}: {one!r} {two!r}"]


@BOTH
def test_a_saved_network_comes_back_in_every_field(build: Callable[[], Network], tmp_path: Path) -> None:
    network = build()
    save_network(network, tmp_path / "net.v1")
    back = load_network(tmp_path / "net.v1")
    assert _differences(network, back) == []
    assert identity(back) == identity(network)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.v1.json", "net.v1.safetensors"]


@BOTH
def test_a_network_that_came_back_fires_the_same_spikes(build: Callable[[], Network], tmp_path: Path) -> None:
    network = build()
    save_network(network, tmp_path / "n")
    frames = np.random.default_rng(2).integers(0, 4, (5, 6, 2, 8, 7))
    one, two = (reference.run(net, frames, potentials=True) for net in (network, load_network(tmp_path / "n")))
    for name, layer in one.layers.items():
        np.testing.assert_array_equal(layer.raster, two.layers[name].raster)
        np.testing.assert_array_equal(layer.potentials, two.layers[name].potentials)
        assert layer.spikes > 20


@BOTH
def test_saving_twice_writes_the_same_bytes(build: Callable[[], Network], tmp_path: Path) -> None:
    save_network(build(), tmp_path / "a")
    save_network(load_network(tmp_path / "a"), tmp_path / "b")
    for suffix in (".json", ".safetensors"):
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()
