# SPDX-License-Identifier: Apache-2.0
"""Splits a weight layer and its neurons by output channels into parts that are layers of their own.

Equation: output channel c of a convolution or dense layer depends on its own weights ``W_c, b_c`` alone, and a neuron
on its own input, so ``layer(x) = concat(part_0(x), part_1(x), ...)``. The parts are ``conv1.0, sn1.0, conv1.1, ...``;
a `Concat` under the name of the neurons, ``sn1``, is what the readers see. Each part has neurons of its own, and may
have a scale of its own when it is quantised.

Precondition: the weight layer is read by one spiking layer that reads nothing else and is not the last. A grouped
convolution is written out first (`expand_kernels`), for a part may cut through a group. Exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from spikefold.errors import Issue, UnsupportedError, nearest
from spikefold.export.network import Layer, Network
from spikefold.export.neuron import Neuron
from spikefold.export.ops import Concat, Conv2d, Dense
from spikefold.export.passes.expand_kernels import full_kernel
from spikefold.export.passes.network_pass import network_pass

STEP = "split_channels"


@network_pass(STEP)
def split_channels(network: Network, layer: str, parts: int | Sequence[int]) -> Sequence[Layer]:
    """The same function with one layer in parts.

    Args:
        network: real or integer.
        layer: the name of a convolution or dense layer.
        parts: how many parts, as equal as can be, or the channels of each.

    Raises:
        UnsupportedError: the layer cannot be split, or not so.
    """
    issues = _problems(network, layer, parts)
    if issues:
        raise UnsupportedError(f"{STEP} cannot split {layer}", where=layer, issues=issues)
    weights, spiking = network[layer], network.consumers(layer)[0]
    op, neuron = weights.op, spiking.op
    if isinstance(op, Conv2d) and op.groups > 1:
        op = replace(op, weight=full_kernel(op), groups=1)
    layers: list[Layer] = []
    for other in network:
        if other.name != spiking.name:
            layers += [] if other.name == layer else [other]
            continue
        made = []
        for number, part in enumerate(_slices(network.shapes[layer][0], parts)):
            made.append(f"{spiking.name}.{number}")
            layers.append(replace(weights, name=f"{layer}.{number}", op=_part(op, part)))
            layers.append(Layer(made[-1], _neurons(neuron, part), (f"{layer}.{number}",), spiking.source))
        layers.append(Layer(spiking.name, Concat(), tuple(made), spiking.source))
    return layers


def _slices(channels: int, parts: int | Sequence[int]) -> list[slice]:
    sizes = [len(part) for part in np.array_split(range(channels), parts)] if isinstance(parts, int) else list(parts)
    ends = np.cumsum(sizes).tolist()
    return [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]


def _part(op: object, part: slice) -> Conv2d | Dense:
    if not isinstance(op, Conv2d | Dense):
        raise UnsupportedError("only weight layers have channels to split")
    return replace(op, weight=op.weight[part], bias=None if op.bias is None else op.bias[part])


def _neurons(neuron: object, part: slice) -> Neuron:
    if not isinstance(neuron, Neuron):
        raise UnsupportedError("only neurons have thresholds to split")
    return replace(neuron, threshold=neuron.threshold[part] if neuron.threshold.ndim else neuron.threshold)


def _problems(network: Network, name: str, parts: int | Sequence[int]) -> list[Issue]:
    weights = [layer.name for layer in network if isinstance(layer.op, Conv2d | Dense)]
    if name not in weights:
        return [Issue(STEP, name, "no weight layer of that name", "conv or dense", nearest(name, weights))]
    channels, after = network.shapes[name][0], network.consumers(name)
    issues = []
    sizes = [parts] if isinstance(parts, int) else list(parts)
    fits = 1 <= parts <= channels if isinstance(parts, int) else min(sizes, default=0) > 0 and sum(sizes) == channels
    if not fits:
        hint = f"{channels} output channels in parts of at least one"
        issues.append(Issue(STEP, name, f"parts {sizes}", f"{channels} channels", hint))
    alone = len(after) == 1 and isinstance(after[0].op, Neuron) and after[0].inputs == (name,)
    if not alone:
        hint = "fold batch norm, pools and gates first"
        got = f"{[la.name for la in after]} behind it"
        issues.append(Issue(STEP, name, got, "one spiking layer of its own", hint))
    elif after[0] is network.layers[-1]:
        hint = "the classes are read from one layer"
        issues.append(Issue(STEP, name, f"{after[0].name} is the output", "an inner layer", hint))
    return issues
