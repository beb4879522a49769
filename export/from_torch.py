# SPDX-License-Identifier: Apache-2.0
"""Describes a trained PyTorch/SpikingJelly module as a real `Network`. Everything unsupported is named at once.

The network's numbers are the module's, as float64. Dynamic attention becomes a static `Gate` with the factors that
the caller calibrated; that step changes the function, and `spikefold.train.deploy.gates` says by how much.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from spikingjelly.activation_based import layer, neuron
from torch import nn

from spikefold.errors import Issue, NetworkError, UnsupportedError
from spikefold.export.network import INPUT, InputSpec, Layer, Network, Op
from spikefold.export.neuron import Leak, Neuron, Reset
from spikefold.export.ops import AvgPool2d, BatchNorm, Conv2d, Dense, Gate, MaxPool2d

# exact types: a subclass may compute something else (weight standardisation, analog output)
_KNOWN = frozenset(
    {neuron.IFNode, neuron.LIFNode, neuron.ParametricLIFNode, nn.Dropout, layer.Dropout, nn.Identity}
    | {
        getattr(of, name)
        for of in (nn, layer)
        for name in ("Conv2d", "Linear", "BatchNorm1d", "BatchNorm2d", "AvgPool2d", "MaxPool2d", "Flatten")
    }
)


_RESIDUAL = "main + shortcut"
"""What a module says it ``computes`` that adds two branches of its own, ``main`` and ``shortcut``."""


def from_torch(
    layers: nn.Sequential, spec: InputSpec, classes: int, gates: Mapping[str, np.ndarray] | None = None
) -> Network:
    """Describe a sequence of layers as a real network.

    A block of two branches that are added becomes no layer: what reads it reads both, and layers add what they read.

    Args:
        layers: convolutions, batch norms, pools, attention, SpikingJelly neurons, flatten, dropout, dense; sequences
            and residual blocks of these.
        spec: input shape, step and clip length.
        classes: number of classes among which the output neurons are split.
        gates: static factors ``(C,)`` by the name of each attention module.

    Raises:
        UnsupportedError: with every module that has no counterpart.
    """
    found = _Found(spec, gates or {})
    found.sequence("", layers, (INPUT,))
    if found.issues:
        raise UnsupportedError("the model holds layers that cannot be exported", issues=found.issues)
    return Network(spec, tuple(found.layers), classes, history=("from_torch",))


class _Found:
    """The layers so far; a signal is the names of the layers whose outputs add up to it."""

    def __init__(self, spec: InputSpec, gates: Mapping[str, np.ndarray]) -> None:
        self.spec, self.gates = spec, gates
        self.layers: list[Layer] = []
        self.issues: list[Issue] = []

    def sequence(self, prefix: str, modules: nn.Sequential, signal: tuple[str, ...]) -> tuple[str, ...]:
        """Add the modules one after the other; what they hand on."""
        for child, module in modules.named_children():
            name = prefix + child
            try:
                signal = self._module(name, module, signal)
            except NetworkError as error:
                hint = error.hint or "see the supported layers in export/README.md"
                self.issues.append(Issue(error.what, name, type(module).__name__, "a supported layer", hint))
        return signal

    def _module(self, name: str, module: nn.Module, signal: tuple[str, ...]) -> tuple[str, ...]:
        if type(module) is nn.Sequential:
            return self.sequence(f"{name}.", module, signal)
        if _computes(module) == _RESIDUAL:
            return self._residual(name, module, signal)
        if isinstance(module, nn.MaxPool2d) and _kind(module) in _KNOWN and not _tiles(module):
            return self._overlapping(name, module, signal)
        op = _gate(name, self.gates) if _is_attention(module) else _convert(module)
        return signal if op is None else self._layer(name, op, signal, name)

    def _layer(self, name: str, op: Op, signal: tuple[str, ...], source: str) -> tuple[str, ...]:
        self.layers.append(Layer(name, op, signal, source=f"layers.{source}"))
        return (name,)

    def _residual(self, name: str, module: nn.Module, signal: tuple[str, ...]) -> tuple[str, ...]:
        branches = module.get_submodule("main"), module.get_submodule("shortcut")
        both: list[str] = []
        for which, branch in zip(("main", "shortcut"), branches, strict=True):
            if type(branch) is not nn.Sequential:
                raise NetworkError(
                    f"the {which} of a residual block is a {type(branch).__name__}", hint="a Sequential"
                )
            both += self.sequence(f"{name}.{which}.", branch, signal)
        if len(set(both)) < len(both):
            raise NetworkError(f"a residual block adds a layer to itself: {both}", hint="scale its weights instead")
        return tuple(both)

    def _overlapping(self, name: str, module: nn.MaxPool2d, signal: tuple[str, ...]) -> tuple[str, ...]:
        """Neurons that fire where any of a window does: exact for one layer of binary spikes, as `maxpool_to_or`."""
        before = next((la.op for la in self.layers if signal == (la.name,)), None)
        if not isinstance(before, Neuron):  # SpikingJelly's fire at most once a step
            raise NetworkError(
                "max pool that overlaps or pads, over other values than 0 and 1", hint="put it behind neurons"
            )
        if _pair(module.dilation) != (1, 1) or module.ceil_mode or module.return_indices:
            raise NetworkError("max pool that dilates, rounds up or gives indices", hint="leave that out")
        channels = self._channels(signal[0])
        ones = np.ones((channels, 1, *_pair(module.kernel_size)))
        window = Conv2d(ones, None, _pair(module.stride), _pair(module.padding), groups=channels)
        return self._layer(name, Neuron(np.array(1.0)), self._layer(f"{name}.or", window, signal, name), name)

    def _channels(self, name: str) -> int:
        """Of a layer of neurons: those of the weights before it, or of the input."""
        while name != INPUT:
            before = next(la for la in self.layers if la.name == name)
            if isinstance(before.op, Conv2d | Dense):
                return len(before.op.weight)
            name = before.inputs[0]
        return self.spec.shape[0]


def _computes(module: nn.Module) -> object:
    # by a mark and not by class: such modules live in `train`, which this file need not import; a subclass may
    # compute something else, so a mark that is inherited does not count
    return vars(type(module)).get("computes")


def _kind(module: nn.Module) -> object:
    """Whose function a module computes: its class's, or the class's that it says."""
    return _computes(module) or type(module)


def _tiles(module: nn.MaxPool2d) -> bool:
    return _pair(module.kernel_size) == _pair(module.stride) and _pair(module.padding) == (0, 0)


def _is_attention(module: nn.Module) -> bool:
    # by attribute and not by class: the attention lives in `train`, which this file need not import
    return hasattr(module, "static_gate")


def _gate(name: str, gates: Mapping[str, np.ndarray]) -> Gate:
    if name not in gates:
        raise NetworkError("attention without calibrated factors", hint="calibrate with spikefold.train.deploy.gates")
    return Gate(gates[name])


def _convert(module: nn.Module) -> Op | None:
    """One module; None where it does nothing at inference."""
    if _kind(module) not in _KNOWN:
        raise NetworkError("no counterpart")
    match module:
        case nn.Conv2d():
            return _conv(module)
        case nn.Linear():
            return Dense(_numpy(module.weight), _optional(module.bias))
        case nn.BatchNorm1d() | nn.BatchNorm2d():
            return _batch_norm(module)
        case nn.AvgPool2d():
            return _average_pool(module)
        case nn.MaxPool2d():
            return _max_pool(module)
        case neuron.LIFNode() | neuron.ParametricLIFNode() | neuron.IFNode():
            return _neuron(module)
        case nn.Flatten() | nn.Dropout() | layer.Dropout() | nn.Identity():
            return None
    raise NetworkError("no counterpart")


def _numpy(tensor: torch.Tensor) -> np.ndarray:
    return np.asarray(tensor.detach().cpu().double().numpy())


def _optional(tensor: torch.Tensor | None) -> np.ndarray | None:
    return None if tensor is None else _numpy(tensor)


def _pair(value: object) -> tuple[int, int]:
    if isinstance(value, int):
        return value, value
    if isinstance(value, tuple) and len(value) == 2:
        return int(value[0]), int(value[1])
    raise NetworkError(f"{value!r} is no pair of numbers", hint="give stride, padding and kernel as numbers")


def _conv(module: nn.Conv2d) -> Conv2d:
    if module.padding_mode != "zeros":
        raise NetworkError(f"padding mode {module.padding_mode}", hint="chips pad with zeros")
    return Conv2d(
        _numpy(module.weight),
        _optional(module.bias),
        _pair(module.stride),
        _pair(module.padding),
        _pair(module.dilation),
        module.groups,
    )


def _batch_norm(module: nn.BatchNorm1d | nn.BatchNorm2d) -> BatchNorm:
    if module.running_mean is None or module.running_var is None:
        raise NetworkError("batch norm without running statistics", hint="track_running_stats=True")
    ones = torch.ones(module.num_features)
    gamma, beta = (ones, 0 * ones) if module.weight is None else (module.weight, module.bias)
    return BatchNorm(
        _numpy(gamma), _numpy(beta), _numpy(module.running_mean), _numpy(module.running_var), float(module.eps)
    )


def _average_pool(module: nn.AvgPool2d) -> AvgPool2d:
    kernel, stride = _pair(module.kernel_size), _pair(module.stride)
    if kernel != stride or _pair(module.padding) != (0, 0) or module.ceil_mode or module.divisor_override:
        raise NetworkError(
            "average pool that overlaps, pads, rounds up or divides differently", hint="kernel = stride"
        )
    return AvgPool2d(kernel)


def _max_pool(module: nn.MaxPool2d) -> MaxPool2d:
    if _pair(module.dilation) != (1, 1) or module.ceil_mode or module.return_indices:
        raise NetworkError("max pool that dilates, rounds up or gives indices", hint="leave that out")
    return MaxPool2d(_pair(module.kernel_size))


def _neuron(module: neuron.BaseNode) -> Neuron:
    if module.v_reset not in (None, 0):
        raise NetworkError(f"v_reset {module.v_reset}", hint="train with v_reset 0, or None for reset by subtraction")
    reset = Reset.SUBTRACT if module.v_reset is None else Reset.ZERO
    threshold, leak = float(module.v_threshold), None
    if isinstance(module, neuron.LIFNode | neuron.ParametricLIFNode):
        tau = _time_constant(module)
        leak = Leak(1 - 1 / tau)
        # v += (x - v) / tau  is  v <- (1 - 1/tau) v + x  in units of v * tau
        threshold *= tau if module.decay_input else 1.0
    return Neuron(np.array(threshold), reset=reset, leak=leak, max_spikes=1)


def _time_constant(module: neuron.BaseNode) -> float:
    """Tau in steps; a learned one is ``1 / sigmoid(w)``, in double precision."""
    if isinstance(module, neuron.LIFNode):
        return float(module.tau)
    share = module.w.detach().cpu().double().sigmoid()
    if share.numel() != 1 or not 0 < share.item() <= 1:
        raise NetworkError(
            f"a learned 1 / tau of {share.tolist()}", hint="one number for the layer, above 0, at most 1"
        )
    return 1 / share.item()
