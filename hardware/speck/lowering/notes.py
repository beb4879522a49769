# SPDX-License-Identifier: Apache-2.0
"""Says why the sinabs path refuses a network for Speck, and what the chip will do differently."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from spikefold.errors import Issue
from spikefold.export.network import INPUT, Layer, Network
from spikefold.export.ops import Concat, Conv2d, Dense, SumPool2d
from spikefold.hardware.speck.cores import layout
from spikefold.hardware.speck.rules import neuron_kind, operations, plain_convolution, pooling, square_kernel


def forward_limits(network: Network) -> list[Issue]:
    """The chip's rules without which sinabs' forward is wrong; those of memories, maps and cores are not among them.

    sinabs 3.1.3 takes groups and dilation without a word, and has no leak and one threshold a layer.
    """
    rules = (square_kernel, plain_convolution, pooling, neuron_kind)
    return operations(network) + [
        issue for core in layout(network).cores for rule in rules for issue in rule(core, False)
    ]


def wiring(network: Network) -> list[Issue]:
    """Every branch and merge that sinabs 3.1.3 cannot follow: a chain passes, and so do residual sums of two.

    Of other wirings it makes an ``IndexError`` (one reader pooled, the other not), an ``AssertionError`` (a pool
    behind a sum), or another network.
    """
    return [*_entries(network), *(issue for layer in network for issue in _reads(network, layer)), *_pooled(network)]


def _entries(network: Network) -> Iterator[Issue]:
    for layer in network.consumers(INPUT):
        if len(layer.inputs) > 1:
            rule = "Whoever reads the input reads nothing beside it"
            yield _wiring(rule, layer.name, f"reads {list(layer.inputs)}", "the input alone")


def _reads(network: Network, layer: Layer) -> Iterator[Issue]:
    got, most = f"reads {list(layer.inputs)}", 2 if isinstance(layer.op, Conv2d | Dense) else 1
    if isinstance(layer.op, Concat):
        yield _wiring("sinabs cannot shift features, so no layers lie side by side", layer.name, got, "one")
    elif len(layer.inputs) > most or len(set(layer.inputs)) < len(layer.inputs):
        rule = "A layer reads one other, a conv or dense layer the sum of two at most"
        yield _wiring(rule, layer.name, got, "two for weights, one for others")
    if layer is not network.layers[-1] and not network.consumers(layer.name):
        yield _wiring("Every layer but the last is read", layer.name, "nothing reads it", "one reader")


def _pooled(network: Network) -> Iterator[Issue]:
    for layer in network:
        readers = network.consumers(layer.name) if isinstance(layer.op, SumPool2d) else ()
        if len(readers) > 1 and any(isinstance(reader.op, SumPool2d) for reader in readers):
            rule, got = "A pool that another pool reads has no second reader", [reader.name for reader in readers]
            yield _wiring(rule, layer.name, f"read by {got}", "one")
    for core in layout(network).cores:
        if len({to.pool == (1, 1) for to in core.destinations}) > 1:
            rule = "All that read a layer's spikes read them pooled, or none does"
            pools = ", ".join(f"{to.layer} {to.pool[0]}x{to.pool[1]}" for to in core.destinations)
            yield _wiring(rule, core.neuron_name, pools, "all or none")


def _wiring(rule: str, where: str, got: str, limit: str) -> Issue:
    return Issue(rule, where, got, limit, "sinabs 3.1 cannot follow it; wire it as a chain or with residual sums")


def notes(network: Network) -> Iterator[str]:
    """Where the chip does otherwise than the clocked simulation of this network (facts: datasheet 3.2.4.4 to 7)."""
    for core in layout(network).cores:
        if core.bias is not None and np.any(core.bias):
            yield (
                f"{core.name}: the chip adds biases on each tick of its slow clock, not in each step; one tick every "
                f"{network.input.dt_us} us comes nearest"
            )
        ratio = float(core.weight.max() / core.neuron.threshold)
        if ratio > 1:
            yield f"{core.name}: a weight is {ratio:.2f} thresholds, yet the chip fires at most once for an event"
    capped = [layer.name for layer in network.neurons if layer.neuron.max_spikes is not None]
    if capped:
        yield f"{', '.join(capped)}: the chip does not know time steps, and cannot cap spikes a step"
