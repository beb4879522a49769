# SPDX-License-Identifier: Apache-2.0
"""The layers of a network, put together from the functions and neurons that a run of its module went through.

A layer that runs again on the same input is the same layer (a loop over steps does that); on another input it is a
second one with the same weights. A layer that reads a sum reads all its parts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from spikefold.errors import Issue, NetworkError
from spikefold.export.network import INPUT, InputSpec, Layer
from spikefold.export.network import Op as AnyOp
from spikefold.export.ops import Concat, Gate, Shape
from spikefold.export.pytorch import operations
from spikefold.export.pytorch.follow import Call, Signal, Watch, computes
from spikefold.export.pytorch.neurons import is_neuron, neuron_of

SUPPORTED = "see the supported layers in export/README.md"
_CONTROL = ("__bool__", "item", "tolist", "numpy", "__int__", "__float__", "__index__", "equal", "allclose")
_ASKS = ("size", "dim", "__get__", "numel", "is_floating_point", "__len__", "ndimension", "stride", "element_size")
_NEW = ("zeros_like", "ones_like", "empty_like", "new_zeros", "new_ones", "full_like", "rand_like", "randn_like")


Handler = Callable[["Description", Call], Signal]


def is_attention(module: nn.Module) -> bool:
    """Whether a module is a dynamic gate; by attribute, for the attention lives in `train`, above this floor."""
    return hasattr(module, "static_gate")


def is_leaf(module: nn.Module) -> bool:
    """Whether a module is described as a whole: neurons, attention, or a module that says what it computes."""
    return is_neuron(module) or is_attention(module) or isinstance(computes(module), type)


class Description:
    """The layers so far, and everything that could not be understood.

    Args:
        spec: the network's input.
        gates: static factors of attention modules by name.
        leading: how many axes of the input stand before ``C, H, W``.
        handlers: by function name what becomes of it.
    """

    def __init__(
        self, spec: InputSpec, gates: Mapping[str, np.ndarray], leading: int, handlers: Mapping[str, Handler]
    ) -> None:
        self.gates, self.leading, self._handlers = gates, leading, handlers
        self.watch = Watch(self.function)
        self.layers: list[Layer] = []
        self.shapes: dict[str, Shape] = {INPUT: spec.shape}
        self.issues: list[Issue] = []
        self.voters: int | None = None
        self._made: dict[str, list[Layer]] = {}
        self._steps: dict[str, list[int | None]] = {}

    def issue(self, what: str, where: str, got: str, hint: str) -> None:
        """Note once what cannot be described."""
        found = Issue(what, where or "the module", got, "a supported layer", hint)
        if found not in self.issues:
            self.issues.append(found)

    def shape(self, signal: Signal) -> Shape:
        """``(C, H, W)`` of a signal."""
        return self.shapes[signal.names[0]]

    def leaf(self, name: str, module: nn.Module, args: Iterable[Any], result: Any) -> None:
        """A module ran that is described as a whole."""
        outputs = [result] if isinstance(result, torch.Tensor) else list(result)
        signals = [self.watch.of(value) for value in args if isinstance(value, torch.Tensor)]
        read = signals[0] if signals else None
        try:
            if read is None:
                raise NetworkError("reads something that does not come from the input by known operations")
            signal = self._leaf(name, module, read)
        except NetworkError as error:
            self._lose(error, name, type(module).__name__, read, outputs)
            return
        if any(state and state.names != signal.names for state in signals[1:]):
            self.issue("a neuron with the state of another", name, type(module).__name__, "each its own state")
        self.watch.mark(outputs[0], signal)
        for other in outputs[1:]:
            self.watch.mark_all(other, Signal(signal.names, state=True, step=signal.step))

    def _leaf(self, name: str, module: Any, read: Signal) -> Signal:
        if is_attention(module):
            if name not in self.gates:
                hint = "calibrate with spikefold.train.deploy.gates"
                raise NetworkError("attention without calibrated factors", hint=hint)
            return self.add(name, Gate(self.gates[name]), read)
        if not is_neuron(module):
            return self.add(name, operations.of_module(module), read)
        signal = self.add(name, neuron_of(module), read)
        steps = self._steps.setdefault(signal.names[0], [])
        steps.append(read.step)
        if len(steps) > 1 and steps != list(range(len(steps))):
            raise NetworkError("neurons that run several times in a step", hint="a module of their own for each use")
        return signal

    def function(self, path: str, call: Call) -> None:
        """A function ran that has a tensor among its arguments which hangs on the input."""
        results = call.result if isinstance(call.result, tuple | list) else [call.result]
        if call.name in _CONTROL:
            hint = "forward must do the same for every input"
            self.issue("no decision that hangs on the data", call.where, path, hint)
            return
        if call.name in (*_ASKS, *_NEW) or not any(isinstance(value, torch.Tensor) for value in results):
            return
        try:
            if any(signal.lost for signal in call.read):
                raise NetworkError("reads what is not understood")
            if call.name not in self._handlers:
                raise NetworkError("no counterpart", hint=SUPPORTED)
            self.watch.mark_new(results, self._handlers[call.name](self, call))
        except NetworkError as error:
            self._lose(error, call.where, path, next((one for one in call.read if one.lost), call.read[0]), results)

    def _lose(self, error: NetworkError, where: str, got: str, read: Signal | None, results: Iterable[Any]) -> None:
        if read is None or not read.lost:  # what comes of something that is lost already says nothing new
            self.issue(error.what, where, got, error.hint or SUPPORTED)
        for value in results:
            self.watch.mark_all(value, self._unknown(value, where or got))

    def _unknown(self, result: Any, what: str) -> Signal:
        """A made-up layer in the place of what is not understood, so that what comes after it is looked at too."""
        shape: tuple[int, ...] = tuple(result.shape[self.leading :]) if isinstance(result, torch.Tensor) else ()
        if len(shape) not in (1, 3):
            return Signal(lost=what)
        name = f"{what}?{len(self.shapes)}"
        height, width = shape[1:] or (1, 1)
        self.shapes[name] = (shape[0], height, width)
        return Signal((name,))

    def whole(self, what: str, x: torch.Tensor, signal: Signal) -> None:
        """Check that a layer reads whole maps as they are: its input's last axes are those of the signal.

        Raises:
            NetworkError: it reads something else.
        """
        if signal.state or signal.readout:
            kind = "a state of neurons" if signal.state else "an average over steps"
            raise NetworkError(f"{what} reads {kind}", hint="layers read spikes or what drives them")
        shape = self.shape(signal)
        flat = what == "linear" or (what == "batch_norm" and shape[1:] == (1, 1))
        if flat and what == "linear" and x.shape[-1] != int(np.prod(shape)):
            raise NetworkError(f"a dense layer along one axis of maps {shape}", hint="flatten before it")
        if not flat and tuple(x.shape[-3:]) != shape:
            raise NetworkError(f"maps {shape} are read as {tuple(x.shape[-3:])}", hint="keep the shape of a map")

    def add(self, name: str, op: AnyOp, read: Signal) -> Signal:
        """Add a layer, or find it: the same one on the same input ran before.

        Raises:
            NetworkError: what it reads is no signal between layers, or has not its shape.
        """
        if read.lost or read.state or read.readout:
            raise NetworkError("reads what is no signal between layers")
        used = self._made.setdefault(name, [])
        for made in used:
            if made.inputs == read.names and _equal(made.op, op):
                return Signal((made.name,), step=read.step)
        own = name if not used else f"{name}.{len(used) + 1}"
        own = own if own not in self.shapes else f"{own}.{len(self.layers)}"
        layer = Layer(own, op, read.names, source=f"layers.{name}")
        if isinstance(op, Concat):
            self.shapes[own] = op.output_shape(*(self.shapes[one] for one in read.names))
        else:
            self.shapes[own] = op.output_shape(self.shape(read))
        used.append(layer)
        self.layers.append(layer)
        return Signal((own,), step=read.step)


def _equal(one: AnyOp, other: AnyOp) -> bool:
    if type(one) is not type(other):
        return False
    pairs = [(getattr(one, name), getattr(other, name)) for name in vars(one)]
    return all(np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b for a, b in pairs)
