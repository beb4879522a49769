# SPDX-License-Identifier: Apache-2.0
"""Clips the few largest weights and biases of a layer, so that all the others are rounded more finely.

`passes.quantise` gives a layer the largest factor with which its largest value still fits. One outlier then costs
every other weight its precision. For a limit ``c >= 1`` this pass clips weights and bias to what fits with ``c``
times that factor; quantisation afterwards finds ``c`` times the factor by itself, and so does a vendor's own.

The limit is searched for each layer over calibration inputs: of the candidates ``c`` the one with the least mean
squared error of the layer's input current, relative to its threshold,

    E[((W_c x + b_c) - (W x + b))^2] / theta^2,   W_c = round(clip(W)) / scale

on the inputs that the layer had in the real network. ``c = 1`` is among them, so the error never grows.

Precondition: that of `passes.quantise`. Not exact: clipping changes the function where it clips; the report has the
error with and without.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from spikefold.export.network import Block, Layer, Network, WeightLayer
from spikefold.export.neuron import Neuron
from spikefold.export.numbers import NumberFormat
from spikefold.export.ops import Conv2d, Dense
from spikefold.export.passes.network_pass import reporting_pass
from spikefold.export.passes.quantisable import refuse_unsupported
from spikefold.export.passes.quantise import bias_width, most_events, scale_for

STEP = "clip_outliers"
CANDIDATES = (1.0, 1.1, 1.2, 1.35, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0)
Apply = Callable[[Conv2d | Dense, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Clipped:
    """One layer's search: relative mean squared error of its current with the largest value kept, and with the limit.

    Attributes:
        layer: its name.
        limit: the factor ``c`` chosen.
        clipped_share: share of weights that were clipped.
        error_max: error where nothing is clipped.
        error: error with the limit chosen.
    """

    layer: str
    limit: float
    clipped_share: float
    error_max: float
    error: float

    def to_json(self) -> dict[str, object]:
        """Plain values for a report."""
        return asdict(self)


@reporting_pass(STEP)
def clip_outliers(
    network: Network, chip: NumberFormat, inputs: Mapping[str, np.ndarray], apply: Apply
) -> tuple[Sequence[Layer], Callable[[Network], tuple[Clipped, ...]]]:
    """The network with the outliers of each layer clipped where that lowers the error.

    Args:
        network: real, folded.
        chip: the integers.
        inputs: a sample of each weight layer's inputs, ``(N, C, H, W)`` by layer name.
        apply: runs one weight layer on such a batch (the reference's).

    Raises:
        UnsupportedError: what `passes.quantise` refuses.
    """
    refuse_unsupported(network, chip)
    layers: list[Layer] = []
    report: list[Clipped] = []
    for layer in network:
        if isinstance(layer, WeightLayer):
            op, entry = _search(network, network.block(layer.name), chip, inputs[layer.name], apply)
            layer = replace(layer, op=op)
            report.append(entry)
        layers.append(layer)
    return layers, lambda clipped: tuple(report)


def _search(
    network: Network, block: Block, chip: NumberFormat, x: np.ndarray, apply: Apply
) -> tuple[Conv2d | Dense, Clipped]:
    layer, op, neuron = block.weights, block.op, block.neuron
    most, steps = most_events(network, layer), network.input.steps
    base, _ = scale_for(op, neuron, most, chip, steps)
    wanted, theta = apply(op, x), float(neuron.threshold)

    def error(clipped: Conv2d | Dense) -> float:
        scale, _ = scale_for(clipped, neuron, most, chip, steps)
        bias = None if clipped.bias is None else np.rint(clipped.bias * scale) / scale
        rounded = replace(clipped, weight=np.rint(clipped.weight * scale) / scale, bias=bias)
        # the threshold is rounded too: the same current against another threshold is another error
        shift = np.rint(theta * scale) / scale / theta
        return float(np.mean((apply(rounded, x) / shift - wanted) ** 2)) / theta**2

    errors = {limit: error(_clipped(op, neuron, base * limit, chip)) for limit in CANDIDATES}
    best = min(errors, key=lambda limit: errors[limit])
    chosen = op if best == 1 else _clipped(op, neuron, base * best, chip)
    share = float((chosen.weight != op.weight).mean())
    return chosen, Clipped(layer.name, best, share, errors[1.0], errors[best])


def _clipped(op: Conv2d | Dense, neuron: Neuron, scale: float, chip: NumberFormat) -> Conv2d | Dense:
    def within(values: np.ndarray, bits: int) -> np.ndarray:
        return np.clip(values, -(2 ** (bits - 1)) / scale, (2 ** (bits - 1) - 1) / scale)

    bias = op.bias
    if bias is not None and chip.bias_bits is not None:
        bias = within(bias, bias_width(neuron, chip.bias_bits, chip))
    return replace(op, weight=within(op.weight, chip.weight_bits), bias=bias)
