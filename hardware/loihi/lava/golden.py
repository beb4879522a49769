# SPDX-License-Identifier: Apache-2.0
"""Holds a network small enough to run by hand, and runs it: the proof that an installed lava computes right.

A convolution with kernel ``[3, -1]`` and threshold 4 without leak, then two dense neurons that keep half of their
state, with threshold 3. Two ties are in it: 4 fires at ``>=`` last, 3 does not at ``>`` one step before.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from spikefold.errors import EnvironmentLacksError
from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Fire, Leak, Neuron, Overflow
from spikefold.export.ops import Conv2d, Dense
from spikefold.hardware.loihi.lava.process import Job, run_worker
from spikefold.hardware.loihi.to_netx import write_net

FRAMES = np.array([[1, 0, 1], [1, 0, 0], [0, 1, 1], [1, 1, 0]]).reshape(4, 1, 1, 1, 3)
"""Events ``(T, N, C, H, W)``; the two neurons of the convolution then sum 3 -1, 6 -1, -1 1 and 1 4."""
SPIKES = ([[0, 0], [1, 0], [0, 0], [0, 1]], [[0, 0], [0, 0], [0, 0], [1, 1]])
"""Per layer, ``(T, neurons)``."""


def network() -> Network:
    """The golden network, in Loihi 2's numbers."""
    shared = {"state_shift": 7, "state_bits": 24, "overflow": Overflow.SATURATE}
    leaky = Neuron(np.array(3), fire=Fire.GT, leak=Leak(2048, 12), **shared)  # type: ignore[arg-type]
    layers = (
        Layer("conv", Conv2d(np.array([3, -1]).reshape(1, 1, 1, 2))),
        Layer("spikes", Neuron(np.array(4), **shared)),  # type: ignore[arg-type]
        Layer("dense", Dense(np.array([[2, 4], [-1, 1]]), np.array([0, 2]))),
        Layer("out", leaky),
    )
    return Network(InputSpec((1, 1, 3), dt_us=1000, steps=len(FRAMES)), layers, classes=2)


def check(library: Path, interpreter: str, *, timeout_s: float = 120) -> None:
    """Run it with the lava in ``library``.

    Raises:
        EnvironmentLacksError: lava does not run there, or its spikes differ.
    """
    with tempfile.TemporaryDirectory(prefix="spikefold-lava-") as folder:
        home = Path(folder)
        write_net(network(), home / "0.net")
        arrays = run_worker(home, [Job("0.net", FRAMES)], library, interpreter=interpreter, timeout_s=timeout_s)
    for index, expected in enumerate(SPIKES):
        found = arrays[f"0/{index}/spikes"].reshape(len(FRAMES), -1).tolist()
        if found != expected:
            raise EnvironmentLacksError(
                f"lava computes {found} in layer {index} of the golden network, by hand it is {expected}",
                hint="report this with the versions of Python, numpy and scipy",
            )
