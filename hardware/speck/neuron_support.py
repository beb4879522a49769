# SPDX-License-Identifier: Apache-2.0
"""Says which neurons a core of Speck has; whatever writes, converts or simulates one declares its own from it."""

from __future__ import annotations

from spikefold.export.neuron import Fire, Overflow, Reset
from spikefold.export.neuron_support import CARRIED, Limited, NeuronSupport, Refused, among

RESETS = frozenset({Reset.ZERO, Reset.SUBTRACT})
_QUANTISE = "quantise it for Speck"
ONE_THRESHOLD = Limited(
    lambda neuron: neuron.threshold.ndim == 0,
    "one",
    "fold per-channel factors into the weights",
    got=lambda neuron: f"thresholds {neuron.threshold.shape}",
)
KNOWN_RESET = Limited(
    lambda neuron: neuron.reset in RESETS,
    "zero or subtract",
    "train with reset to zero",
    got=lambda neuron: f"reset {neuron.reset.value}",
)
NO_LEAK = Refused(
    "train integrate-and-fire neurons for this chip",
    got=lambda neuron: f"leak {neuron.leak.keep:g}" if neuron.leak else "none",
)
NO_CURRENT = Refused(
    "train integrate-and-fire neurons",
    got=lambda neuron: f"current decay {neuron.current.keep:g}" if neuron.current else "none",
)
FIRES_AT_EQUALITY = among("fire", [Fire.GE], _QUANTISE, rule="fires at")
WHOLE_UNIT = Refused(_QUANTISE, "1", "unit of the state", lambda neuron: f"2^-{neuron.state_shift}")
NO_OVERFLOW = Limited(
    lambda neuron: neuron.state_bits is None or neuron.overflow is Overflow.FORBID,
    Overflow.FORBID.value,
    _QUANTISE,
    "overflow of the state",
)
CORE = NeuronSupport(
    "a core of Speck",
    {
        "threshold": ONE_THRESHOLD,
        # a real threshold that is met only above it is raised when it is rounded
        "fire": Limited(
            lambda neuron: neuron.fire is Fire.GE or not neuron.is_integer, Fire.GE.value, _QUANTISE, "fires at"
        ),
        "reset": KNOWN_RESET,
        # other than 0 with a reset to a value alone
        "reset_value": CARRIED,
        "leak": NO_LEAK,
        "v_min": CARRIED,
        # the chip knows no steps, so that it cannot cap their spikes: `notes` says so
        "max_spikes": CARRIED,
        # without a leak it says nothing
        "order": CARRIED,
        "state_shift": WHOLE_UNIT,
        # what leaves a width is counted, and decided with the overflow
        "state_bits": CARRIED,
        "overflow": NO_OVERFLOW,
        "current": NO_CURRENT,
    },
)
"""What the rule `rules.neuron_kind` checks."""
