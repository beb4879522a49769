# SPDX-License-Identifier: Apache-2.0
"""Speck2f (SynSense): nine convolution cores, integrate-and-fire neurons, 8-bit weights, 16-bit states.

Numbers and limits: "Speck Dev Kit Datasheet" (Aug 2023) 3.2.4 and sinabs 3.1.3 ``chips/dynapcnn.py``.
"""

from __future__ import annotations

from spikefold.errors import Issue
from spikefold.export.network import Network
from spikefold.export.neuron import Overflow, Reset
from spikefold.export.numbers import NumberFormat
from spikefold.hardware.chip import Chip

NUMBERS = NumberFormat(
    weight_bits=8,
    # sinabs scales biases into 8 bits, though the chip holds 16
    bias_bits=8,
    threshold_max=2**15 - 1,
    state_bits=16,
    overflow=Overflow.FORBID,
    resets=frozenset({Reset.ZERO, Reset.SUBTRACT}),
    # threshold_low must not be 0 (datasheet 3.2.4.6.3). Half of the range: far below any useful state, and with
    # a factor of two to spare so that it never decides sinabs' common scale.
    v_min=-(2**14),
    multi_spike=True,
)


def violations(network: Network) -> list[Issue]:
    """Every limit that the integer network breaks."""
    return []


SPECK2F = Chip("speck2f", "SynSense Speck2f", NUMBERS, violations)
