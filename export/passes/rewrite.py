# SPDX-License-Identifier: Apache-2.0
"""Merges an operation into the weight layer before it or refuses it, and scales weight layers, for the passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from spikefold.errors import Issue, UnsupportedError
from spikefold.export.network import INPUT, Layer, Network
from spikefold.export.ops import AvgPool2d, BatchNorm, Conv2d, Dense, Gate, Shape

Folded = TypeVar("Folded", BatchNorm, Gate, AvgPool2d)


def merge_into_previous(
    network: Network, kind: type[Folded], merge: Callable[[Layer, Folded], Conv2d | Dense], name: str
) -> Sequence[Layer]:
    """The layers, each weight layer and the ``kind`` that follows it one weight layer; neurons keep their names.

    Raises:
        UnsupportedError: with every ``kind`` that does not follow a weight layer of its own.
    """
    done: dict[str, Layer] = {}
    renamed: dict[str, str] = {}
    issues = []
    for layer in network:
        inputs = tuple(renamed.get(source, source) for source in layer.inputs)
        if not isinstance(layer.op, kind):
            done[layer.name] = replace(layer, inputs=inputs)
            continue
        before = done.get(inputs[0])
        alone = len(inputs) == 1 and len(network.consumers(layer.inputs[0])) == 1
        if before is None or not isinstance(before.op, Conv2d | Dense) or not alone:
            hint = "fold the layers between first, or train without it"
            issues.append(
                Issue(name, layer.name, f"follows {inputs}", "a weight layer that nothing else reads", hint)
            )
            continue
        op = merge(before, layer.op)
        done[before.name] = replace(before, op=op, source=f"{before.source} + {layer.source}")
        renamed[layer.name] = before.name
    if issues:
        raise UnsupportedError(f"{name} cannot fold every {kind.__name__}", issues=issues)
    return list(done.values())


def scaled(layer: Layer, factor: np.ndarray) -> Conv2d | Dense:
    """The weight layer with output channel c multiplied by ``factor[c]``, weights and bias."""
    op = layer.op
    if not isinstance(op, Conv2d | Dense):
        raise UnsupportedError("only weight layers can be scaled", where=layer.name)
    weight = op.weight * factor.reshape(-1, *[1] * (op.weight.ndim - 1))
    return replace(op, weight=weight, bias=None if op.bias is None else op.bias * factor)


def by_input(op: Conv2d | Dense, values: np.ndarray, shape: Shape) -> np.ndarray:
    """One value for each input channel, laid out to multiply the weights of a layer that reads ``shape``."""
    if isinstance(op, Dense):
        return np.repeat(values, shape[1] * shape[2])[None, :]
    by_group = values.reshape(op.groups, -1)
    return np.repeat(by_group, op.weight.shape[0] // op.groups, axis=0)[:, :, None, None]


def weights_before(network: Network, neurons: Layer) -> list[Layer] | None:
    """The weight layers that feed these neurons and nothing else; None where anything else lies between."""
    found = [network[name] for name in neurons.inputs if name != INPUT]
    alone = all(isinstance(la.op, Conv2d | Dense) and len(network.consumers(la.name)) == 1 for la in found)
    return found if alone and len(found) == len(neurons.inputs) else None
