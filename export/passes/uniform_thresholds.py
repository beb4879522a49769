# SPDX-License-Identifier: Apache-2.0
"""Gives a layer one threshold where each channel had its own: the channels are rescaled to a common one.

Equation: channel c of a layer gets ``W'_c = f_c W_c, b'_c = f_c b_c`` with ``f_c = theta / theta_c``; its states are
``f_c`` times what they were, and cross theta when they crossed theta_c. ``theta`` is the middle one of the layer's
thresholds, so that channels which had it keep every bit.

Precondition: a real network; thresholds ``(C, 1, 1)``, or ``(C, H, W)`` equal within each channel; weight layers
that nothing else reads, directly before; reset to zero or by subtraction. A lower bound and a reset value are one
number a layer, which the scaled channels could not share: refused. Exact in real numbers; in float64 a weight is
rounded twice, not at all where ``f_c`` is a power of two.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from spikefold.errors import Issue, UnsupportedError
from spikefold.export.network import Layer, Network, SpikingLayer
from spikefold.export.neuron import Neuron, Reset
from spikefold.export.neuron_support import CARRIED, Limited, NeuronSupport, Refused, neuron_refusals
from spikefold.export.passes.network_pass import network_pass
from spikefold.export.passes.rewrite import scaled, weights_before

STEP = "uniform_thresholds"
NEURONS = NeuronSupport(
    STEP,
    {
        "threshold": CARRIED,
        "fire": CARRIED,
        "reset": Limited(
            lambda neuron: neuron.reset is not Reset.VALUE,
            "zero or subtract",
            "train without it",
            got=lambda neuron: f"reset to {neuron.reset_value}",
        ),
        # other than 0 with a reset to a value alone
        "reset_value": CARRIED,
        "leak": CARRIED,
        "v_min": Refused("train without a lower bound", got=lambda neuron: f"lower bound {neuron.v_min}"),
        "max_spikes": CARRIED,
        "order": CARRIED,
        "state_shift": CARRIED,
        "state_bits": Refused(
            "do it before quantising", "no width", got=lambda neuron: f"a state of {neuron.state_bits} bits"
        ),
        # without a width it says nothing
        "overflow": CARRIED,
        "current": CARRIED,
    },
)
"""What scales with a channel; what is one number for the whole layer does not."""


@network_pass(STEP)
def uniform_thresholds(network: Network) -> Sequence[Layer]:
    """The same spikes with a scalar threshold in every layer.

    Raises:
        UnsupportedError: with every layer whose thresholds cannot be made one.
    """
    issues = [issue for layer in network.neurons for issue in _problems(network, layer)]
    if issues:
        raise UnsupportedError(f"{STEP} cannot give every layer one threshold", issues=issues)
    factors: dict[str, np.ndarray] = {}
    thresholds: dict[str, np.ndarray] = {}
    for spiking in network.neurons:
        if spiking.neuron.threshold.ndim:
            own = _by_channel(network, spiking, spiking.neuron)
            middle = np.sort(own)[len(own) // 2]
            thresholds[spiking.name] = np.array(middle)
            factors |= dict.fromkeys(spiking.inputs, middle / own)
    layers = []
    for layer in network:
        if layer.name in factors:
            layer = replace(layer, op=scaled(layer, factors[layer.name]))
        elif isinstance(layer, SpikingLayer) and layer.name in thresholds:
            layer = replace(layer, op=replace(layer.neuron, threshold=thresholds[layer.name]))
        layers.append(layer)
    return layers


def _by_channel(network: Network, layer: Layer, neuron: Neuron) -> np.ndarray:
    return np.array(np.broadcast_to(neuron.threshold, network.shapes[layer.name])[:, 0, 0])


def _problems(network: Network, layer: SpikingLayer) -> Iterator[Issue]:
    neuron = layer.neuron
    if neuron.threshold.ndim == 0:
        return
    yield from (replace(issue, rule=STEP) for issue in neuron_refusals(neuron, NEURONS, layer.name))
    rules = [
        (
            (neuron.threshold == neuron.threshold[:, :1, :1]).all(),
            f"thresholds {neuron.threshold.shape} that differ within a channel",
            "one a channel",
            "a convolution shares its weights over a channel; beside model.nir a run writes model_per_channel.nir",
        ),
        (not network.is_integer, "whole numbers", "a real network", "do it before quantising"),
        (
            weights_before(network, layer) is not None,
            f"reads {list(layer.inputs)}",
            "weight layers of its own",
            "fold batch norm, pools and gates first",
        ),
    ]
    yield from (Issue(STEP, layer.name, got, limit, hint) for holds, got, limit, hint in rules if not holds)
