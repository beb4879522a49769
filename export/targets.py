# SPDX-License-Identifier: Apache-2.0
"""For each chip, how its files are written and which simulator of its vendor judges the result."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from spikefold.errors import MismatchError
from spikefold.export.network import Network
from spikefold.hardware.parity import Runner
from spikefold.hardware.trace import Trace


@dataclass(frozen=True)
class Lowered:
    """The files written, by name, and what their user must know."""

    files: tuple[str, ...]
    notes: list[str]


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
    return _LOWER[chip](folded, integer, folder)


def judge(chip: str, folded: Network, integer: Network) -> Runner:
    """The simulator of the chip's vendor, bound to this network."""
    return _JUDGE[chip](folded, integer)


def _lower_speck(chip: str, folded: Network, integer: Network, folder: Path) -> Lowered:
    from spikefold.export import to_speck
    from spikefold.export.speck_check import differences

    model = to_speck.convert(folded, f"{chip}devkit")
    issues = differences(model, integer)
    if issues:
        raise MismatchError("sinabs' conversion and ours differ", where=chip, issues=issues,
                            hint="a bug, or another release of sinabs: report it with the run folder")  # fmt: skip
    model.write(folder / "config.json")
    return Lowered(("config.json",), list(model.notes))


def _judge_speck(chip: str, folded: Network, integer: Network) -> Runner:
    from spikefold.export import speck_runner, to_speck

    model = to_speck.convert(folded, f"{chip}devkit")

    def run(frames: np.ndarray, *, potentials: bool = False) -> Trace:
        return speck_runner.run(model, frames, potentials=potentials)

    return run


def _lower_loihi(folded: Network, integer: Network, folder: Path) -> Lowered:
    from spikefold.export import to_loihi

    to_loihi.write_net(integer, folder / "network.net")
    max_count = integer.input.max_count or 1
    script = to_loihi.write_script(folder / "network.py")
    notes = [
        f"input spikes carry event counts up to {max_count}: graded spikes, which Loihi 2 has and Loihi 1 has not"
    ]
    return Lowered(("network.net", script.name), notes if max_count > 1 else [])


def _judge_loihi(folded: Network, integer: Network) -> Runner:
    from spikefold.hardware import lava_client

    def run(frames: np.ndarray, *, potentials: bool = False) -> Trace:
        return lava_client.run(integer, frames, potentials=potentials)

    return run


_SPECKS = ("speck2f", "speck2e")
_LOWER = {chip: partial(_lower_speck, chip) for chip in _SPECKS} | {"loihi2": _lower_loihi}
_JUDGE = {chip: partial(_judge_speck, chip) for chip in _SPECKS} | {"loihi2": _judge_loihi}
