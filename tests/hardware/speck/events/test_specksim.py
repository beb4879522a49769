# SPDX-License-Identifier: Apache-2.0
"""The engine gives the ten output totals that samna's own simulator gave for a real network and a real recording.

Published by a user of samna 0.48.6 with sinabs 3.1.3 (fact sheet ``silicon.md``, section 3): sinabs' network
``scnn_mnist.nir`` without its biases, five layers deep, and the first test recording of N-MNIST's digit 0.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spikefold.export.network import Layer, Network
from spikefold.export.neuron import Neuron
from spikefold.export.nir.from_nir import read
from spikefold.export.nir.options import NirOptions
from spikefold.export.ops import Conv2d, Dense
from spikefold.hardware.speck.events.dvs_layer import DvsLayer
from spikefold.hardware.speck.events.options import Emission, Options
from spikefold.hardware.speck.events.result import EventRun
from spikefold.hardware.speck.events.simulate import simulate_events
from spikefold.train.data.events import pack_events

DATA = Path(__file__).parents[4].parent / "shared" / "data"
NETWORK, RECORDINGS = DATA / "specksim" / "scnn_mnist.nir", DATA / "nmnist" / "test.npz"
PUBLISHED = [966, 88, 210, 29, 30, 102, 392, 44, 23, 94]
SHIFT = 40
"""Every weight of the file is a whole multiple of 2^-40."""
MODEL = NirOptions(convention="sinabs", steps=1, dt_us=1000, v_min=-1.0)

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(
        not (NETWORK.exists() and RECORDINGS.exists()),
        reason="shared/data is absent: no network and recording that samna's simulator was run on",
    ),
]


def scaled(real: Network) -> Network:
    """Weights, thresholds and bounds times 2^40 as whole numbers, biases left out; raises where one is not whole.

    A float32 weight is a whole number times a power of two; in this file the smallest such power is 2^-40. So each
    weight times 2^40 is a whole number, and nothing is rounded (asserted). States are sums of these, thresholds and
    bounds are 2^40 and -2^40, and the engine adds, compares and subtracts whole numbers of 64 bits: what it computes
    is 2^40 times the real arithmetic, without any error. A state lies below 2^43 here, far from 2^63.
    """

    def whole(values: np.ndarray) -> np.ndarray:
        exact = np.ldexp(np.asarray(values, np.float64), SHIFT)
        found = exact.astype(np.int64)
        np.testing.assert_array_equal(np.ldexp(found.astype(np.float64), -SHIFT), values)
        np.testing.assert_array_equal(found.astype(np.float64), exact)
        return found

    def rewritten(layer: Layer) -> Layer:
        op = layer.op
        if isinstance(op, Conv2d | Dense):
            return replace(layer, op=replace(op, weight=whole(op.weight), bias=None))
        if isinstance(op, Neuron):
            assert op.v_min == -1.0
            return replace(layer, op=replace(op, threshold=whole(op.threshold), v_min=-(2.0**SHIFT)))
        return layer

    return real.rewritten([rewritten(layer) for layer in real], "scaled")


def recording() -> np.ndarray:
    """The events of test recording 60004, a digit 0."""
    with np.load(RECORDINGS, allow_pickle=False) as file:
        (number,) = np.flatnonzero(file["name"] == "60004")
        assert (number, file["label"][number]) == (3, 0)
        here = slice(*file["off"][number : number + 2])
        return pack_events(*(file[key][here].astype(np.int64) for key in "txyp"))


def totals(found: EventRun) -> list[int]:
    return [int(count) for count in found.trace.output_counts(10)[0]]


def by_events(order: Emission) -> EventRun:
    options = Options(emission=order)
    return simulate_events(scaled(read(NETWORK, MODEL)), recording(), DvsLayer((34, 34)), dt_us=1000, options=options)


def test_the_ten_totals_of_samnas_simulator_exactly() -> None:
    """The product's own engine, its default order, no tolerance: the compiled loop that simulates every network."""
    found = by_events(Options().emission)
    assert int(found.loads[0].events.sum()) == 5293
    assert all(layer.spikes > 1000 for layer in found.trace.layers.values())
    assert max(max(-low, high) for low, high in (layer.v_range for layer in found.trace.layers.values())) < 2**43
    assert totals(found) == PUBLISHED


@pytest.mark.parametrize(
    ("order", "off"),
    [(Emission.ADDRESSES_ASCENDING, 93), (Emission.ADDRESSES_DESCENDING, 111), (Emission.SHUFFLED, 134)],
)
def test_another_order_gives_other_totals(order: Emission, off: int) -> None:
    """So the test above can fail: spikes by which each other order misses the ten totals, added up."""
    assert sum(abs(one - other) for one, other in zip(totals(by_events(order)), PUBLISHED, strict=True)) == off
