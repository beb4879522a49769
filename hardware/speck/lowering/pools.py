# SPDX-License-Identifier: Apache-2.0
"""Folds the pools that no core does or sinabs cannot follow into weights, and makes neurons of max pools.

A core pools what it sends, so the input has no pool (`rules.operations`). sinabs 3.1 also cannot follow a layer that
one reader takes pooled and another as it is, a pool that two others read, or one of a sum; the same function with the
pool in the weights it can. Everything else keeps its pools, which cost nothing on the chip.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from spikefold.export.network import INPUT, Layer, Network
from spikefold.export.ops import SumPool2d
from spikefold.export.passes.maxpool_to_or import maxpool_to_or
from spikefold.export.passes.network_pass import network_pass
from spikefold.export.passes.pool_into_weights import STEP, pool_into_weights


@network_pass(STEP)
def pools_that_cores_have(network: Network) -> Sequence[Layer]:
    """The same function, only with pools that a core does and sinabs follows; exact, see `pool_into_weights`."""
    while names := set(_strange(network)):
        folded = pool_into_weights(network, only=names)
        if folded is network:  # a pool that cannot be folded stays, and the rules name it
            break
        network = folded
    return network.layers


def or_neurons(network: Network) -> Network:
    """The same function without max pools, where every neuron is one that a core has.

    Each takes a core of its own. With leaky neurons the network must be trained for the chip anyway, and sums of
    spikes cost no core: then the pools stay, and `rules.operations` names them.

    Raises:
        UnsupportedError: max pools of something else than zeros and ones.
    """
    if any(layer.neuron.leak is not None or layer.neuron.current is not None for layer in network.neurons):
        return network
    return maxpool_to_or(network, groups=False)


def _strange(network: Network) -> Iterator[str]:
    """Pools of the input, of sums, of what others read unpooled, and those that a pool and something else read."""
    for layer in network:
        if isinstance(layer.op, SumPool2d):
            beside = {isinstance(reader.op, SumPool2d) for reader in network.consumers(layer.inputs[0])}
            behind = {isinstance(reader.op, SumPool2d) for reader in network.consumers(layer.name)}
            if len(layer.inputs) > 1 or len(beside) > 1 or len(behind) > 1 or _of_the_input(network, layer):
                yield layer.name


def _of_the_input(network: Network, layer: Layer) -> bool:
    while isinstance(layer.op, SumPool2d):
        if INPUT in layer.inputs:
            return True
        layer = network[layer.inputs[0]]
    return False
