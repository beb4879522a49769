# SPDX-License-Identifier: Apache-2.0
"""``spikefold inspect`` of a network trained elsewhere: what its layers are, as they were understood."""

from __future__ import annotations

from typing import Any

from spikefold.export.network import Layer, Network
from spikefold.export.neuron import Neuron
from spikefold.export.ops import Conv2d, Dense


def network_table(network: Network, name: str) -> dict[str, Any]:
    """Layers with their output shapes and numbers, and the sum of these; neurons in words.

    Args:
        network: real or integer.
        name: for people.
    """
    layers = [
        {
            "name": layer.name,
            "kind": _kind(layer),
            "shape": list(network.shapes[layer.name]),
            "parameters": _numbers(layer),
            "reads": list(layer.inputs),
        }
        for layer in network
    ]
    return {
        "network": name,
        "input": list(network.input.shape),
        "steps": network.input.steps,
        "dt_us": network.input.dt_us,
        "classes": network.classes,
        "layers": layers,
        "parameters": sum(_numbers(layer) for layer in network),
        "reasons": [f"{layer.name}: {_neuron(layer.op)}" for layer in network if isinstance(layer.op, Neuron)],
    }


def _kind(layer: Layer) -> str:
    return type(layer.op).__name__


def _numbers(layer: Layer) -> int:
    op = layer.op
    if not isinstance(op, Conv2d | Dense):
        return 0
    return op.weight.size + (0 if op.bias is None else op.bias.size)


def _neuron(neuron: Neuron) -> str:
    low, high = float(neuron.threshold.min()), float(neuron.threshold.max())
    parts = [
        f"fires {neuron.fire} {low:g}" if low == high else f"fires {neuron.fire} {low:g} to {high:g}",
        f"reset {neuron.reset}",
        "no leak" if neuron.leak is None else f"keeps {neuron.leak.keep / 2**neuron.leak.shift:g} a step",
        "as many spikes as fit" if neuron.max_spikes is None else f"at most {neuron.max_spikes} a step",
    ]
    if neuron.current is not None:
        parts.append(f"a current of which {neuron.current.keep / 2**neuron.current.shift:g} is kept")
    if neuron.v_min is not None:
        parts.append(f"never below {neuron.v_min:g}")
    return ", ".join(parts)
