# SPDX-License-Identifier: Apache-2.0
"""Removes channels that never fire, with their weights and those of everything that reads them.

Equation: a channel without spikes adds ``W[:, c] * 0`` to its readers. So output channel c leaves the weight layer
(weights, bias, the channel's thresholds) and input channel c leaves each reader, through pools and `Concat`; a dense
reader over ``(C, H, W)`` loses the columns ``c H W ... (c + 1) H W - 1``.

Precondition: neurons fed by weight layers that nothing else reads, directly; readers are weight layers, pools and
`Concat`, and what a layer adds up lost the same channels. Grouped convolutions that lose a channel are written out
first (`expand_kernels`). At least one channel stays in each layer, and all of the output.

Bound: every other spike is the same on every clip on which the removed channels are silent (float64 sums may round
in another order). Where they are proven silent (`silence.proven_silent`), that is every clip; where they were only
seen to be (`simulators.trace.alive_in`), another clip may need them: then it is another function.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from spikefold.errors import Issue, UnsupportedError, nearest
from spikefold.export.network import INPUT, Layer, Network
from spikefold.export.neuron import Neuron
from spikefold.export.ops import AvgPool2d, Concat, Conv2d, Dense, MaxPool2d, SumPool2d
from spikefold.export.passes.expand_kernels import full_kernel
from spikefold.export.passes.network_pass import network_pass
from spikefold.export.passes.rewrite import weights_before

STEP = "remove_silent_channels"


@network_pass(STEP)
def remove_silent_channels(network: Network, alive: Mapping[str, np.ndarray]) -> Sequence[Layer]:
    """The network without the channels that ``alive`` does not keep.

    Args:
        network: real or integer, folded.
        alive: by spiking layer ``(C,)``, true for the channels that stay; layers it does not name keep all.

    Raises:
        UnsupportedError: with everything that cannot be removed.
    """
    smaller = {name: np.asarray(kept, bool) for name, kept in alive.items() if not np.asarray(kept, bool).all()}
    issues = [issue for name in smaller for issue in _problems(network, name, smaller[name])]
    keep: dict[str, np.ndarray] = {INPUT: np.ones(network.input.shape[0], bool)}
    known = [layer for layer in network.neurons if layer.name in smaller]
    outputs = {source: smaller[layer.name] for layer in known for source in layer.inputs}
    layers = []
    for layer in network if not issues else ():
        reads = [keep[name] for name in layer.inputs]
        if isinstance(layer.op, Concat):
            reads = [np.concatenate(reads)]
        everything = np.ones(network.shapes[layer.name][0], bool)
        op = layer.op
        if any(len(kept) != len(reads[0]) or (kept != reads[0]).any() for kept in reads):
            got = f"the sum of {list(layer.inputs)}, which lose different channels"
            issues.append(Issue(STEP, layer.name, got, "the same channels", "keep all channels of these layers"))
            keep[layer.name] = everything
            continue
        if isinstance(op, Conv2d | Dense):
            keep[layer.name] = outputs.get(layer.name, everything)
            op = _weights(op, reads[0], keep[layer.name], network.input_shape(layer)[1:])
        elif isinstance(op, Neuron):
            keep[layer.name] = reads[0]
            op = _thresholds(op, reads[0])
        elif isinstance(op, AvgPool2d | SumPool2d | MaxPool2d | Concat) or reads[0].all():
            keep[layer.name] = reads[0]
        else:
            got = f"{type(op).__name__} over channels that go"
            issues.append(Issue(STEP, layer.name, got, "weights, neurons, pools", "fold it first"))
            keep[layer.name] = everything
        layers.append(replace(layer, op=op))
    if issues:
        raise UnsupportedError(f"{STEP} cannot remove these channels", issues=issues)
    return layers


def _weights(op: Conv2d | Dense, inputs: np.ndarray, outputs: np.ndarray, sides: tuple[int, int]) -> Conv2d | Dense:
    if inputs.all() and outputs.all():
        return op
    bias = None if op.bias is None else op.bias[outputs]
    if isinstance(op, Dense):
        return Dense(op.weight[outputs][:, np.repeat(inputs, sides[0] * sides[1])], bias)
    return replace(op, weight=full_kernel(op)[outputs][:, inputs], bias=bias, groups=1)


def _thresholds(neuron: Neuron, kept: np.ndarray) -> Neuron:
    whole = kept.all() or not neuron.threshold.ndim
    return neuron if whole else replace(neuron, threshold=neuron.threshold[kept])


def _problems(network: Network, name: str, kept: np.ndarray) -> list[Issue]:
    names = [layer.name for layer in network.neurons]
    if name not in names:
        return [Issue(STEP, name, "no spiking layer of that name", "a spiking layer", nearest(name, names))]
    channels = network.shapes[name][0]
    rules = [
        (kept.shape == (channels,), f"{kept.shape} flags", f"({channels},)", "one for each channel"),
        (bool(kept.any()), "no channel that stays", "1", "a layer that never fires cuts the network: train it again"),
        (name != network.layers[-1].name, "channels of the output", "none", "each output neuron stands for a class"),
        (
            _fed_by_weights(network, network[name]),
            f"reads {list(network[name].inputs)}",
            "weight layers of its own",
            "fold what lies between",
        ),
    ]
    return [Issue(STEP, name, got, limit, hint) for holds, got, limit, hint in rules if not holds]


def _fed_by_weights(network: Network, layer: Layer) -> bool:
    return weights_before(network, layer) is not None
