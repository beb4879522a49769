# SPDX-License-Identifier: Apache-2.0
"""Writes a folded real `Network` as a NIR graph file, and lists what NIR cannot say.

NIR's time unit here is one step of the network: ``r = 1`` and ``tau = 1 / (1 - keep)`` in steps. Steps, their length
and classes are in the graph's metadata. NIR's neurons fire above their threshold only and reset to a value; what the
network does differently is listed, never dropped silently.
"""

from __future__ import annotations

from pathlib import Path

import nir
import numpy as np

from spikefold import __version__
from spikefold.errors import Issue, UnsupportedError
from spikefold.export.network import INPUT, Layer, Network, SpikingLayer
from spikefold.export.neuron import Fire, Neuron, Order, Overflow, Reset
from spikefold.export.neuron_support import CARRIED, Limited, NeuronSupport, Refused, neuron_refusals
from spikefold.export.nir.writer import OURS
from spikefold.export.ops import Conv2d, Dense, SumPool2d
from spikefold.files import replacing

OUTPUT = "output"
"""Name of the graph's output node."""
_HINT = "export the real network"
NEURONS = NeuronSupport(
    "NIR 1.0",
    {
        "threshold": CARRIED,
        # how often a neuron fires, and whether at equality, a NIR graph does not say: `losses` does
        "fire": CARRIED,
        "max_spikes": CARRIED,
        "reset": Limited(
            lambda neuron: neuron.reset is Reset.ZERO,
            "reset to zero",
            _HINT,
            "neuron",
            lambda neuron: f"reset by {neuron.reset.value}",
        ),
        # other than 0 with a reset to a value alone
        "reset_value": CARRIED,
        "leak": Limited(
            lambda neuron: neuron.leak is None or not neuron.leak.shift,
            "a real leak",
            _HINT,
            "neuron",
            lambda neuron: "an integer leak",
        ),
        "v_min": Refused(_HINT, "none", "neuron", lambda neuron: "a lower bound of the state"),
        "order": Refused(_HINT, Order.LEAK_FIRST.value, "neuron", lambda neuron: f"order {neuron.order.value}"),
        # without a lower bound, a reset value and an integer leak the unit of a state changes no spike
        "state_shift": CARRIED,
        "state_bits": Limited(
            lambda neuron: neuron.state_bits is None or neuron.overflow is Overflow.FORBID,
            "no width, or one that is never left",
            _HINT,
            "neuron",
            lambda neuron: f"a state of {neuron.state_bits} bits",
        ),
        # decided with the width
        "overflow": CARRIED,
        "current": Refused(_HINT, "an input that acts in one step", "neuron", lambda neuron: "a current that lasts"),
    },
)
"""What a NIR graph can say of a neuron."""


def losses(network: Network) -> list[str]:
    """What a reader of the file will do differently from this network, in words."""
    found = []
    if any(layer.neuron.fire is Fire.GE for layer in network.neurons):
        found.append("NIR neurons fire above the threshold, this network also at equality")
    if bounded := {layer.neuron.max_spikes for layer in network.neurons} - {None}:
        most = " or ".join("once" if n == 1 else f"{n} times" for n in sorted(bounded, key=str))
        found.append(f"NIR does not bound the spikes of a step; this network fires at most {most} a step")
    if network.neurons:
        found.append(f"NIR has no time step: one step stands for {network.input.dt_us} us")
    return found


def to_graph(network: Network) -> nir.NIRGraph:
    """The network as a NIR graph.

    Raises:
        UnsupportedError: with every layer that NIR 1.0 has no node for.
    """
    nodes: dict[str, nir.NIRNode] = {INPUT: nir.Input(input_type={"input": np.array(network.input.shape)})}
    edges: list[tuple[str, str]] = []
    issues = []
    for layer in network:
        shape = network.input_shape(layer)
        flat = isinstance(layer.op, Dense) and shape[1:] != (1, 1)
        name = layer.name
        if problems := _unsupported(layer):
            issues += problems
            continue
        if flat:
            flatten = f"{name}_flatten"
            nodes[flatten] = nir.Flatten(input_type={"input": np.array(shape)}, start_dim=0, end_dim=-1)
            edges += [(source, flatten) for source in layer.inputs]
            edges.append((flatten, name))
        else:
            edges += [(source, name) for source in layer.inputs]
        nodes[name] = _node(network, layer)
    if issues:
        raise UnsupportedError("the network has layers that NIR 1.0 cannot express", issues=issues)
    out = network.layers[-1].name
    nodes[OUTPUT] = nir.Output(output_type={"output": _neuron_shape(network, network.layers[-1])})
    spec, told = network.input, {"classes": network.classes}
    told |= {"steps": spec.steps, "dt_us": spec.dt_us} | ({"max_count": spec.max_count} if spec.max_count else {})
    metadata = {OURS: __version__} | {f"{OURS}_{key}": value for key, value in told.items()}
    return nir.NIRGraph(nodes, [*edges, (out, OUTPUT)], metadata=metadata)


def write(network: Network, path: Path) -> None:
    """Write the graph as HDF5, by rename.

    Raises:
        UnsupportedError: as `to_graph`.
    """
    graph = to_graph(network)
    with replacing(path) as scratch:
        nir.write(str(scratch), graph)


def _neuron_shape(network: Network, layer: Layer) -> np.ndarray:
    shape = network.shapes[layer.name]
    return np.array(shape if shape[1:] != (1, 1) else shape[:1])


def _unsupported(layer: Layer) -> list[Issue]:
    op = layer.op
    if layer.name == OUTPUT:
        return [Issue("name", layer.name, OUTPUT, "another name", "NIR's own output node is called that")]
    if isinstance(layer, SpikingLayer):
        return neuron_refusals(layer.neuron, NEURONS, layer.name)
    if isinstance(op, Conv2d | Dense | SumPool2d):
        return []
    return [Issue("operation", layer.name, type(op).__name__, "conv, dense, sum pool, neuron", "fold it first")]


def _node(network: Network, layer: Layer) -> nir.NIRNode:
    op = layer.op
    if isinstance(op, Conv2d):
        bias = np.zeros(len(op.weight)) if op.bias is None else op.bias
        height, width = network.input_shape(layer)[1:]
        return nir.Conv2d((height, width), op.weight, op.stride, op.padding, op.dilation, op.groups, bias)
    if isinstance(op, Dense):
        return nir.Linear(op.weight) if op.bias is None else nir.Affine(op.weight, op.bias)
    if isinstance(op, SumPool2d):
        kernel = np.array(op.kernel)
        return nir.SumPool2d(kernel, kernel, np.array([0, 0]))
    if not isinstance(op, Neuron):
        raise UnsupportedError(f"{type(op).__name__} has no NIR node", where=layer.name)
    shape = tuple(_neuron_shape(network, layer))
    threshold = np.broadcast_to(op.threshold.astype(np.float64), network.shapes[layer.name]).reshape(shape)
    ones = np.ones(shape)
    if op.leak is None or op.leak.keep == 1:
        return nir.IF(r=ones, v_threshold=threshold)
    tau = 1 / (1 - op.leak.keep)
    return nir.LIF(tau=tau * ones, r=tau * ones, v_leak=0 * ones, v_threshold=threshold)
