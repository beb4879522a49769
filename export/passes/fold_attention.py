# SPDX-License-Identifier: Apache-2.0
"""Folds a static attention gate into the weights before it or into the thresholds behind it.

Equation, a factor per channel::

    s_c (W x + b)_c = (s_c W_c) x + s_c b_c

Equation, a factor per neuron: a state that only adds up, leaks and resets scales with its input, so::

    input s_i I, threshold theta   has the spikes of   input I, threshold theta / s_i

Precondition: the gate's only input is read by nothing else. Per channel: that input is a weight layer (fold batch
norm and pooling first: a factor per channel commutes with both). Per neuron: its only reader is a spiking layer that
resets to zero or by subtraction and has no lower bound, for a bound and a reset value do not scale. Exact in real
numbers, in float64 to its rounding. How well the static gate stands for the dynamic one is measured where it is
calibrated, `spikefold.train.deploy.gates`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from spikefold.errors import Issue, UnsupportedError
from spikefold.export.network import Layer, Network, SpikingLayer
from spikefold.export.neuron import Reset
from spikefold.export.neuron_support import CARRIED, Limited, NeuronSupport, Refused, neuron_refusals
from spikefold.export.ops import Conv2d, Dense, Gate
from spikefold.export.passes.network_pass import network_pass
from spikefold.export.passes.rewrite import merge_into_previous, scaled

STEP = "fold_attention"
_HINT = "a reset value and a bound do not scale; use a factor per channel"
_LIMIT = "reset to zero or by subtraction, no bound"
NEURONS = NeuronSupport(
    STEP,
    {
        "threshold": CARRIED,
        "fire": CARRIED,
        "reset": Limited(
            lambda neuron: neuron.reset is not Reset.VALUE,
            _LIMIT,
            _HINT,
            got=lambda neuron: f"reset {neuron.reset.value} {neuron.reset_value}",
        ),
        # other than 0 with a reset to a value alone
        "reset_value": CARRIED,
        "leak": CARRIED,
        "v_min": Refused(_HINT, _LIMIT, got=lambda neuron: f"lower bound {neuron.v_min}"),
        "max_spikes": CARRIED,
        "order": CARRIED,
        "state_shift": CARRIED,
        "state_bits": Refused("fold before quantising", "no width", got=lambda neuron: f"{neuron.state_bits} bits"),
        # without a width it says nothing
        "overflow": CARRIED,
        "current": CARRIED,
    },
)
"""The neurons whose states scale with their input, one by one: a gate's factor can go into their thresholds."""


def fold_attention(network: Network) -> Network:
    """The same function without any `Gate`.

    Raises:
        UnsupportedError: with every gate that breaks the precondition.
    """
    return _gates_into_weights(_gates_into_thresholds(network))


@network_pass(STEP)
def _gates_into_weights(network: Network) -> Sequence[Layer]:
    return merge_into_previous(network, Gate, _into_weights, STEP)


def _into_weights(weights: Layer, gate: Gate) -> Conv2d | Dense:
    return scaled(weights, gate.scale)


@network_pass(f"{STEP} (per neuron)")
def _gates_into_thresholds(network: Network) -> Sequence[Layer]:
    gates = {la.name: la.op for la in network if isinstance(la.op, Gate) and la.op.scale.ndim == 3}
    if issues := [issue for name in gates for issue in _unsupported(network, network[name])]:
        raise UnsupportedError(f"{STEP} cannot fold every gate per neuron", issues=issues)
    layers: list[Layer] = []
    for layer in network:
        gate = gates.get(layer.inputs[0])
        if gate is not None and isinstance(layer, SpikingLayer):
            op = replace(layer.op, threshold=layer.op.threshold / gate.scale)
            source = f"{layer.source} / {network[layer.inputs[0]].source}"
            layers.append(replace(layer, op=op, inputs=network[layer.inputs[0]].inputs, source=source))
        elif layer.name not in gates:
            layers.append(layer)
    return layers


def _unsupported(network: Network, gate: Layer) -> list[Issue]:
    readers = network.consumers(gate.name)
    if len(gate.inputs) != 1 or len(readers) != 1 or not isinstance(readers[0], SpikingLayer):
        got = f"reads {list(gate.inputs)}, read by {[la.name for la in readers]}"
        return [Issue(STEP, gate.name, got, "read by one spiking layer", "use a factor per channel")]
    neuron = readers[0]
    if neuron.inputs != (gate.name,):
        return [
            Issue(
                STEP,
                gate.name,
                f"{neuron.name} reads {list(neuron.inputs)}",
                "the gate alone",
                "use a factor per channel",
            )
        ]
    return [replace(issue, rule=STEP) for issue in neuron_refusals(neuron.neuron, NEURONS, neuron.name)]
