# SPDX-License-Identifier: Apache-2.0
"""Speck2f, Speck2e and the DYNAP-CNN devkit (SynSense): nine convolution cores, integrate-and-fire neurons.

Weights of 8 bits, states of 16. Its limits are in `speck_rules`, its cores in `speck_cores`.
"""

from __future__ import annotations

from dataclasses import replace

from spikefold.errors import Issue
from spikefold.export.network import Network
from spikefold.export.neuron import Overflow
from spikefold.export.numbers import NumberFormat
from spikefold.hardware.chip import Chip, Table, rules_of
from spikefold.hardware.speck.cores import CORES, core_layers
from spikefold.hardware.speck.resources import resources
from spikefold.hardware.speck.rules import (
    CORE_RULES,
    NETWORK_RULES,
    RESETS,
    core_count,
    destinations,
    features,
    input_destinations,
    input_map,
    integer_ranges,
    neuron_kind,
    neuron_map,
    operations,
    padding,
    placement,
    plain_convolution,
    pooling,
    square_kernel,
    stride,
)
from spikefold.hardware.speck.split import split_to_fit

__all__ = [
    "CORE_RULES", "DYNAPCNN", "MEMORY", "NETWORK_RULES", "NUMBERS", "SPECK2E", "SPECK2F", "core_count",
    "destinations", "features", "input_destinations", "input_map", "integer_ranges", "neuron_kind", "neuron_map",
    "operations", "padding", "placement", "plain_convolution", "pooling", "square_kernel", "stride", "violations",
]  # fmt: skip

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
    multi_spike=True,
)


def violations(network: Network) -> list[Issue]:
    """Every limit that the network breaks as `speck_split.split_to_fit` would place it, by its own layers' names."""
    cores = core_layers(network)
    return [issue for check in NETWORK_RULES for issue in check(network)] + [
        issue for core in cores for check in CORE_RULES for issue in check(core, network.is_integer)
    ]


MEMORY = Table(
    "memory of the cores, in words",
    ("core", "kernel (8 bit)", "neuron (16 bit)", "bias (16 bit)"),
    tuple((str(number), str(core.kernel), str(core.neuron), str(core.bias)) for number, core in enumerate(CORES)),
)

# a core has one threshold, so a factor per neuron has no place; one per channel goes into the weights
SPECK2F = Chip(
    "speck2f",
    "SynSense Speck2f",
    NUMBERS,
    violations,
    gate_forms=("channel", "mask"),
    rules=rules_of(*NETWORK_RULES, *CORE_RULES),
    memory=MEMORY,
    resources=resources,
    laid_out=split_to_fit,
    event_driven=True,
)
# the same cores and limits (datasheet 3.2.4.1; one table in sinabs); sinabs fills in another class of samna's
SPECK2E = replace(SPECK2F, name="speck2e", title="SynSense Speck2e")
# the chip before Speck, with the same table in sinabs 2.0.3; no release of sinabs since 3.0 writes its files
DYNAPCNN = replace(SPECK2F, name="dynapcnndevkit", title="SynSense DYNAP-CNN devkit")
