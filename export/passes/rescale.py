# SPDX-License-Identifier: Apache-2.0
"""Rescales spiking layers: weights, bias, threshold, lower bound and reset value by one factor a layer.

Equation: with ``W' = f W, b' = f b, theta' = f theta, v_min' = f v_min, reset' = f reset`` every state is f times
what it was, and ``f v >= f theta`` where ``v >= theta``: leak, fire and each reset are homogeneous for f > 0.

Precondition: a real network; the neurons are fed by weight layers that nothing else reads, directly; their state has
no width of its own, for it would not grow with the factor. Bound: none for a power of two (in float64 only exponents
change, short of underflow); for others each number is rounded once, by at most ``2^-53`` of itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from spikefold.errors import Issue, UnsupportedError, nearest
from spikefold.export.network import Layer, Network, SpikingLayer
from spikefold.export.neuron import Neuron
from spikefold.export.neuron_support import CARRIED, NeuronSupport, Refused, neuron_refusals
from spikefold.export.passes.network_pass import network_pass
from spikefold.export.passes.rewrite import scaled, weights_before

STEP = "rescale"
NEURONS = NeuronSupport(
    STEP,
    {
        **dict.fromkeys(
            ("threshold", "fire", "reset", "reset_value", "leak", "v_min", "max_spikes", "order", "current"), CARRIED
        ),
        "state_shift": CARRIED,
        "state_bits": Refused(
            "rescale before quantising", "no width", got=lambda neuron: f"a state of {neuron.state_bits} bits"
        ),
        # without a width it says nothing
        "overflow": CARRIED,
    },
)
"""Everything that is homogeneous in a factor above 0, which a width is not."""


@network_pass(STEP)
def rescale(network: Network, factors: Mapping[str, float]) -> Sequence[Layer]:
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
        if layer.name in by_weights:
            layer = replace(layer, op=scaled(layer, np.full(network.shapes[layer.name][0], by_weights[layer.name])))
        elif isinstance(layer, SpikingLayer) and layer.name in factors:
            layer = replace(layer, op=_neuron(layer.neuron, factors[layer.name]))
        layers.append(layer)
    return layers


def _neuron(neuron: Neuron, factor: float) -> Neuron:
    v_min = None if neuron.v_min is None else neuron.v_min * factor
    return replace(neuron, threshold=neuron.threshold * factor, v_min=v_min, reset_value=neuron.reset_value * factor)


def _problems(network: Network, name: str, factor: float) -> Iterator[Issue]:
    known = {layer.name: layer.neuron for layer in network.neurons}
    if name not in known:
        yield Issue(STEP, name, "no spiking layer of that name", "a spiking layer", nearest(name, known))
        return
    if not np.isfinite(factor) or factor <= 0:
        yield Issue(STEP, name, f"factor {factor}", "a number above 0", "a factor of 0 would leave no weights")
    if network.is_integer:
        yield Issue(STEP, name, "whole numbers", "a real network", "rescale before quantising")
    if weights_before(network, network[name]) is None:
        hint = "fold batch norm, pools and gates first"
        yield Issue(STEP, name, f"reads {list(network[name].inputs)}", "weight layers of its own", hint)
    yield from (replace(issue, rule=STEP) for issue in neuron_refusals(known[name], NEURONS, name))
