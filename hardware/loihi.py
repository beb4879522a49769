# SPDX-License-Identifier: Apache-2.0
"""Loihi 2 (Intel) through lava-dl's netx: 8-bit weights, 24-bit states in units of 1/128 weight, 12-bit leak.

netx writes ``2 * q`` for an int8 weight q, and the state counts 1/64 of a written weight: 1/128 of q. Thresholds
(17 bit) and biases (13 bit) are written doubled as well, so both have one bit less here.
"""

from __future__ import annotations

from spikefold.errors import Issue
from spikefold.export.network import Network
from spikefold.export.neuron import Fire, Overflow, Reset
from spikefold.export.numbers import NumberFormat
from spikefold.hardware.chip import Chip

NUMBERS = NumberFormat(
    weight_bits=8,
    bias_bits=12,
    threshold_max=2**16 - 1,
    state_bits=24,
    overflow=Overflow.SATURATE,
    resets=frozenset({Reset.ZERO}),
    state_shift=7,
    leak_shift=12,
    fire_leaky=Fire.GT,
    # the synaptic current wraps at +-2^23 in units of 1/128 weight
    sum_max=2**16 - 1,
)


def violations(network: Network) -> list[Issue]:
    """Every limit that the integer network breaks."""
    return []


LOIHI2 = Chip("loihi2", "Intel Loihi 2", NUMBERS, violations)
