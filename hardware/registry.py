# SPDX-License-Identifier: Apache-2.0
"""The known chips. A new one is one file in this folder and one entry here."""

from __future__ import annotations

from spikefold.errors import ConfigError, nearest
from spikefold.hardware.chip import Chip
from spikefold.hardware.loihi.chip import LOIHI1, LOIHI2
from spikefold.hardware.speck.chip import DYNAPCNN, SPECK2E, SPECK2F

CHIPS = {chip.name: chip for chip in (SPECK2F, SPECK2E, DYNAPCNN, LOIHI2, LOIHI1)}


def chip_named(name: str) -> Chip:
    """The chip of that name.

    Raises:
        ConfigError: there is none; the nearest name is suggested.
    """
    if name not in CHIPS:
        raise ConfigError(f"unknown chip {name!r}", where="chips", hint=nearest(name, CHIPS))
    return CHIPS[name]
