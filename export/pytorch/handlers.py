# SPDX-License-Identifier: Apache-2.0
"""What becomes of each PyTorch function that runs on a signal: a layer, a sum, or the same in another shape."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch

from spikefold.errors import NetworkError
from spikefold.export.neuron import Neuron
from spikefold.export.ops import AvgPool2d, Concat, Conv2d, Gate, MaxPool2d
from spikefold.export.pytorch import operations
from spikefold.export.pytorch.describe import Description, Handler
from spikefold.export.pytorch.follow import Call, Signal

HANDLERS: dict[str, Handler] = {}
"""By the name of a function."""
_DROPOUTS = ("dropout", "dropout1d", "dropout2d", "dropout3d", "feature_dropout", "alpha_dropout")
_SAME = (
    "flatten", "view", "reshape", "unflatten", "squeeze", "unsqueeze", "contiguous", "clone", "detach", "to", "float",
    "double", "view_as", "reshape_as", "type", "type_as", "alias", "requires_grad_", "cpu", "cuda", "ravel",
)  # fmt: skip


def _handles(*names: str) -> Callable[[Handler], Handler]:
    def register(handler: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(names, handler))
        return handler

    return register


@_handles(*operations.WEIGHTED)
def _weighted(found: Description, call: Call) -> Signal:
    names, make = operations.WEIGHTED[call.name]
    arguments = operations.bound(call.args, call.kwargs, names)
    found.whole(call.name, arguments["input"], call.read[0])
    return found.add(call.layer, make(arguments), call.read[0])


@_handles("adaptive_avg_pool2d")
def _adaptive(found: Description, call: Call) -> Signal:
    read = call.read[0]
    found.whole(call.name, call.argument(0, "input"), read)
    op = operations.adaptive_average(call.argument(1, "output_size"), found.shape(read))
    return _averaged(found, call, op)


def _averaged(found: Description, call: Call, op: AvgPool2d) -> Signal:
    return call.read[0] if op.kernel == (1, 1) else found.add(call.layer, op, call.read[0])


@_handles("max_pool2d", "_max_pool2d")
def _max_pool(found: Description, call: Call) -> Signal:
    """Windows side by side, or neurons that fire where any of an overlapping window does.

    The latter is exact for one layer of binary spikes, as `maxpool_to_or`.
    """
    arguments, read = operations.bound(call.args, call.kwargs, operations.MAX_POOL), call.read[0]
    found.whole(call.name, arguments["input"], read)
    kernel, stride, padding = operations.max_window(arguments)
    if kernel == stride and padding == (0, 0):
        return found.add(call.layer, MaxPool2d(kernel), read)
    before = next((layer.op for layer in found.layers if read.names == (layer.name,)), None)
    if not isinstance(before, Neuron) or before.max_spikes != 1:
        what = "max pool that overlaps or pads, over other values than 0 and 1"
        raise NetworkError(what, hint="put it behind neurons that fire once a step")
    channels = found.shape(read)[0]
    window = Conv2d(np.ones((channels, 1, *kernel)), None, stride, padding, groups=channels)
    return found.add(call.layer, Neuron(np.array(1.0)), found.add(f"{call.layer}.or", window, read))


@_handles(*_DROPOUTS)
def _nothing(found: Description, call: Call) -> Signal:
    """The module is in evaluation mode, where these do nothing."""
    return call.read[0]


@_handles(*_SAME)
def _same(found: Description, call: Call) -> Signal:
    """Every number stays, in the same order."""
    if call.result.numel() != call.argument(0, "input").numel():
        raise NetworkError("a view of another size")
    return call.read[0]


@_handles("pad")
def _padded(found: Description, call: Call) -> Signal:
    mode, value = call.argument(2, "mode", default="constant"), call.argument(3, "value", default=0)
    if mode != "constant" or value:
        raise NetworkError(f"padding mode {mode}", hint="chips pad with zeros")
    raise NetworkError("zeros around a map outside of a convolution", hint="padding=... of the convolution")


@_handles("max_pool2d_with_indices", "_max_pool2d_with_indices")
def _indices(found: Description, call: Call) -> Signal:
    raise NetworkError("max pool that gives indices", hint="leave that out")


@_handles("transpose", "permute", "swapaxes", "swapdims", "movedim")
def _exchanged(found: Description, call: Call) -> Signal:
    x, axes = call.args[0], found.leading
    if call.result.shape[axes:] != x.shape[axes:] or call.result.stride()[axes:] != x.stride()[axes:]:
        raise NetworkError("axes of a map exchanged", hint="only steps and clips may change places")
    return call.read[0]


@_handles("add", "__add__", "__radd__", "add_", "__iadd__")
def _sum(found: Description, call: Call) -> Signal:
    if call.kwargs.get("alpha", 1) != 1:
        raise NetworkError("a weighted sum", hint="put the factor into the weights")
    parts = [
        (value, found.watch.of(value))
        for key, value in (*enumerate(call.args), *call.kwargs.items())
        if key != "alpha"
    ]
    if any(signal is None and not _zero(value) for value, signal in parts):
        raise NetworkError("a constant added", hint="a bias belongs to a layer with weights")
    signals = [signal for _, signal in parts if signal is not None]
    if len({found.shape(signal) for signal in signals}) > 1:
        raise NetworkError("maps of different shapes are added")
    names = tuple(name for signal in signals for name in signal.names)
    if len(set(names)) < len(names):
        raise NetworkError(f"a layer is added to itself: {list(names)}", hint="scale its weights instead")
    return Signal(
        names, any(one.state for one in signals), any(one.readout for one in signals), step=_one_step(signals)
    )


def _zero(value: Any) -> bool:
    if isinstance(value, torch.Tensor):
        return not bool(value.any())
    return isinstance(value, int | float) and value == 0


@_handles("mul", "__mul__", "__rmul__", "div", "__truediv__", "true_divide")
def _scaled(found: Description, call: Call) -> Signal:
    """A factor above 0 is a gate of equal factors, which folds into the weights."""
    read, divides = call.read[0], "div" in call.name
    factors = [value for value in call.args if found.watch.of(value) is None]
    if len(factors) != 1 or (divides and found.watch.of(call.args[0]) is None):
        raise NetworkError("a product of signals", hint="a factor that is one number")
    if isinstance(factors[0], torch.Tensor) and factors[0].numel() != 1:
        raise NetworkError("a factor for each element", hint="one number, or a channel's scale in a batch norm")
    factor = 1 / float(factors[0]) if divides else float(factors[0])
    if read.readout or factor == 1:
        return read
    if not factor > 0:
        raise NetworkError(f"a factor of {factor:g}", hint="put the sign into the weights")
    return found.add(f"{call.where}.scale".strip("."), Gate(np.full(found.shape(read)[0], factor)), read)


@_handles("cat", "concat", "concatenate")
def _concat(found: Description, call: Call) -> Signal:
    signals = [found.watch.of(value) for value in call.argument(0, "tensors")]
    whole = [signal for signal in signals if signal is not None]
    axis = call.argument(1, "dim", "axis", default=0) % call.result.ndim
    if axis < found.leading:
        return _in_turn(whole)
    if len(whole) < len(signals) or any(len(signal.names) != 1 for signal in whole):
        what = "a sum, or something else than layers, lies side by side with others"
        raise NetworkError(what, hint="concatenate layers")
    channels = call.result.ndim - (3 if found.shape(whole[0])[1:] != (1, 1) else 1)
    if axis not in (channels, call.result.ndim - 3):
        raise NetworkError("maps side by side along another axis than channels", hint="dim of the channels")
    joined = Signal(tuple(signal.names[0] for signal in whole), step=_one_step(whole))
    return found.add(f"{call.where}.cat".strip("."), Concat(), joined)


@_handles("stack")
def _stacked(found: Description, call: Call) -> Signal:
    if call.argument(1, "dim", default=0) not in (0, 1):
        raise NetworkError("steps stacked along another axis than the first two")
    return _in_turn(call.read)


def _in_turn(read: Iterable[Signal]) -> Signal:
    """Single steps put together again."""
    signals = list(read)
    steps, one = [signal.step for signal in signals], signals[0]
    same = all((signal.names, signal.state) == (one.names, one.state) for signal in signals)
    if not same or steps not in (list(range(len(steps))), [None] * len(steps)):
        raise NetworkError("steps of different layers, or not in their order, put together")
    return Signal(one.names, one.state, one.readout)


@_handles("__getitem__")
def _taken(found: Description, call: Call) -> Signal:
    """One step of a signal, by its number."""
    x, index = call.args[0], call.args[1] if isinstance(call.args[1], tuple) else (call.args[1],)
    chosen = [(axis, one) for axis, one in enumerate(index) if not (isinstance(one, slice) and one == slice(None))]
    if not chosen:
        return call.read[0]
    axis, number = chosen[0]
    if len(chosen) > 1 or not isinstance(number, int) or axis >= found.leading:
        raise NetworkError("a part of a signal", hint="layers read whole maps; only single steps may be taken")
    return _at_step(call.read[0], number % x.shape[axis])


@_handles("select")
def _selected(found: Description, call: Call) -> Signal:
    axis, number = call.argument(1, "dim"), call.argument(2, "index")
    if axis >= found.leading:
        raise NetworkError("a part of a signal", hint="layers read whole maps; only single steps may be taken")
    return _at_step(call.read[0], number % call.args[0].shape[axis])


@_handles("unbind", "__iter__")
def _one_by_one(found: Description, call: Call) -> Signal:
    if call.argument(1, "dim", default=0) >= found.leading:
        raise NetworkError("a part of a signal", hint="layers read whole maps; only single steps may be taken")
    for step, value in enumerate(call.result):
        found.watch.mark(value, _at_step(call.read[0], step))
    return call.read[0]


def _at_step(read: Signal, step: int) -> Signal:
    return Signal(read.names, read.state, read.readout, step=step)


@_handles("mean", "sum")
def _reduced(found: Description, call: Call) -> Signal:
    """Over steps it is the network's readout; the mean over a whole map is a pool."""
    x, given = call.args[0], call.argument(1, "dim", "axis")
    chosen = range(x.ndim) if given is None else [given] if isinstance(given, int) else given
    axes, read = sorted(one % x.ndim for one in chosen), call.read[0]
    if axes[-1] < found.leading:
        return Signal(read.names, read.state, readout=True)
    shape = found.shape(read)
    maps = tuple(x.shape[-3:]) == shape and axes == [x.ndim - 2, x.ndim - 1]
    rows = tuple(x.shape[-2:]) == (shape[0], shape[1] * shape[2]) and axes == [x.ndim - 1]
    if call.name == "mean" and (maps or rows):
        return _averaged(found, call, AvgPool2d((shape[1], shape[2])))
    raise NetworkError(f"{call.name} over axes {axes}", hint="over steps, or the mean of a whole map")


@_handles("avg_pool1d")
def _votes(found: Description, call: Call) -> Signal:
    """Averages of neighbouring outputs: votes for a class each."""
    read = call.read[0]
    kernel = _first(call.argument(1, "kernel_size"))
    stride = _first(call.argument(2, "stride", default=kernel) or kernel)
    shape = found.shape(read)
    if kernel != stride or shape[1:] != (1, 1) or shape[0] % kernel:
        raise NetworkError("an average over other groups than equally many outputs each", hint="a voting layer")
    found.voters = kernel
    return Signal(read.names, readout=True, step=read.step)


def _first(value: Any) -> int:
    return int(value[0] if isinstance(value, tuple | list) else value)


def _one_step(signals: Iterable[Signal]) -> int | None:
    steps = {signal.step for signal in signals}
    if len(steps) > 1:
        raise NetworkError("signals of different time steps meet", hint="a network without recurrence and delays")
    return next(iter(steps), None)
