# SPDX-License-Identifier: Apache-2.0
"""Two networks with every operation and setting that a file must hold."""

from __future__ import annotations

import numpy as np
import pytest

from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Fire, Leak, Neuron, Order, Overflow, Reset
from spikefold.export.ops import AvgPool2d, Conv2d, Dense, Gate, SumPool2d
from tests.norms import batch_norm


def real_network() -> Network:
    """Every real operation, a leak, a threshold a channel and a threshold a neuron."""
    rng = np.random.default_rng(0)
    conv = Conv2d(rng.normal(0, 0.4, (4, 1, 3, 2)), rng.normal(size=4), (1, 2), (1, 0), (1, 2), 2)
    layers = (
        Layer("conv1", conv, (), "layers.0"),
        Layer("bn1", batch_norm(rng.uniform(0.5, 1.5, (4, 4)), eps=1e-3)),
        Layer("gate1", Gate(rng.uniform(0.2, 0.9, 4))),
        Layer("pool1", AvgPool2d((2, 1))),
        Layer("sn1", Neuron(rng.uniform(0.1, 0.5, (4, 1, 1)), leak=Leak(0.3), order=Order.INPUT_FIRST, v_min=-0.5)),
        Layer("fc", Dense(rng.normal(0.1, 0.4, (6, 4 * 4 * 3)))),
        Layer("out", Neuron(rng.uniform(0.2, 0.6, (6, 1, 1)), Fire.GT, Reset.VALUE, -0.25, max_spikes=3)),
    )
    return Network(InputSpec((2, 8, 7), 33_333, 5, 9), layers, 3, ("from_torch", "imagined"))


def integer_network() -> Network:
    """A graph: two branches from the input, an integer leak, a bounded and shifted state."""
    rng = np.random.default_rng(1)
    bounded = Neuron(
        np.array(9),
        leak=Leak(3000, 12),
        v_min=-40,
        state_shift=6,
        state_bits=20,
        overflow=Overflow.SATURATE,
        fire=Fire.GT,
    )
    layers = (
        Layer("a", Conv2d(rng.integers(-3, 6, (3, 2, 3, 3)), padding=(1, 1)), ("input",)),
        Layer("b", Conv2d(rng.integers(-3, 6, (3, 2, 1, 1)), np.array([1, 0, -1])), ("input",)),
        Layer("n", bounded, ("a", "b")),
        Layer("p", SumPool2d((2, 3)), ("n",)),
        Layer("d", Dense(rng.integers(-3, 6, (4, 3 * 4 * 2))), ("p",)),
        Layer("o", Neuron(np.array(20), reset=Reset.SUBTRACT, max_spikes=None, overflow=Overflow.WRAP, state_bits=9)),
    )
    return Network(InputSpec((2, 8, 7), 1000, 5), layers, 2)


BOTH = pytest.mark.parametrize("build", [real_network, integer_network])
