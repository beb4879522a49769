# SPDX-License-Identifier: Apache-2.0
"""For each chip, how its files are written and which simulator of its vendor judges the result."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from spikefold.errors import MismatchError, UnsupportedError
from spikefold.export.network import Network
from spikefold.hardware.simulators.parity import Runner
from spikefold.hardware.simulators.trace import Trace

CONFIGURATION = "config.json"


@dataclass(frozen=True)
class Lowered:
    """What became of a network for a chip.

    Attributes:
        files: those written, by name.
        notes: what their user must know.
        placement: core number by spiking layer; empty where the vendor's own tool places.
    """

    files: tuple[str, ...]
    notes: list[str]
    placement: dict[str, int] = field(default_factory=dict)


def require(chip: str) -> None:
    """Nothing, if files can be written for this chip.

    Raises:
        UnsupportedError: none of the vendor's tools at hand writes them; `spikefold fit` still answers for it.
    """
    if chip not in _LOWER:
        raise UnsupportedError(
            f"nothing here writes files for {chip}",
            where=chip,
            hint=f"export to {', '.join(_LOWER)}; `spikefold fit` answers for it",
        )


def lower(chip: str, folded: Network, integer: Network, folder: Path) -> Lowered:
    """Write the chip's own files.

    Args:
        chip: its name.
        folded: the real network.
        integer: our own quantisation of it.
        folder: where to write.

    Raises:
        UnsupportedError: the chip or its tool cannot carry the network; everything is named.
        MismatchError: the vendor's own conversion and ours do not give the same integers.
    """
    require(chip)
    return _LOWER[chip](folded, integer, folder)


def judge(chip: str, folded: Network, integer: Network) -> Runner:
    """The simulator of the chip's vendor, bound to this network."""
    return _JUDGE[chip](folded, integer)


def _lower_speck(chip: str, folded: Network, integer: Network, folder: Path) -> Lowered:
    from spikefold.hardware.speck import configuration as speck_config
    from spikefold.hardware.speck import sinabs as to_speck
    from spikefold.hardware.speck.notes import notes
    from spikefold.hardware.speck.placement import place
    from spikefold.hardware.speck.sinabs_check import differences
    from spikefold.hardware.speck.split import split_to_fit, splits

    device = f"{chip}devkit"
    on_cores = split_to_fit(integer)
    if on_cores is integer:
        model = to_speck.convert(folded, device)
        issues = differences(model, integer)
        if issues:
            hint = "a bug, or another release of sinabs: report it with the run folder"
            raise MismatchError("sinabs' conversion and ours differ", where=chip, issues=issues, hint=hint)
        files = model.write(folder / CONFIGURATION)
        return Lowered(tuple(file.name for file in files), list(model.notes), dict(model.layer2core))
    parts = ", ".join(f"{name} as {' + '.join(map(str, split))}" for name, split in splits(integer).items())
    said = [
        f"layers on two cores, by output channels: {parts}; sinabs cannot write that, this configuration is ours",
        *notes(on_cores),
    ]
    cores = dict(place(on_cores).cores)
    values = speck_config.configuration(on_cores, cores, device)
    speck_config.write(folder / CONFIGURATION, values, cores, integer.input.shape, said, device)
    return Lowered((CONFIGURATION,), said, cores)


def _judge_speck(folded: Network, integer: Network) -> Runner:
    from spikefold.hardware.speck import sinabs as to_speck
    from spikefold.hardware.speck import sinabs_runner as speck_runner

    # without cores: a layer that is split over two has the same spikes before it is
    model = to_speck.discretised(folded)

    def run(frames: np.ndarray, *, potentials: bool = False) -> Trace:
        return speck_runner.run(model, frames, potentials=potentials)

    return run


def _lower_loihi(folded: Network, integer: Network, folder: Path) -> Lowered:
    from spikefold.hardware.loihi import to_netx as to_loihi

    to_loihi.write_net(integer, folder / "network.net")
    max_count = integer.input.max_count or 1
    script = to_loihi.write_script(folder / "network.py")
    notes = [
        f"input spikes carry event counts up to {max_count}: graded spikes, which Loihi 2 has and Loihi 1 has not"
    ]
    return Lowered(("network.net", script.name), notes if max_count > 1 else [])


def _judge_loihi(folded: Network, integer: Network) -> Runner:
    from spikefold.hardware.loihi.lava import client as lava_client

    def run(frames: np.ndarray, *, potentials: bool = False) -> Trace:
        return lava_client.run(integer, frames, potentials=potentials)

    return run


_SPECKS = ("speck2f", "speck2e")
_LOWER = {chip: partial(_lower_speck, chip) for chip in _SPECKS} | {"loihi2": _lower_loihi}
_JUDGE = dict.fromkeys(_SPECKS, _judge_speck) | {"loihi2": _judge_loihi}
