# SPDX-License-Identifier: Apache-2.0
"""One PyTorch function with its arguments as an operation of a `Network`, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from spikefold.errors import NetworkError
from spikefold.export.ops import AvgPool2d, BatchNorm, Conv2d, Dense, Gate, MaxPool2d, Shape, SumPool2d

Op = Conv2d | Dense | BatchNorm | Gate | AvgPool2d | MaxPool2d | SumPool2d
Arguments = Mapping[str, Any]


def numpy_of(tensor: torch.Tensor) -> np.ndarray:
    """A tensor as float64."""
    return np.asarray(tensor.detach().cpu().double().numpy())


def bound(args: tuple[Any, ...], kwargs: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Arguments by name; PyTorch's own functions have no signature that could be asked."""
    return dict(zip(names, args, strict=False)) | dict(kwargs)


def pair(value: object) -> tuple[int, int]:
    """A number for both axes, or one each.

    Raises:
        NetworkError: anything else.
    """
    if isinstance(value, int):
        return value, value
    if isinstance(value, tuple | list) and len(value) in (1, 2) and all(isinstance(one, int) for one in value):
        return int(value[0]), int(value[-1])
    raise NetworkError(f"{value!r} is no pair of numbers", hint="give stride, padding and kernel as numbers")


def convolution(arguments: Arguments) -> Conv2d:
    """``conv2d``, with the weights that were used."""
    weight, bias = arguments["weight"], arguments.get("bias")
    kernel, dilation = tuple(weight.shape[2:]), pair(arguments.get("dilation", 1))
    padding = arguments.get("padding", 0)
    if isinstance(padding, str):
        reach = [d * (k - 1) if padding == "same" else 0 for k, d in zip(kernel, dilation, strict=True)]
        if any(one % 2 for one in reach):
            raise NetworkError("padding 'same' with an even kernel is not symmetric", hint="an odd kernel")
        padding = tuple(one // 2 for one in reach)
    return Conv2d(
        numpy_of(weight), None if bias is None else numpy_of(bias), pair(arguments.get("stride", 1)), pair(padding),
        dilation, int(arguments.get("groups", 1)),
    )  # fmt: skip


def dense(arguments: Arguments) -> Dense:
    """``linear``."""
    bias = arguments.get("bias")
    return Dense(numpy_of(arguments["weight"]), None if bias is None else numpy_of(bias))


def batch_norm(arguments: Arguments) -> BatchNorm:
    """``batch_norm`` with running statistics."""
    mean, var = arguments.get("running_mean"), arguments.get("running_var")
    if mean is None or var is None or arguments.get("training"):
        raise NetworkError("batch norm without running statistics", hint="track_running_stats=True")
    ones = torch.ones_like(mean)
    gamma, beta = arguments.get("weight"), arguments.get("bias")
    return BatchNorm(
        numpy_of(ones if gamma is None else gamma), numpy_of(0 * ones if beta is None else beta), numpy_of(mean),
        numpy_of(var), float(arguments.get("eps", 1e-5)),
    )  # fmt: skip


def _window(arguments: Arguments, kind: str) -> tuple[int, int]:
    kernel, stride = pair(arguments["kernel_size"]), arguments.get("stride")
    stride = kernel if stride is None or stride == [] else pair(stride)
    plain = pair(arguments.get("padding", 0)) == (0, 0) and not arguments.get("ceil_mode")
    if kernel != stride or not plain or arguments.get("divisor_override"):
        raise NetworkError(
            f"{kind} pool that overlaps, pads, rounds up or divides differently", hint="kernel = stride"
        )
    return kernel


def average_pool(arguments: Arguments) -> AvgPool2d:
    """``avg_pool2d`` over windows side by side."""
    return AvgPool2d(_window(arguments, "average"))


def sum_pool(arguments: Arguments) -> SumPool2d:
    """``lp_pool2d`` with norm 1: the sum of spikes, which are never negative."""
    if float(arguments["norm_type"]) != 1:
        raise NetworkError(f"a pool with norm {arguments['norm_type']}", hint="norm_type=1, which is a sum")
    return SumPool2d(_window(arguments, "sum"))


def adaptive_average(size: Any, shape: Shape) -> AvgPool2d:
    """``adaptive_avg_pool2d`` to a size that divides the map."""
    wanted = (size, size) if isinstance(size, int) else tuple(size)
    wanted = tuple(own if one is None else one for one, own in zip(wanted, shape[1:], strict=True))
    if any(own % one for one, own in zip(wanted, shape[1:], strict=True)):
        raise NetworkError(f"an average pool of {shape[1:]} to {wanted}: its windows differ in size",
                           hint="a size that divides the map")  # fmt: skip
    return AvgPool2d((shape[1] // wanted[0], shape[2] // wanted[1]))


WEIGHTED: Mapping[str, tuple[tuple[str, ...], Callable[[Arguments], Op]]] = {
    "conv2d": (("input", "weight", "bias", "stride", "padding", "dilation", "groups"), convolution),
    "linear": (("input", "weight", "bias"), dense),
    "batch_norm": (
        ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps"), batch_norm,
    ),
    "avg_pool2d": (
        ("input", "kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override"),
        average_pool,
    ),
    "lp_pool2d": (("input", "norm_type", "kernel_size", "stride", "ceil_mode"), sum_pool),
}  # fmt: skip
"""Functions that become a layer, with the names of their arguments in order."""
MAX_POOL = ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
"""The names of the arguments of ``max_pool2d``, in order."""


def max_window(arguments: Arguments) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """Kernel, stride and padding of ``max_pool2d``.

    Raises:
        NetworkError: it dilates, rounds up or gives indices.
    """
    kernel, stride = pair(arguments["kernel_size"]), arguments.get("stride")
    if pair(arguments.get("dilation", 1)) != (1, 1) or arguments.get("ceil_mode") or arguments.get("return_indices"):
        raise NetworkError("max pool that dilates, rounds up or gives indices", hint="leave that out")
    return kernel, kernel if stride is None or stride == [] else pair(stride), pair(arguments.get("padding", 0))


def of_module(module: Any) -> Op:
    """A module of ours that computes what another class does, by its attributes.

    Raises:
        NetworkError: it is neither a convolution nor an average pool.
    """
    if isinstance(module, nn.Conv2d):
        return convolution(
            {key: getattr(module, key) for key in ("weight", "bias", "stride", "padding", "dilation", "groups")}
        )
    if isinstance(module, nn.AvgPool2d):
        keys = ("kernel_size", "stride", "padding", "ceil_mode", "divisor_override")
        return average_pool({key: getattr(module, key) for key in keys})
    raise NetworkError("no counterpart", hint="see the supported layers in export/README.md")
