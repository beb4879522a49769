# SPDX-License-Identifier: Apache-2.0
"""Quantises and lowers a network for a chip by its name: what an export does to a network, in two calls."""

from __future__ import annotations

from pathlib import Path

from spikefold.errors import UnsupportedError
from spikefold.export.network import Network
from spikefold.export.passes import quantise as rounding
from spikefold.hardware.chip import Lowered
from spikefold.hardware.registry import chip_named
from spikefold.hardware.rewrites import rewritten


def quantise(network: Network, chip: str) -> tuple[Network, Network]:
    """The network in the form that a chip can carry, real, and the same in the chip's integers.

    Args:
        network: real and folded (`passes.fold`).
        chip: its name; `spikefold chips` lists them.

    Raises:
        ConfigError: an unknown name.
        UnsupportedError: everything that the chip cannot carry: what no rewrite can do, what the quantiser cannot
            round, or every rule that the integers break.
    """
    target = chip_named(chip)
    made = rewritten(network, target)
    if made.issues:
        raise UnsupportedError(f"the network cannot be rewritten for {target.title}", where=chip, issues=made.issues)
    integer, _ = rounding.quantise(made.network, target.numbers)
    if violations := target.violations(integer):
        raise UnsupportedError(f"the network does not fit {target.title}", where=chip, issues=violations)
    return made.network, integer


def lower(real: Network, integer: Network, chip: str, folder: Path) -> Lowered:
    """Write a chip's own files into a folder, which is made where it is missing.

    Args:
        real: as `quantise` gives it.
        integer: the same in the chip's integers.
        chip: its name.
        folder: for the files.

    Raises:
        ConfigError: an unknown name.
        UnsupportedError: nothing here writes files for that chip, or its vendor's tool refuses the network.
        MismatchError: the vendor's tool makes other integers of it.
    """
    write = chip_named(chip).require_files()
    folder.mkdir(parents=True, exist_ok=True)
    return write(real, integer, folder)
