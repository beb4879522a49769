# SPDX-License-Identifier: Apache-2.0
"""A trained PyTorch/SpikingJelly module as a real `Network`. Everything unsupported is named at once.

The network's numbers are the module's, as float64. Dynamic attention becomes a static `Gate` with the factors that
the caller calibrated; that step changes the function, and `spikefold.train.gates` says by how much.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from spikingjelly.activation_based import layer, neuron
from torch import nn

from spikefold.errors import Issue, NetworkError, UnsupportedError
from spikefold.export.network import InputSpec, Layer, Network, Op
from spikefold.export.neuron import Leak, Neuron, Reset
from spikefold.export.ops import AvgPool2d, BatchNorm, Conv2d, Dense, Gate, MaxPool2d

# exact types: a subclass may compute something else (weight standardisation, analog output)
_KNOWN = frozenset(
    {neuron.IFNode, neuron.LIFNode, neuron.ParametricLIFNode, nn.Dropout, nn.Identity}
    | {
        getattr(of, name)
        for of in (nn, layer)
        for name in ("Conv2d", "Linear", "BatchNorm1d", "BatchNorm2d", "AvgPool2d", "MaxPool2d", "Flatten")
    }
)


def from_torch(
    layers: nn.Sequential, spec: InputSpec, classes: int, gates: Mapping[str, np.ndarray] | None = None
) -> Network:
    """Describe a sequence of layers as a real network.

    Args:
        layers: convolutions, batch norms, average pools, attention, SpikingJelly neurons, flatten, dropout, dense.
        spec: input shape, step and clip length.
        classes: number of classes among which the output neurons are split.
        gates: static factors ``(C,)`` by the name of each attention module.

    Raises:
        UnsupportedError: with every module that has no counterpart.
    """
    found: list[Layer] = []
    issues: list[Issue] = []
    for name, module in layers.named_children():
        try:
            op = _gate(name, gates or {}) if _is_attention(module) else _convert(module)
        except NetworkError as error:
            hint = error.hint or "see the supported layers in export/README.md"
            issues.append(Issue(error.what, name, type(module).__name__, "a supported layer", hint))
            continue
        if op is not None:
            found.append(Layer(name, op, source=f"layers.{name}"))
    if issues:
        raise UnsupportedError("the model holds layers that cannot be exported", issues=issues)
    return Network(spec, tuple(found), classes, history=("from_torch",))


def _is_attention(module: nn.Module) -> bool:
    # by attribute and not by class: the attention lives in `train`, which this file need not import
    return hasattr(module, "static_gate")


def _gate(name: str, gates: Mapping[str, np.ndarray]) -> Gate:
    if name not in gates:
        raise NetworkError("attention without calibrated factors", hint="calibrate with spikefold.train.gates")
    return Gate(gates[name])


def _convert(module: nn.Module) -> Op | None:
    """One module; None where it does nothing at inference."""
    if type(module) not in _KNOWN:
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
        case nn.Flatten() | nn.Dropout() | nn.Identity():
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
        _numpy(module.weight), _optional(module.bias), _pair(module.stride), _pair(module.padding),
        _pair(module.dilation), module.groups,
    )  # fmt: skip


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
    kernel, stride = _pair(module.kernel_size), _pair(module.stride)
    plain = _pair(module.padding) == (0, 0) and _pair(module.dilation) == (1, 1)
    if kernel != stride or not plain or module.ceil_mode or module.return_indices:
        what = "max pool that overlaps, pads, dilates, rounds up or gives indices"
        raise NetworkError(what, hint="kernel = stride")
    return MaxPool2d(kernel)


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
