# SPDX-License-Identifier: Apache-2.0
"""Recordings, networks and the engine that the tests of training by events share."""

from __future__ import annotations

import numpy as np

from spikefold.export.network import InputSpec, Layer, Network, Op
from spikefold.export.neuron import Neuron, Reset
from spikefold.export.ops import Conv2d, Dense, SumPool2d
from spikefold.hardware.registry import chip_named
from spikefold.train.data.events import pack_events
from spikefold.train.data.frames import Binning
from spikefold.train.deploy.by_events import Recorded

SIDE, STEPS, DT_US, CLASSES = 8, 8, 1000, 3
BINNING = Binning((SIDE, SIDE), 1, DT_US, STEPS)


def engine() -> Recorded:
    """Speck's own, for clips of 8 bins of 8 x 8 pixels."""
    found = chip_named("speck2f").event_engine
    assert found is not None
    return Recorded(found, BINNING, seed=0)


def recordings(count: int, seed: int, events: int = 300) -> tuple[list[np.ndarray], np.ndarray]:
    """Three classes, most events of each in its own rows; a tenth of the events lie behind the end of the clip."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % CLASSES
    made = []
    for label in labels:
        t = np.sort(rng.integers(0, STEPS * DT_US * 10 // 9, events))
        own = rng.random(events) < 0.6
        y = np.where(own, label * 3 + rng.integers(0, 2, events), rng.integers(0, SIDE, events))
        made.append(pack_events(t, rng.integers(0, SIDE, events), y, rng.integers(0, 2, events)))
    return made, labels


def neuron(theta: float = 1.0, reset: Reset = Reset.SUBTRACT) -> Neuron:
    """Integrate-and-fire, as often as thresholds fit."""
    return Neuron(np.array(theta), reset=reset, max_spikes=None)


def network(*, pooled: bool = False, bias: bool = False, theta: float = 1.0, seed: int = 0) -> Network:
    """A convolution, a pool if asked for, and a dense layer of 6 outputs, 2 a class."""
    rng = np.random.default_rng(seed)
    side = SIDE // 4 if pooled else SIDE // 2
    pool: tuple[tuple[str, Op], ...] = (("p", SumPool2d((2, 2))),) if pooled else ()
    ops: tuple[tuple[str, Op], ...] = (
        ("c", Conv2d(rng.normal(0.05, 0.3, (4, 2, 3, 3)), np.full(4, 0.1) if bias else None, (2, 2), (1, 1))),
        ("n", neuron(theta)),
        *pool,
        ("d", Dense(rng.normal(0.02, 0.3, (6, 4 * side * side)))),
        ("out", neuron(theta)),
    )
    spec = InputSpec((2, SIDE, SIDE), DT_US, STEPS)
    return Network(spec, tuple(Layer(name, op) for name, op in ops), CLASSES)
