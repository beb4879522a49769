# SPDX-License-Identifier: Apache-2.0
"""States go on in wider numbers where a sum could leave 16 bits, and not before; the spikes are the same."""

from __future__ import annotations

import numpy as np
import pytest

from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Neuron, Reset
from spikefold.export.ops import Conv2d
from spikefold.hardware.speck.events.prepared import prepared
from spikefold.hardware.speck.events.simulate import simulate


def _network(weight: int, theta: int, v_min: float | None, bias: int | None = None) -> Network:
    conv = Conv2d(np.full((1, 1, 1, 1), weight), None if bias is None else np.array([bias]))
    neuron = Neuron(np.array(theta), reset=Reset.SUBTRACT, v_min=v_min, max_spikes=None, state_bits=24)
    return Network(InputSpec((1, 1, 1), 1000, 3), (Layer("c", conv), Layer("n", neuron)), 1)


def _by_hand(weight: int, theta: int, v_min: float | None, bias: int, events: int) -> tuple[list[int], list[int]]:
    v, states, spikes = 0, [], []
    for _ in range(3):
        fired = 0
        for _ in range(events):
            v += weight
            if v >= theta:
                v, fired = v - theta, fired + 1
            v = v if v_min is None else max(v, int(v_min))
        v += bias
        v = v if v_min is None else max(v, int(v_min))
        states.append(v)
        spikes.append(fired)
    return states, spikes


@pytest.mark.parametrize(
    ("weight", "theta", "v_min", "bias", "events", "word"),
    [
        (100, 100, -16384.0, None, 900, np.int16),
        (100, 32_567, -16384.0, None, 900, np.int16),
        (100, 32_700, -16384.0, None, 900, np.int32),
        (120, 100, -16384.0, None, 4000, np.int32),  # a residual of 20 that each event leaves
        (-100, 100, -16384.0, None, 900, np.int16),
        (-100, 100, None, None, 900, np.int32),
        (100, 100, -16384.0, 20_000, 5, np.int32),
    ],
)
def test_the_narrowest_numbers_that_hold_every_sum(
    weight: int, theta: int, v_min: float | None, bias: int | None, events: int, word: type
) -> None:
    network = _network(weight, theta, v_min, bias)
    frames = np.full((3, 1, 1, 1, 1), events, np.uint16)
    layer = simulate(network, frames, potentials=True).trace.layers["n"]
    states, spikes = _by_hand(weight, theta, v_min, bias or 0, events)
    assert layer.potentials is not None
    assert layer.potentials.ravel().tolist() == states
    assert layer.raster.ravel().tolist() == spikes
    assert {key[2] for key in prepared(network)._made if key[0] == "taps"} >= {word}
    assert all(np.iinfo(key[2]).max <= np.iinfo(word).max for key in prepared(network)._made if key[0] == "taps")
