# SPDX-License-Identifier: Apache-2.0
"""Rescale spiking layers: weights, bias, threshold, lower bound and reset value by one factor a layer.

Equation: with ``W' = f W, b' = f b, theta' = f theta, v_min' = f v_min, reset' = f reset`` every state is f times
what it was, and ``f v >= f theta`` where ``v >= theta``: leak, fire and each reset are homogeneous for f > 0.

Precondition: a real network; the neurons are fed by weight layers that nothing else reads, directly; their state has
no width of its own, for it would not grow with the factor. Bound: none for a power of two (in float64 only exponents
change, short of underflow); for others each number is rounded once, by at most ``2^-53`` of itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from spikefold.errors import Issue, UnsupportedError, nearest
from spikefold.export.network import Network
from spikefold.export.neuron import Neuron
from spikefold.export.passes.rewrite import scaled, weights_before

STEP = "rescale"


def rescale(network: Network, factors: Mapping[str, float]) -> Network:
    """The same spikes from other numbers.

    Args:
        network: real.
        factors: by the name of the spiking layer, each above 0.

    Raises:
        UnsupportedError: with every layer that cannot be rescaled.
    """
    issues = [issue for name in factors for issue in _problems(network, name, factors[name])]
    if issues:
        raise UnsupportedError(f"{STEP} cannot rescale every layer", issues=issues)
    by_weights = {source: factor for name, factor in factors.items() for source in network[name].inputs}
    layers = []
    for layer in network:
        op = layer.op
        if layer.name in by_weights:
            layer = replace(layer, op=scaled(layer, np.full(network.shapes[layer.name][0], by_weights[layer.name])))
        elif isinstance(op, Neuron) and layer.name in factors:
            layer = replace(layer, op=_neuron(op, factors[layer.name]))
        layers.append(layer)
    return network.rewritten(layers, STEP) if factors else network


def _neuron(neuron: Neuron, factor: float) -> Neuron:
    v_min = None if neuron.v_min is None else neuron.v_min * factor
    return replace(neuron, threshold=neuron.threshold * factor, v_min=v_min, reset_value=neuron.reset_value * factor)


def _problems(network: Network, name: str, factor: float) -> Iterator[Issue]:
    names = [layer.name for layer in network.neurons]
    if name not in names:
        yield Issue(STEP, name, "no spiking layer of that name", "a spiking layer", nearest(name, names))
        return
    neuron = network[name].op
    if not np.isfinite(factor) or factor <= 0:
        yield Issue(STEP, name, f"factor {factor}", "a number above 0", "a factor of 0 would leave no weights")
    if network.is_integer:
        yield Issue(STEP, name, "whole numbers", "a real network", "rescale before quantising")
    if weights_before(network, network[name]) is None:
        hint = "fold batch norm, pools and gates first"
        yield Issue(STEP, name, f"reads {list(network[name].inputs)}", "weight layers of its own", hint)
    if isinstance(neuron, Neuron) and neuron.state_bits is not None:
        yield Issue(STEP, name, f"a state of {neuron.state_bits} bits", "no width", "rescale before quantising")
