# SPDX-License-Identifier: Apache-2.0
"""How a pass rewrites a network: merge an operation into the weight layer before it, or refuse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import numpy as np

from spikefold.errors import Issue, UnsupportedError
from spikefold.export.network import Layer, Network
from spikefold.export.ops import AvgPool2d, BatchNorm, Conv2d, Dense, Gate

Folded = TypeVar("Folded", BatchNorm, Gate, AvgPool2d)


def merge_into_previous(
    network: Network, kind: type[Folded], merge: Callable[[Layer, Folded], Conv2d | Dense], name: str
) -> Network:
    """Replace each weight layer and the ``kind`` that follows it by one weight layer; neurons keep their names.

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
    return network.rewritten(list(done.values()), name) if renamed else network


def scaled(layer: Layer, factor: np.ndarray) -> Conv2d | Dense:
    """The weight layer with output channel c multiplied by ``factor[c]``, weights and bias."""
    op = layer.op
    if not isinstance(op, Conv2d | Dense):
        raise UnsupportedError("only weight layers can be scaled", where=layer.name)
    weight = op.weight * factor.reshape(-1, *[1] * (op.weight.ndim - 1))
    return replace(op, weight=weight, bias=None if op.bias is None else op.bias * factor)
