# SPDX-License-Identifier: Apache-2.0
"""Writes a network's configuration for a Speck board, and binds the network to sinabs' simulator.

sinabs converts the real network by itself, and its integers must be ours. Layers that lie on two cores are nothing
that sinabs can write; for them the configuration is ours alone, and samna's own checks are repeated on it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from spikefold.errors import MismatchError
from spikefold.export.network import Network
from spikefold.hardware.chip import Lowered
from spikefold.hardware.simulators.parity import Runner
from spikefold.hardware.simulators.trace import Trace
from spikefold.hardware.speck.lowering import configuration, sinabs, sinabs_runner
from spikefold.hardware.speck.lowering.notes import notes
from spikefold.hardware.speck.lowering.sinabs_check import differences
from spikefold.hardware.speck.placement import place
from spikefold.hardware.speck.split import split_to_fit, splits

CONFIGURATION = "config.json"
"""The file that a board is configured from."""


def lower(device: str, real: Network, integer: Network, folder: Path) -> Lowered:
    """Write `CONFIGURATION` and what belongs to it.

    Args:
        device: the board that the configuration is for, by sinabs' name, as ``speck2fdevkit``.
        real: the folded real network.
        integer: our own quantisation of it.
        folder: where to write.

    Raises:
        UnsupportedError: the chip or sinabs cannot carry the network; everything is named.
        MismatchError: sinabs' conversion and ours do not give the same integers.
    """
    on_cores = split_to_fit(integer)
    if on_cores is integer:
        model = sinabs.convert(real, device)
        if issues := differences(model, integer):
            hint = "a bug, or another release of sinabs: report it with the run folder"
            raise MismatchError("sinabs' conversion and ours differ", where=device, issues=issues, hint=hint)
        files = model.write(folder / CONFIGURATION)
        return Lowered(tuple(file.name for file in files), tuple(model.notes), dict(model.layer2core))
    parts = ", ".join(f"{name} as {' + '.join(map(str, split))}" for name, split in splits(integer).items())
    said = [
        f"layers on two cores, by output channels: {parts}; sinabs cannot write that, this configuration is ours",
        *notes(on_cores),
    ]
    cores = dict(place(on_cores).cores)
    values = configuration.configuration(on_cores, cores, device)
    configuration.write(folder / CONFIGURATION, values, cores, integer.input.shape, said, device)
    return Lowered((CONFIGURATION,), tuple(said), cores)


def simulator(real: Network) -> Runner:
    """The simulator of sinabs on its own conversion of the real network.

    It works without cores: a layer that is split over two has the same spikes before it is.
    """
    model = sinabs.discretised(real)

    def run(frames: np.ndarray, *, potentials: bool = False) -> Trace:
        return sinabs_runner.run(model, frames, potentials=potentials)

    return run
