# SPDX-License-Identifier: Apache-2.0
"""Modules of PyTorch and SpikingJelly between the weights that are one operation each, read as that operation.

Nothing here decides what an operation costs (`op_rules` does); it saves looking at the views around it in a
multi-step layer. A subclass with a forward of its own is not read so.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Any

import torch
from torch import nn

TRUSTED = (
    "torch.nn.modules.batchnorm",
    "torch.nn.modules.pooling",
    "torch.nn.modules.flatten",
    "torch.nn.modules.dropout",
    "torch.nn.modules.linear",
    "spikingjelly.activation_based.layer.stateless_wrapper",
    "spikingjelly.activation_based.layer.bn",
)
Reading = tuple[str, Callable[[Any, torch.Tensor], dict[str, Any]]]


def _average(module: Any, x: torch.Tensor) -> dict[str, Any]:
    return {
        "self": x,
        "kernel_size": module.kernel_size,
        "stride": module.stride,
        "padding": module.padding,
        "count_include_pad": module.count_include_pad,
        "divisor_override": vars(module).get("divisor_override"),
    }


def _input(module: Any, x: torch.Tensor) -> dict[str, Any]:
    return {"input": x}


_READINGS: tuple[tuple[tuple[type, ...], Reading], ...] = (
    ((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d), ("batch_norm", _input)),
    ((nn.AvgPool1d,), ("avg_pool1d", _average)),
    ((nn.AvgPool2d,), ("avg_pool2d", _average)),
    ((nn.AvgPool3d,), ("avg_pool3d", _average)),
    ((nn.MaxPool1d,), ("max_pool1d", _input)),
    ((nn.MaxPool2d,), ("max_pool2d", _input)),
    ((nn.MaxPool3d,), ("max_pool3d", _input)),
    ((nn.Flatten, nn.Identity), ("view", _input)),
)


def reading(module: nn.Module) -> Reading | None:
    """The operation that a module is and how to name its arguments, or None."""
    if type(module).forward.__module__ not in TRUSTED or "forward" in module.__dict__:
        return None
    if vars(module).get("return_indices"):
        return None
    return next((found for kinds, found in _READINGS if isinstance(module, kinds)), None)


def is_chain(module: nn.Module) -> bool:
    """Whether a module calls its parts one after the other, as `nn.Sequential` does."""
    return (
        isinstance(module, nn.Sequential)
        and type(module).forward is nn.Sequential.forward
        and type(module).__iter__ is nn.Sequential.__iter__
        and "forward" not in module.__dict__
    )


def only_calls(chain: nn.Module, watched: Container[nn.Module]) -> bool:
    """Whether nothing runs in a chain but its parts, all ``watched`` by one hook before and one behind the call."""
    return all(
        part is not None
        and part in watched
        and len(part._forward_pre_hooks) == len(part._forward_hooks) == 1
        and type(part).__call__ is nn.Module.__call__
        for part in chain._modules.values()
    )
