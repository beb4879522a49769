# SPDX-License-Identifier: Apache-2.0
"""Intel's PilotNet as it ran on Loihi 2 for the published benchmark: the network, its silent input, its spikes.

The benchmark's camera image never reached the chip: the notebook gives it to a Python attribute, and the plot of the
counters shows no operation in conv1. So the input layer stays silent here too (its bias, 36 in the file, is 0),
frames are zero, and all activity comes from the biases of the layers behind. Clips of 16 steps follow one another,
each layer reset at their beginning.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spikefold.errors import DataError
from spikefold.export.network import Network
from spikefold.export.ops import Conv2d
from spikefold.hardware.core_work import CoreWork
from spikefold.hardware.loihi.core_work import core_work
from spikefold.hardware.loihi.from_netx import from_net
from spikefold.hardware.simulators.silent_input import run_silent
from spikefold.hardware.simulators.trace import Trace

STEPS = 16
INPUT_SHAPE = (3, 66, 200)
PROFILE = "loihi2"
"""Technology profile of the chip that was measured."""
OLDER_PROFILES = ("loihi1-presilicon", "loihi1-fitted")
"""Those of the chip before it, whose prices stand in where this one has none."""


@dataclass(frozen=True, eq=False)
class PilotNet:
    """The network as it ran, its input ``(T, 1, C, H, W)`` and spikes, and what each core did."""

    network: Network
    frames: np.ndarray
    trace: Trace
    work: dict[str, CoreWork]


def pilotnet(path: Path) -> PilotNet:
    """Run the network of lava-dl's wheel as the benchmark did.

    Raises:
        DataError: the file is another network, or damaged.
    """
    network = from_net(path, steps=STEPS)
    first = network.layers[0]
    if network.input.shape != INPUT_SHAPE or not isinstance(first.op, Conv2d) or first.op.bias is None:
        hint = "give pilotnet_lif's network.net of lava-dl 0.6.0"
        raise DataError(f"this is not PilotNet: its input is {network.input.shape}", where=str(path), hint=hint)
    ran = run_silent(network)
    return PilotNet(ran.network, ran.frames, ran.trace, core_work(ran.network, ran.frames, ran.trace))
