# SPDX-License-Identifier: Apache-2.0
"""On the shapes of the paper's three-layer network, one strided convolution makes 2.3 times fewer operations.

The arithmetic: a padded 3x3 convolution has ``C_in C_out (3 H - 2)(3 W - 2)`` synapses; folded with the 2x2 mean it
is 4x4 with stride 2 and ``C_in C_out (2 H - 2)(2 W - 2)`` of them.
"""

from __future__ import annotations

import numpy as np
import pytest

from spikefold.energy.counts.count import count
from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Leak, Neuron
from spikefold.export.ops import AvgPool2d, BatchNorm, Conv2d, Gate
from spikefold.export.passes.fold import fold
from spikefold.hardware.simulators import clocked


@pytest.mark.parametrize(
    ("c_in", "size", "before", "after"), [(64, 32, 72_384_512, 31_490_048), (128, 16, 34_668_544, 14_745_600)]
)
def test_the_measured_fall_in_operations_is_the_arithmetic(c_in: int, size: int, before: int, after: int) -> None:
    rng = np.random.default_rng(0)
    norm = BatchNorm(np.ones(128), rng.normal(0.1, 0.1, 128), np.zeros(128), np.ones(128), 1e-5)
    layers = (
        Layer("conv", Conv2d(rng.normal(0, 0.1, (128, c_in, 3, 3)), rng.normal(0, 0.1, 128), (1, 1), (1, 1))),
        Layer("bn", norm),
        Layer("pool", AvgPool2d((2, 2))),
        Layer("asa", Gate(rng.uniform(0.6, 0.8, 128))),
        Layer("lif", Neuron(np.array(0.3), leak=Leak(0.3))),
    )
    unfolded = Network(InputSpec((c_in, size, size), 15_000, 2, 1), layers, 128)
    folded = fold(unfolded)
    # every input fires in the first step, half of them in the second
    frames = np.ones((2, 1, c_in, size, size), np.uint16)
    frames[1, :, ::2] = 0
    runs = [clocked.run(network, frames) for network in (unfolded, folded)]
    np.testing.assert_array_equal(runs[0].layers["lif"].raster, runs[1].layers["lif"].raster)
    assert runs[0].spikes > 1000
    (one,), (two,) = (count(n, frames, r).layers for n, r in zip((unfolded, folded), runs, strict=True))
    assert (one.dense, two.dense) == (2 * before, 2 * after)
    assert (one.events, two.events) == (before + before // 2, after + after // 2)
    assert before == 128 * c_in * (3 * size - 2) ** 2
    assert after == 128 * c_in * (2 * size - 2) ** 2
