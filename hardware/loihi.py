# SPDX-License-Identifier: Apache-2.0
"""Loihi 2 (Intel) through lava-dl's netx: 8-bit weights, 24-bit states in units of 1/128 weight, 12-bit leak.

netx writes ``2 * q`` for an int8 weight q, and the state counts 1/64 of a written weight: 1/128 of q. Thresholds
(17 bit) and biases (13 bit) are written doubled as well, so both have one bit less here.
"""

from __future__ import annotations

from spikefold.export.neuron import Fire, Overflow, Reset
from spikefold.export.numbers import NumberFormat
from spikefold.hardware.chip import Chip, rules_of
from spikefold.hardware.loihi_rules import (
    LEAK_SHIFT,
    RULES,
    STATE_BITS,
    STATE_SHIFT,
    SUM_MAX,
    THRESHOLD_MAX,
    violations,
)

NUMBERS = NumberFormat(
    weight_bits=8,
    bias_bits=12,
    threshold_max=THRESHOLD_MAX,
    state_bits=STATE_BITS,
    overflow=Overflow.SATURATE,
    resets=frozenset({Reset.ZERO}),
    state_shift=STATE_SHIFT,
    leak_shift=LEAK_SHIFT,
    fire_leaky=Fire.GT,
    sum_max=SUM_MAX,
)

# a .net file has one threshold a layer, so a factor per neuron has no place; one per channel goes into the weights
LOIHI2 = Chip("loihi2", "Intel Loihi 2", NUMBERS, violations, gate_forms=("channel", "mask"), rules=rules_of(*RULES))
