# SPDX-License-Identifier: Apache-2.0
"""Writes a `Network` as an ONNX graph of one time step: frame and states in, spikes and new states out.

Inputs ``frame (N, C, H, W)`` and, for each spiking layer, ``<layer>_state (N, C, H, W)``, zeros at the start of a
clip; outputs ``<layer>_spikes`` and ``<layer>_next`` of each. Numbers are float32, in which an integer network is
exact while its sums stay below ``2**24``. Standard operators only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from spikefold import __version__
from spikefold.errors import UnsupportedError
from spikefold.export.network import INPUT, Layer, Network, SpikingLayer
from spikefold.export.neuron import Fire, Neuron, Order, Overflow, Reset
from spikefold.export.neuron_support import CARRIED, Limited, NeuronSupport, Refused, refuse
from spikefold.export.ops import Concat, Conv2d, Dense, MaxPool2d, SumPool2d
from spikefold.files import replacing

OPSET = 17
_IR_VERSION = 9
FRAME = "frame"
NEURONS = NeuronSupport(
    "the ONNX writer",
    {
        "threshold": CARRIED,
        "fire": CARRIED,
        "reset": CARRIED,
        "reset_value": CARRIED,
        "leak": Limited(
            lambda neuron: neuron.leak is None or not neuron.leak.shift,
            "a real leak",
            "export the real network",
            got=lambda neuron: "an integer leak is not exact in float32",
        ),
        "v_min": CARRIED,
        "max_spikes": CARRIED,
        "order": CARRIED,
        "state_shift": CARRIED,
        "state_bits": Limited(
            lambda neuron: neuron.state_bits is None or neuron.overflow is Overflow.FORBID,
            "no width, or one that is never left",
            "export the real network",
            got=lambda neuron: (
                f"a state of {neuron.state_bits} bits that does {neuron.overflow.value} has no place in the ONNX file"
            ),
        ),
        # decided with the width
        "overflow": CARRIED,
        "current": Refused(
            "train neurons whose input acts at once",
            got=lambda neuron: "a current that lasts has no ONNX graph here",
        ),
    },
)
"""What the graph of one step computes exactly."""


def write(network: Network, path: Path) -> None:
    """Write the checked model, by rename.

    Raises:
        UnsupportedError: a layer that has no counterpart here.
    """
    model = to_model(network)
    with replacing(path) as scratch:
        scratch.write_bytes(model.SerializeToString())


def to_model(network: Network) -> onnx.ModelProto:
    """The one-step model.

    Raises:
        UnsupportedError: an operation that must be folded first, an integer leak, or a state that saturates or wraps.
    """
    refuse(network, NEURONS)
    graph = _Graph()
    graph.add_input(FRAME, network.input.shape)
    values = {INPUT: FRAME}
    for layer in network:
        inputs = [values[name] for name in layer.inputs]
        if isinstance(layer.op, Concat):
            values[layer.name] = graph.node("Concat", *inputs, axis=1)
            continue
        x = inputs[0]
        for other in inputs[1:]:
            x = graph.node("Add", x, other)
        if isinstance(layer, SpikingLayer):
            values[layer.name] = _neuron(graph, layer, layer.neuron, x, network.shapes[layer.name])
        else:
            values[layer.name] = _stateless(graph, layer, x, network.input_shape(layer)[0])
    proto = helper.make_graph(graph.nodes, "spikefold", graph.inputs, graph.outputs, graph.constants)
    model = helper.make_model(
        proto,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=_IR_VERSION,
        producer_name="spikefold",
        producer_version=__version__,
    )
    onnx.checker.check_model(model, full_check=True)
    return model


class _Graph:
    """Nodes, constants, inputs and outputs as they are added."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []

    def node(self, op: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        output = name or f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [output], **attributes))
        return output

    def constant(self, values: np.ndarray | float, dtype: type = np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def add_input(self, name: str, shape: tuple[int, int, int]) -> None:
        self.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape]))

    def add_output(self, name: str, shape: tuple[int, int, int]) -> None:
        self.outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape]))


def _stateless(graph: _Graph, layer: Layer, x: str, channels: int) -> str:
    op = layer.op
    if isinstance(op, Conv2d):
        inputs = [x, graph.constant(op.weight)] + ([] if op.bias is None else [graph.constant(op.bias)])
        pads = [*op.padding, *op.padding]
        return graph.node("Conv", *inputs, strides=op.stride, pads=pads, dilations=op.dilation, group=op.groups)
    if isinstance(op, Dense):
        flat = graph.node("Flatten", x, axis=1)
        y = graph.node("MatMul", flat, graph.constant(op.weight.T))
        if op.bias is not None:
            y = graph.node("Add", y, graph.constant(op.bias))
        return graph.node("Unsqueeze", y, graph.constant(np.array([2, 3]), np.int64))
    if isinstance(op, SumPool2d):
        # not a mean times its area, which is off by a rounding where the area is no power of two
        ones = graph.constant(np.ones((channels, 1, *op.kernel)))
        return graph.node("Conv", x, ones, strides=op.kernel, group=channels)
    if isinstance(op, MaxPool2d):
        return graph.node("MaxPool", x, kernel_shape=op.kernel, strides=op.kernel)
    raise UnsupportedError(
        f"{type(op).__name__} has no place in the ONNX file", where=layer.name, hint="fold it first"
    )


def _neuron(graph: _Graph, layer: Layer, neuron: Neuron, x: str, shape: tuple[int, int, int]) -> str:
    state = f"{layer.name}_state"
    graph.add_input(state, shape)
    v = _charged(graph, neuron, state, x)
    theta = graph.constant(neuron.threshold.astype(np.float32))
    spikes = _spikes(graph, neuron, v, theta, f"{layer.name}_spikes")
    if neuron.reset is Reset.SUBTRACT:
        v = graph.node("Sub", v, graph.node("Mul", spikes, theta))
    else:
        fired = graph.node("Greater", spikes, graph.constant(0.0))
        v = graph.node("Where", fired, graph.constant(neuron.reset_value / 2**neuron.state_shift), v)
    if neuron.v_min is not None:
        v = graph.node("Max", v, graph.constant(neuron.v_min / 2**neuron.state_shift))
    graph.node("Identity", v, name=f"{layer.name}_next")
    graph.add_output(spikes, shape)
    graph.add_output(f"{layer.name}_next", shape)
    return spikes


def _charged(graph: _Graph, neuron: Neuron, state: str, x: str) -> str:
    if neuron.leak is None:
        return graph.node("Add", state, x)
    keep = graph.constant(neuron.leak.keep)
    if neuron.order is Order.INPUT_FIRST:
        return graph.node("Mul", graph.node("Add", state, x), keep)
    return graph.node("Add", graph.node("Mul", state, keep), x)


def _spikes(graph: _Graph, neuron: Neuron, v: str, theta: str, name: str) -> str:
    if neuron.max_spikes == 1:
        fired = graph.node("GreaterOrEqual" if neuron.fire is Fire.GE else "Greater", v, theta)
        return graph.node("Cast", fired, name=name, to=TensorProto.FLOAT)
    share = graph.node("Div", v, theta)
    if neuron.fire is Fire.GE:
        fitting = graph.node("Floor", share)
    else:
        fitting = graph.node("Sub", graph.node("Ceil", share), graph.constant(1.0))
    most = [] if neuron.max_spikes is None else [graph.constant(float(neuron.max_spikes))]
    return graph.node("Clip", fitting, graph.constant(0.0), *most, name=name)
