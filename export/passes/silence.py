# SPDX-License-Identifier: Apache-2.0
"""Proves from the weights which channels never fire, for `remove_silent_channels`.

`never_fired` and `alive_in` of `hardware.simulators.trace` tell instead which did not fire in one run.

The proof: inputs are counts and spikes, never below 0. A channel whose weights and biases are all at most 0 gets
``x <= 0`` in every step, so from ``v = 0`` its state never rises above 0: adding, leaking and a lower bound (which is
at most 0) keep it there, and it never resets. Its threshold is above 0, so it never fires. Weights from channels that
are themselves proven silent do not count. A state that wraps around proves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from spikefold.export.network import INPUT, Layer, Network, SpikingLayer
from spikefold.export.neuron import Neuron, Overflow
from spikefold.export.neuron_support import CARRIED, Limited, NeuronSupport, neuron_refusals
from spikefold.export.ops import AvgPool2d, Concat, Conv2d, Dense, MaxPool2d, SumPool2d
from spikefold.export.passes.rewrite import by_input, weights_before

NEURONS = NeuronSupport(
    "the proof of silence",
    {
        **dict.fromkeys(
            ("threshold", "fire", "reset", "reset_value", "leak", "v_min", "max_spikes", "order", "current"), CARRIED
        ),
        "state_shift": CARRIED,
        "state_bits": CARRIED,
        "overflow": Limited(
            lambda neuron: neuron.state_bits is None or neuron.overflow is not Overflow.WRAP,
            "a state that does not wrap",
            "keep all channels",
        ),
    },
)
"""The neurons of which the proof above holds; of others nothing is proven."""


def proven_silent(network: Network) -> dict[str, np.ndarray]:
    """By spiking layer, ``(C,)``: the channels that cannot fire on any input, by the proof above."""
    # by layer: the channels that are 0 in every step; None where values may be below 0
    zero: dict[str, np.ndarray | None] = {INPUT: np.zeros(network.input.shape[0], bool)}
    for layer in network:
        if isinstance(layer, SpikingLayer):
            zero[layer.name] = _silent(network, layer, layer.neuron, zero)
        elif isinstance(layer.op, SumPool2d | AvgPool2d | MaxPool2d | Concat):
            zero[layer.name] = _read(layer, zero)
        else:
            zero[layer.name] = None
    return {layer.name: found for layer in network.neurons if (found := zero[layer.name]) is not None}


def _read(layer: Layer, zero: Mapping[str, np.ndarray | None]) -> np.ndarray | None:
    known = [found for name in layer.inputs if (found := zero[name]) is not None]
    if len(known) < len(layer.inputs):
        return None
    return np.concatenate(known) if isinstance(layer.op, Concat) else np.logical_and.reduce(known)


def _silent(network: Network, layer: Layer, neuron: Neuron, zero: Mapping[str, np.ndarray | None]) -> np.ndarray:
    silent = np.ones(network.shapes[layer.name][0], bool)
    sources = weights_before(network, layer)
    if sources is None or neuron_refusals(neuron, NEURONS, layer.name):
        return ~silent
    for source in sources:
        op, dead = source.op, _read(source, zero)
        if not isinstance(op, Conv2d | Dense) or dead is None:
            return np.zeros_like(silent)
        counted = op.weight * by_input(op, ~dead, network.input_shape(source))
        silent &= (counted <= 0).all(axis=tuple(range(1, op.weight.ndim)))
        silent &= op.bias <= 0 if op.bias is not None else True
    return silent
