# SPDX-License-Identifier: Apache-2.0
"""What a chip's network is made of: max pools of spikes become OR neurons where the chip has those, exactly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spikefold.errors import UnsupportedError
from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Neuron
from spikefold.export.ops import Conv2d, Dense, MaxPool2d
from spikefold.hardware.loihi.chip import LOIHI2
from spikefold.hardware.loihi.lava import client as lava_client
from spikefold.hardware.simulators import reference
from spikefold.hardware.simulators.compare import compare
from spikefold.hardware.speck.chip import SPECK2F
from spikefold.stages.chip_files import chip_network


def _pooled() -> Network:
    rng, one = np.random.default_rng(5), Neuron(np.array(1.0))
    layers = (
        Layer("c1", Conv2d(rng.normal(0.2, 0.3, (4, 2, 3, 3)), padding=(1, 1))),
        Layer("n1", one),
        Layer("pool", MaxPool2d((2, 2))),
        Layer("fc", Dense(rng.normal(0.1, 0.3, (5, 4 * 4 * 4)))),
        Layer("out", one),
    )
    return Network(InputSpec((2, 8, 8), 1000, 6, 1), layers, 5)


@pytest.mark.lava
def test_a_max_pool_of_spikes_runs_on_loihi_as_or_neurons() -> None:
    frames = (np.random.default_rng(6).random((6, 4, 2, 8, 8)) < 0.3).astype(np.uint16)
    made = chip_network(_pooled(), LOIHI2, frames)
    assert LOIHI2.violations(made.integer) == []
    assert [layer.name for layer in made.integer.neurons] == ["n1", "pool", "out"]
    ours = reference.run(made.integer, frames)
    found = compare(ours, lava_client.run(made.integer, frames))
    assert found.mismatches == 0
    assert found.spikes > 200
    # the same integers with the pool itself: every spike is where the largest of its window was
    names = {"pool.or", "pool"}
    layers = [layer for layer in made.integer if layer.name not in names]
    pool = Layer("pool", MaxPool2d((2, 2)), ("n1",))
    with_pool = replace(made.integer, layers=(*layers[:2], pool, *layers[2:]))
    plain = reference.run(with_pool, frames)
    for name in ("n1", "out"):
        assert np.array_equal(plain.layers[name].raster, ours.layers[name].raster)
        assert plain.layers[name].spikes > 0


def test_speck_has_no_such_neurons_and_says_so() -> None:
    with pytest.raises(UnsupportedError, match="cannot be quantised") as caught:
        chip_network(_pooled(), SPECK2F, None)
    assert [(issue.where, issue.got) for issue in caught.value.issues] == [("pool", "MaxPool2d")]
