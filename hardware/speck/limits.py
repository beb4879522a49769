# SPDX-License-Identifier: Apache-2.0
"""Holds the integers of a Speck core, and asks a network every limit of the chip."""

from __future__ import annotations

from spikefold.errors import Issue
from spikefold.export.network import Network
from spikefold.export.neuron import Overflow
from spikefold.export.numbers import NumberFormat
from spikefold.hardware.speck.cores import layout
from spikefold.hardware.speck.neuron_support import RESETS
from spikefold.hardware.speck.rules import CORE_RULES, NETWORK_RULES

NUMBERS = NumberFormat(
    weight_bits=8,
    # sinabs scales biases into 8 bits, though the chip holds 16
    bias_bits=8,
    threshold_max=2**15 - 1,
    state_bits=16,
    overflow=Overflow.FORBID,
    resets=RESETS,
    # threshold_low must not be 0 (datasheet 3.2.4.6.3). Half of the range: far below any useful state, and with
    # a factor of two to spare so that it never decides sinabs' common scale.
    v_min=-(2**14),
    max_spikes=None,
)


def violations(network: Network) -> list[Issue]:
    """Every limit that the network breaks as `split.split_to_fit` would place it, by its own layers' names."""
    cores = layout(network).cores
    return [issue for check in NETWORK_RULES for issue in check(network)] + [
        issue for core in cores for check in CORE_RULES for issue in check(core, network.is_integer)
    ]
