# SPDX-License-Identifier: Apache-2.0
"""One threshold a layer, where each channel had its own: the channels are rescaled to a common threshold.

Equation: channel c of a layer gets ``W'_c = f_c W_c, b'_c = f_c b_c`` with ``f_c = theta / theta_c``; its states are
``f_c`` times what they were, and cross theta when they crossed theta_c. ``theta`` is the middle one of the layer's
thresholds, so that channels which had it keep every bit.

Precondition: a real network; thresholds ``(C, 1, 1)``, or ``(C, H, W)`` equal within each channel; weight layers
that nothing else reads, directly before; reset to zero or by subtraction. A lower bound and a reset value are one
number a layer, which the scaled channels could not share: refused. Exact in real numbers; in float64 a weight is
rounded twice, not at all where ``f_c`` is a power of two.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from spikefold.errors import Issue, UnsupportedError
from spikefold.export.network import Layer, Network
from spikefold.export.neuron import Neuron, Reset
from spikefold.export.passes.rewrite import scaled, weights_before

STEP = "uniform_thresholds"


def uniform_thresholds(network: Network) -> Network:
    """The same spikes with a scalar threshold in every layer.

    Raises:
        UnsupportedError: with every layer whose thresholds cannot be made one.
    """
    issues = [issue for layer in network.neurons for issue in _problems(network, layer)]
    if issues:
        raise UnsupportedError(f"{STEP} cannot give every layer one threshold", issues=issues)
    factors: dict[str, np.ndarray] = {}
    thresholds: dict[str, np.ndarray] = {}
    for layer in network.neurons:
        if isinstance(layer.op, Neuron) and layer.op.threshold.ndim:
            own = _by_channel(network, layer, layer.op)
            middle = np.sort(own)[len(own) // 2]
            thresholds[layer.name] = np.array(middle)
            factors |= dict.fromkeys(layer.inputs, middle / own)
    layers = []
    for layer in network:
        if layer.name in factors:
            layer = replace(layer, op=scaled(layer, factors[layer.name]))
        elif isinstance(layer.op, Neuron) and layer.name in thresholds:
            layer = replace(layer, op=replace(layer.op, threshold=thresholds[layer.name]))
        layers.append(layer)
    return network.rewritten(layers, STEP) if thresholds else network


def _by_channel(network: Network, layer: Layer, neuron: Neuron) -> np.ndarray:
    return np.array(np.broadcast_to(neuron.threshold, network.shapes[layer.name])[:, 0, 0])


def _problems(network: Network, layer: Layer) -> Iterator[Issue]:
    neuron = layer.op
    if not isinstance(neuron, Neuron) or neuron.threshold.ndim == 0:
        return
    rules = [
        (
            (neuron.threshold == neuron.threshold[:, :1, :1]).all(),
            f"thresholds {neuron.threshold.shape} that differ within a channel",
            "one a channel",
            "a convolution shares its weights over a channel",
        ),
        (neuron.v_min is None, f"lower bound {neuron.v_min}", "none", "train without a lower bound"),
        (neuron.reset is not Reset.VALUE, f"reset to {neuron.reset_value}", "zero or subtract", "train without it"),
        (neuron.state_bits is None, f"a state of {neuron.state_bits} bits", "no width", "do it before quantising"),
        (not network.is_integer, "whole numbers", "a real network", "do it before quantising"),
        (
            weights_before(network, layer) is not None,
            f"reads {list(layer.inputs)}",
            "weight layers of its own",
            "fold batch norm, pools and gates first",
        ),
    ]
    yield from (Issue(STEP, layer.name, got, limit, hint) for holds, got, limit, hint in rules if not holds)
