# SPDX-License-Identifier: Apache-2.0
"""Splits wide layers by output channels over two cores, where the network has a place on Speck only so.

Equation: that of `split_channels`, which is exact. Which layers, and into which parts, is `split_plan.plan`'s answer:
the fewest cores, then the most equal parts.
"""

from __future__ import annotations

from collections.abc import Sequence

from spikefold.export.network import Network
from spikefold.export.passes.split_channels import split_channels
from spikefold.hardware.speck.cores import CORES, Memory, layout
from spikefold.hardware.speck.rules import operations, plain_convolution
from spikefold.hardware.speck.split_plan import demands, plan


def splits(network: Network, cores: Sequence[Memory] = CORES) -> dict[str, tuple[int, ...]]:
    """Output channels of the parts, by weight layer that must be split; empty where none must, or nothing helps."""
    if operations(network) or any(plain_convolution(core, False) for core in layout(network).cores):
        return {}
    wanted = demands(network)
    found = plan(wanted, cores) or ()
    return {one.name: parts for one, parts in zip(wanted, found, strict=False) if len(parts) > 1}


def split_to_fit(network: Network, cores: Sequence[Memory] = CORES) -> Network:
    """The same function in a form that has a place on the cores.

    Args:
        network: real or integer. An integer one keeps every spike; of a real one, each part has a scale of its own
            when it is quantised.
        cores: memory of each core.

    Returns:
        The network itself where it has a place as it is, and where no split gives it one.
    """
    for layer, parts in splits(network, cores).items():
        network = split_channels(network, layer, parts)
    return network
