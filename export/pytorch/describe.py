# SPDX-License-Identifier: Apache-2.0
"""The layers of a network, put together from the functions and neurons that a run of its module went through.

A layer that runs again on the same input is the same layer (a loop over steps does that); on another input it is a
second one with the same weights. Additions join signals, and a layer that reads a sum reads all its parts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from spikefold.errors import Issue, NetworkError
from spikefold.export.network import INPUT, InputSpec, Layer
from spikefold.export.network import Op as AnyOp
from spikefold.export.neuron import Neuron
from spikefold.export.ops import AvgPool2d, Concat, Conv2d, Gate, MaxPool2d, Shape
from spikefold.export.pytorch import operations as ops
from spikefold.export.pytorch.follow import Signal, Watch
from spikefold.export.pytorch.neurons import is_neuron, neuron_of

_CONTROL = ("__bool__", "item", "tolist", "numpy", "__int__", "__float__", "__index__", "equal", "allclose")
_ASKS = ("size", "dim", "__get__", "numel", "is_floating_point", "__len__", "ndimension", "stride", "element_size")
_NEW = ("zeros_like", "ones_like", "empty_like", "new_zeros", "new_ones", "full_like", "rand_like", "randn_like")


def is_leaf(module: nn.Module) -> bool:
    """Whether a module is described as a whole: it keeps a state, is attention, or says whose function it computes."""
    return is_neuron(module) or _is_attention(module) or isinstance(_computes(module), type)


def _is_attention(module: nn.Module) -> bool:
    # by attribute and not by class: the attention lives in `train`, which this file need not import
    return hasattr(module, "static_gate")


def _computes(module: nn.Module) -> object:
    # a mark that is inherited does not count: a subclass may compute something else
    return vars(type(module)).get("computes")


class Description:
    """The layers so far, and everything that could not be understood."""

    def __init__(self, spec: InputSpec, gates: Mapping[str, np.ndarray], leading: int) -> None:
        self.gates, self.leading = gates, leading
        self.watch = Watch(self)
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

    def leaf(self, name: str, module: nn.Module, args: Any, result: Any) -> None:
        """A module with a state ran, or one that is described as a whole."""
        outputs = [result] if isinstance(result, torch.Tensor) else list(result)
        x, *states = [value for value in args if isinstance(value, torch.Tensor)] or [None]
        read = self.watch.of(x)
        try:
            if read is None:
                raise NetworkError("reads something that does not come from the input by known operations")
            signal = self._leaf(name, module, read)
        except NetworkError as error:
            self._lose(error, name, type(module).__name__, read, outputs)
            return
        if any((held := self.watch.of(state)) and held.names != signal.names for state in states):
            self.issue("a neuron with the state of another", name, type(module).__name__, "each its own state")
        self.watch.mark(outputs[0], signal)
        for other in outputs[1:]:
            self.watch.mark_all(other, Signal(signal.names, state=True, step=signal.step))

    def _leaf(self, name: str, module: nn.Module, read: Signal) -> Signal:
        if _is_attention(module):
            if name not in self.gates:
                raise NetworkError(
                    "attention without calibrated factors", hint="calibrate with spikefold.train.deploy.gates"
                )
            return self._layer(name, Gate(self.gates[name]), read)
        if not is_neuron(module):
            return self._as_class(name, module, read)
        signal = self._layer(name, neuron_of(module), read)
        steps = self._steps.setdefault(signal.names[0], [])
        steps.append(read.step)
        if len(steps) > 1 and steps != list(range(len(steps))):
            raise NetworkError("neurons that run several times in a step", hint="a module of their own for each use")
        return signal

    def _as_class(self, name: str, module: Any, read: Signal) -> Signal:
        """A module of ours that computes what another class does, from its attributes."""
        if isinstance(module, nn.Conv2d):
            return self._layer(name, ops.convolution({key: getattr(module, key) for key in (
                "weight", "bias", "stride", "padding", "dilation", "groups")}), read)  # fmt: skip
        if isinstance(module, nn.AvgPool2d):
            keys = ("kernel_size", "stride", "padding", "ceil_mode", "divisor_override")
            return self._layer(name, ops.average_pool({key: getattr(module, key) for key in keys}), read)
        raise NetworkError("no counterpart", hint="see the supported layers in export/README.md")

    def function(
        self, name: str, path: str, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any, read: list[Signal]
    ) -> None:
        """A function ran that has a tensor among its arguments which hangs on the input."""
        where = self.watch.where[-1] if self.watch.where else ""
        if name in _CONTROL:
            self.issue("no decision that hangs on the data", where, path, "forward must do the same for every input")
            return
        if name in _ASKS or name in _NEW or not any(isinstance(v, torch.Tensor) for v in _flat(result)):
            return
        try:
            signal = self._function(name, where, args, kwargs, result, read)
        except NetworkError as error:
            self._lose(error, where, path, read[0], _flat(result))
            return
        for value in _flat(result):
            self.watch.mark_all(value, signal)

    def _lose(self, error: NetworkError, where: str, got: str, read: Signal | None, results: Any) -> None:
        if read is None or not read.lost:  # what comes of something that is lost already says nothing new
            self.issue(error.what, where, got, error.hint or "see the supported layers in export/README.md")
        for value in results:
            self.watch.mark_all(value, Signal(lost=where or got))

    def _function(
        self, name: str, where: str, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any, read: list[Signal]
    ) -> Signal:
        first = read[0]
        if any(signal.lost for signal in read):
            raise NetworkError("reads what is not understood")
        if name in ops.WEIGHTED:
            names, make = ops.WEIGHTED[name]
            arguments = ops.bound(args, kwargs, names)
            self._whole(name, arguments["input"], first)
            return self._layer(where or name, make(arguments), first)
        if name in ("max_pool2d", "_max_pool2d"):
            arguments = ops.bound(args, kwargs, ops.MAX_POOL)
            self._whole(name, arguments["input"], first)
            return self._max_pool(where or name, arguments, first)
        if name == "adaptive_avg_pool2d":
            arguments = ops.bound(args, kwargs, ops.ADAPTIVE)
            self._whole(name, arguments["input"], first)
            return self._pooled(where or name, ops.adaptive_average(arguments, self._shape(first)), first)
        if name in ops.DROPOUTS:
            return first
        if name in ("add", "__add__", "__radd__", "add_", "__iadd__"):
            return self._sum(args, kwargs)
        if name in ("mul", "__mul__", "__rmul__", "div", "__truediv__", "true_divide"):
            return self._scaled(name, where, args, first)
        if name in ("cat", "concat", "concatenate"):
            return self._concat(where or name, args, kwargs, result)
        if name == "stack":
            return self._stacked(read, args, kwargs)
        if name in ("__getitem__", "select", "unbind", "chunk", "split"):
            return self._taken(name, args, result, first)
        if name in ("transpose", "permute", "swapaxes", "movedim", "swapdims"):
            if result.shape[self.leading :] != args[0].shape[self.leading :]:
                raise NetworkError("axes of a map exchanged", hint="only steps and clips may change places")
            return first
        if name in ("mean", "sum"):
            return self._reduced(name, where, args, kwargs, result, first)
        if name == "avg_pool1d":
            return self._votes(args, kwargs, result, first)
        if name in ops.SAME:
            if result.numel() != args[0].numel():
                raise NetworkError("a view of another size")
            return first
        raise NetworkError("no counterpart", hint="see the supported layers in export/README.md")

    def _shape(self, signal: Signal) -> Shape:
        return self.shapes[signal.names[0]]

    def _whole(self, what: str, x: torch.Tensor, signal: Signal) -> None:
        """Whether a layer reads whole maps as they are: then its input's last axes are those of the signal."""
        if signal.state or signal.readout:
            raise NetworkError(f"{what} reads {'a state of neurons' if signal.state else 'an average over steps'}",
                               hint="layers read spikes or what drives them")  # fmt: skip
        shape = self._shape(signal)
        if tuple(x.shape[-3:]) != shape and what != "linear" and not (what == "batch_norm" and shape[1:] == (1, 1)):
            raise NetworkError(f"maps {shape} are read as {tuple(x.shape[-3:])}", hint="keep the shape of a map")
        if what == "linear" and x.shape[-1] != int(np.prod(shape)):
            raise NetworkError(f"a dense layer along one axis of maps {shape}", hint="flatten before it")

    def _layer(self, name: str, op: AnyOp, read: Signal) -> Signal:
        """Add a layer, or find it: the same one on the same input ran before."""
        if read.lost or read.state or read.readout:
            raise NetworkError("reads what is no signal between layers")
        for made in self._made.get(name, []):
            if made.inputs == read.names and _equal(made.op, op):
                return Signal((made.name,), step=read.step)
        used = self._made.setdefault(name, [])
        own = name if not used else f"{name}.{len(used) + 1}"
        own = own if own not in self.shapes else f"{own}.{len(self.layers)}"
        layer = Layer(own, op, read.names, source=f"layers.{name}")
        if isinstance(op, Concat):
            self.shapes[own] = op.output_shape(*(self.shapes[one] for one in read.names))
        else:
            self.shapes[own] = op.output_shape(self._shape(read))
        used.append(layer)
        self.layers.append(layer)
        return Signal((own,), step=read.step)

    def _sum(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Signal:
        if kwargs.get("alpha", 1) != 1 or len(args) > 2:
            raise NetworkError("a weighted sum", hint="put the factor into the weights")
        parts = [(value, self.watch.of(value)) for value in (*args, *kwargs.values())]
        signals = [signal for _, signal in parts if signal is not None]
        for value, signal in parts:
            if signal is None and not (isinstance(value, int | float) and value == 0) and not _zero(value):
                raise NetworkError("a constant added", hint="a bias belongs to a layer with weights")
        if len({self._shape(signal) for signal in signals}) > 1:
            raise NetworkError("maps of different shapes are added")
        names = tuple(name for signal in signals for name in signal.names)
        if len(set(names)) < len(names):
            raise NetworkError(f"a layer is added to itself: {list(names)}", hint="scale its weights instead")
        return Signal(names, readout=any(one.readout for one in signals), state=any(one.state for one in signals),
                      step=_one_step(signals))  # fmt: skip

    def _scaled(self, name: str, where: str, args: tuple[Any, ...], read: Signal) -> Signal:
        factors = [value for value in args if self.watch.of(value) is None]
        if len(factors) != 1 or not (isinstance(factors[0], int | float) or factors[0].numel() == 1):
            raise NetworkError("a product of signals", hint="a factor that is one number")
        if "div" in name and self.watch.of(args[0]) is None:
            raise NetworkError("division by a signal")
        factor = 1 / float(factors[0]) if "div" in name else float(factors[0])
        if read.readout or factor == 1:
            return read
        if not factor > 0:
            raise NetworkError(f"a factor of {factor:g}", hint="put the sign into the weights")
        return self._layer(f"{where}.scale" if where else "scale", Gate(np.full(self._shape(read)[0], factor)), read)

    def _max_pool(self, name: str, arguments: Mapping[str, Any], read: Signal) -> Signal:
        """Windows side by side, or neurons that fire where any of an overlapping window does.

        The latter is exact for one layer of binary spikes, as `maxpool_to_or`.
        """
        kernel, stride = ops.pair(arguments["kernel_size"]), arguments.get("stride")
        stride = kernel if stride is None or stride == [] else ops.pair(stride)
        padding = ops.pair(arguments.get("padding", 0))
        if (
            ops.pair(arguments.get("dilation", 1)) != (1, 1)
            or arguments.get("ceil_mode")
            or arguments.get("return_indices")
        ):
            raise NetworkError("max pool that dilates, rounds up or gives indices", hint="leave that out")
        if kernel == stride and padding == (0, 0):
            return self._layer(name, MaxPool2d(kernel), read)
        before = next((layer.op for layer in self.layers if read.names == (layer.name,)), None)
        if not isinstance(before, Neuron) or before.max_spikes != 1:
            raise NetworkError(
                "max pool that overlaps or pads, over other values than 0 and 1", hint="put it behind neurons"
            )
        channels = self._shape(read)[0]
        window = Conv2d(np.ones((channels, 1, *kernel)), None, stride, padding, groups=channels)
        return self._layer(name, Neuron(np.array(1.0)), self._layer(f"{name}.or", window, read))

    def _pooled(self, name: str, op: AvgPool2d, read: Signal) -> Signal:
        return read if op.kernel == (1, 1) else self._layer(name, op, read)

    def _concat(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], result: torch.Tensor) -> Signal:
        values = args[0] if args else kwargs["tensors"]
        dim = kwargs.get("dim", args[1] if len(args) > 1 else 0)
        signals = [self.watch.of(value) for value in values]
        if any(signal is None or len(signal.names) != 1 for signal in signals):
            raise NetworkError("a sum, or something else than layers, lies side by side with others",
                               hint="concatenate layers")  # fmt: skip
        whole = [signal for signal in signals if signal is not None]
        if dim % result.ndim < self.leading:
            return self._in_turn(whole)
        if dim % result.ndim != result.ndim - 3:
            raise NetworkError("maps side by side along another axis than channels", hint="dim of the channels")
        joined = Signal(tuple(signal.names[0] for signal in whole), step=_one_step(whole))
        return self._layer(name, Concat(), joined)

    def _stacked(self, read: list[Signal], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Signal:
        if kwargs.get("dim", args[1] if len(args) > 1 else 0) not in (0, 1):
            raise NetworkError("steps stacked along another axis than the first two")
        return self._in_turn(read)

    def _in_turn(self, read: list[Signal]) -> Signal:
        """Single steps put together again."""
        same = len({(signal.names, signal.state) for signal in read}) == 1
        if not same or [signal.step for signal in read] not in (list(range(len(read))), [None] * len(read)):
            raise NetworkError("steps of different layers, or not in their order, put together")
        return Signal(read[0].names, state=read[0].state, readout=read[0].readout)

    def _taken(self, name: str, args: tuple[Any, ...], result: Any, read: Signal) -> Signal:
        """One step, or all steps one by one; `function` marks a list of results with one signal, so it is done here."""
        axes = self.leading
        values = _flat(result)
        if name == "__getitem__":
            index = args[1] if isinstance(args[1], tuple) else (args[1],)
            numbers = [one for one in index if not (isinstance(one, slice) and one == slice(None)) and one is not ...]
            if not numbers:
                return read
            if (
                len(numbers) == 1
                and isinstance(numbers[0], int)
                and index.index(numbers[0]) < axes
                and ... not in index
            ):
                return Signal(
                    read.names, read.state, read.readout, step=numbers[0] % args[0].shape[index.index(numbers[0])]
                )
            raise NetworkError("a part of a signal", hint="layers read whole maps; only single steps may be taken")
        dim = (
            int(args[-1])
            if name != "unbind" and len(args) > 2
            else int(args[1])
            if len(args) > 1 and name == "unbind"
            else 0
        )
        if name == "select" and len(args) > 2 and int(args[1]) < axes:
            return Signal(read.names, read.state, read.readout, step=int(args[2]))
        if dim >= axes or name in ("select", "split", "chunk"):
            raise NetworkError("a part of a signal", hint="layers read whole maps; only single steps may be taken")
        for step, value in enumerate(values):
            self.watch.mark(value, Signal(read.names, read.state, read.readout, step=step))
        return Signal(lost="steps")

    def _reduced(
        self, name: str, where: str, args: tuple[Any, ...], kwargs: dict[str, Any], result: torch.Tensor, read: Signal
    ) -> Signal:
        x = args[0]
        given = kwargs.get("dim", kwargs.get("axis", args[1] if len(args) > 1 else None))
        dims = sorted(one % x.ndim for one in ((given,) if isinstance(given, int) else given or range(x.ndim)))
        if dims and dims[-1] < self.leading:
            return Signal(read.names, state=read.state, readout=True)
        shape = self._shape(read)
        maps = tuple(x.shape[-3:]) == shape and dims == [x.ndim - 2, x.ndim - 1]
        rows = x.shape[-1] == shape[1] * shape[2] and x.shape[-2] == shape[0] and dims == [x.ndim - 1]
        if name == "mean" and (maps or rows):
            return self._pooled(where or name, AvgPool2d((shape[1], shape[2])), read)
        raise NetworkError(f"{name} over axes {dims}", hint="over steps, or the mean of a whole map")

    def _votes(self, args: tuple[Any, ...], kwargs: dict[str, Any], result: torch.Tensor, read: Signal) -> Signal:
        """Averages of neighbouring outputs: votes for a class each."""
        kernel = kwargs.get("kernel_size", args[1] if len(args) > 1 else None)
        kernel = kernel[0] if isinstance(kernel, tuple | list) else kernel
        stride = kwargs.get("stride", args[2] if len(args) > 2 else kernel)
        stride = stride[0] if isinstance(stride, tuple | list) and stride else stride or kernel
        if kernel != stride or self._shape(read)[1:] != (1, 1) or self._shape(read)[0] % kernel:
            raise NetworkError("an average over other groups than equally many outputs each", hint="a voting layer")
        self.voters = int(kernel)
        return Signal(read.names, readout=True, step=read.step)


def _one_step(signals: list[Signal]) -> int | None:
    steps = {signal.step for signal in signals}
    if len(steps) > 1:
        raise NetworkError("signals of different time steps meet", hint="a network without recurrence and delays")
    return steps.pop() if steps else None


def _zero(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and not bool(value.any())


def _flat(result: Any) -> list[Any]:
    return list(result) if isinstance(result, tuple | list) else [result]


def _equal(one: AnyOp, other: AnyOp) -> bool:
    if type(one) is not type(other):
        return False
    pairs = [(getattr(one, name), getattr(other, name)) for name in vars(one)]
    return all(np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b for a, b in pairs)
