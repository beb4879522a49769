# SPDX-License-Identifier: Apache-2.0
"""Quantising and lowering by a chip's name is what an export does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spikefold.errors import ConfigError, UnsupportedError
from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Neuron
from spikefold.export.ops import Conv2d, Dense, SumPool2d
from spikefold.hardware.by_name import lower, quantise
from spikefold.hardware.simulators import reference


def _network(kernel: int = 3) -> Network:
    rng, one = np.random.default_rng(0), Neuron(np.array(1.0))
    side = (9 - kernel) // 2
    layers = (
        Layer("c", Conv2d(rng.normal(0.2, 0.3, (3, 2, kernel, kernel)))), Layer("n", one),
        Layer("p", SumPool2d((2, 2))),
        Layer("d", Dense(rng.normal(0.1, 0.3, (4, 3 * side * side)))), Layer("o", one),
    )  # fmt: skip
    return Network(InputSpec((2, 8, 8), 1000, 5, 1), layers, 4)


@pytest.mark.parametrize(("chip", "file"), [("speck2f", "config.json"), ("loihi2", "network.net")])
def test_a_name_is_enough(chip: str, file: str, tmp_path: Path) -> None:
    network = _network()
    real, integer = quantise(network, chip)
    assert (real is network) == (chip == "speck2f")
    lowered = lower(real, integer, chip, tmp_path / "deep" / chip)
    assert file in lowered.files
    assert all((tmp_path / "deep" / chip / name).stat().st_size > 0 for name in lowered.files)
    frames = (np.random.default_rng(1).random((5, 2, 2, 8, 8)) < 0.4).astype(np.uint16)
    assert all(layer.spikes > 0 for layer in reference.run(integer, frames).layers.values())


def test_unknown_names_and_networks_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match="speck2f"):
        quantise(_network(), "speck2g")
    several = [
        Layer(layer.name, Neuron(np.array(1.0), max_spikes=None), layer.inputs) if layer.name == "n" else layer
        for layer in _network()
    ]
    with pytest.raises(UnsupportedError, match="cannot be quantised"):
        quantise(Network(_network().input, tuple(several), 4), "loihi2")
