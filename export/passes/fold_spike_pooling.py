# SPDX-License-Identifier: Apache-2.0
"""Makes average pools behind spikes sum pools, and moves ``1 / k^2`` into the weights that read them.

Equation: ``W (1/k^2 sum_window x) + b  =  (W / k^2) (sum_window x) + b``: a chip sums spikes, it does not average.
Through further pools the areas multiply; a max pool and a gate pass them on, for both are linear in a factor above 0.

Precondition: what reads the mean, through pools, gates and `Concat`, are weight layers, and all inputs that a layer
adds up have the same area. A mean that follows a weight layer is left to `fold_pooling`. Exact in real numbers; in
float64 each weight is rounded once more, not at all where the area is a power of two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from spikefold.errors import Issue, UnsupportedError
from spikefold.export.network import INPUT, Layer, Network, Op
from spikefold.export.neuron import Neuron
from spikefold.export.ops import AvgPool2d, BatchNorm, Concat, Conv2d, Dense, SumPool2d
from spikefold.export.passes.network_pass import network_pass
from spikefold.export.passes.rewrite import by_input

STEP = "fold_spike_pooling"


@network_pass(STEP)
def fold_spike_pooling(network: Network) -> Sequence[Layer]:
    """The same function without any `AvgPool2d` but those that follow a weight layer.

    Raises:
        UnsupportedError: with every layer that reads a mean of spikes and cannot take its factor.
    """
    # by how much each channel of a layer is now too large; None for the analog values behind weights
    areas: dict[str, np.ndarray | None] = {INPUT: np.ones(network.input.shape[0], np.int64)}
    layers, issues = [], []
    for layer in network:
        try:
            area = _gathered(layer, [areas[name] for name in layer.inputs])
            op, areas[layer.name] = _step(network, layer, area)
        except _Refused as refused:
            issues.append(refused.issue)
            op, areas[layer.name] = layer.op, np.ones(network.shapes[layer.name][0], np.int64)
        layers.append(replace(layer, op=op))
    if issues:
        raise UnsupportedError(f"{STEP} cannot fold every AvgPool2d", issues=issues)
    return layers


class _Refused(Exception):  # noqa: N818 - carries an issue to the loop above, which collects them
    def __init__(self, layer: Layer, got: str, limit: str, hint: str) -> None:
        self.issue = Issue(STEP, layer.name, got, limit, hint)
        super().__init__(got)


def _gathered(layer: Layer, areas: list[np.ndarray | None]) -> np.ndarray | None:
    known = [area for area in areas if area is not None]
    if len(known) < len(areas):
        if any((area != 1).any() for area in known):
            raise _Refused(
                layer,
                f"{list(layer.inputs)}: means of spikes beside the output of weights",
                "one kind",
                "put a weight layer behind the pool",
            )
        return None
    if isinstance(layer.op, Concat):
        return np.concatenate(known)
    if any((area != known[0]).any() for area in known):
        raise _Refused(
            layer,
            f"the sum of {list(layer.inputs)}, pooled over different areas",
            "one area",
            "pool each of them alike",
        )
    return known[0]


def _step(network: Network, layer: Layer, area: np.ndarray | None) -> tuple[Op, np.ndarray | None]:
    """The layer's new operation, and the area of its output."""
    op = layer.op
    if isinstance(op, Conv2d | Dense):
        if area is None or (area == 1).all():
            return op, None
        return replace(op, weight=op.weight / by_input(op, area, network.input_shape(layer))), None
    if area is None:
        return op, np.ones(network.shapes[layer.name][0], np.int64) if isinstance(op, Neuron) else None
    if isinstance(op, AvgPool2d):
        return SumPool2d(op.kernel), area * (op.kernel[0] * op.kernel[1])
    if isinstance(op, Neuron | BatchNorm) and (area != 1).any():
        what = "a spiking layer" if isinstance(op, Neuron) else "a batch norm"
        raise _Refused(
            layer,
            f"{what} that reads a mean of spikes",
            "a weight layer",
            "put a convolution between, or fold batch norm first",
        )
    return op, area
