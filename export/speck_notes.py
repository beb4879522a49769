# SPDX-License-Identifier: Apache-2.0
"""What to say about a network on Speck: why the sinabs path refuses it, and what the chip will do differently."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from spikefold.errors import Issue
from spikefold.export.network import Layer, Network
from spikefold.export.neuron import Neuron
from spikefold.hardware.speck_cores import core_layers, cores_for


def not_a_chain(network: Network) -> list[Issue]:
    """Every layer that branches or merges."""

    def breaks(layer: Layer) -> bool:
        return len(layer.inputs) != 1 or len(network.consumers(layer.name)) > 1

    hint = "sinabs 3.1 takes some branches silently wrong; keep the network a chain"
    return [
        Issue(
            "A layer reads from one layer and feeds one", layer.name, f"reads {list(layer.inputs)}", "a chain", hint
        )
        for layer in network
        if breaks(layer)
    ]


def placement(network: Network, message: str) -> list[Issue]:
    """The table of a failed placement: each layer's memory, and the cores that could take it."""
    hint = message.splitlines()[0] if message else ""
    return [
        Issue(
            "Each layer has a core of its own", core.name, str(core.memory), f"cores {cores_for(core.memory)}", hint
        )
        for core in core_layers(network)
    ]


def notes(network: Network) -> Iterator[str]:
    """Where the chip does otherwise than the clocked simulation of this network (facts: datasheet 3.2.4.4 to 7)."""
    for core in core_layers(network):
        if core.bias is not None and np.any(core.bias):
            yield (
                f"{core.name}: the chip adds biases on each tick of its slow clock, not in each step; one tick every "
                f"{network.input.dt_us} us comes nearest"
            )
        ratio = float(core.weight.max() / core.neuron.threshold)
        if ratio > 1:
            yield f"{core.name}: a weight is {ratio:.2f} thresholds, yet the chip fires at most once for an event"
    capped = [
        layer.name for layer in network.neurons if isinstance(layer.op, Neuron) and layer.op.max_spikes is not None
    ]
    if capped:
        yield f"{', '.join(capped)}: the chip does not know time steps, and cannot cap spikes a step"
