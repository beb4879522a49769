# SPDX-License-Identifier: Apache-2.0
"""Modules of PyTorch and SpikingJelly between the weights that are one operation each, read as that operation.

Nothing here decides what an operation costs (`op_rules` does); it saves looking at the views around it in a
multi-step layer. A subclass with a forward of its own is not read so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

TRUSTED = (
    "torch.nn.modules.batchnorm", "torch.nn.modules.pooling", "torch.nn.modules.flatten", "torch.nn.modules.dropout",
    "torch.nn.modules.linear", "spikingjelly.activation_based.layer.stateless_wrapper",
    "spikingjelly.activation_based.layer.bn",
)  # fmt: skip
Reading = tuple[str, Callable[[Any, torch.Tensor], dict[str, Any]]]


def _average(module: Any, x: torch.Tensor) -> dict[str, Any]:
    return {
        "self": x, "kernel_size": module.kernel_size, "stride": module.stride, "padding": module.padding,
        "count_include_pad": module.count_include_pad,
        "divisor_override": getattr(module, "divisor_override", None),
    }  # fmt: skip


def _input(module: Any, x: torch.Tensor) -> dict[str, Any]:
    return {"input": x}


_READINGS: tuple[tuple[tuple[type, ...], Reading], ...] = (
    ((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d), ("batch_norm", _input)),
    ((nn.AvgPool1d,), ("avg_pool1d", _average)), ((nn.AvgPool2d,), ("avg_pool2d", _average)),
    ((nn.AvgPool3d,), ("avg_pool3d", _average)), ((nn.MaxPool1d,), ("max_pool1d", _input)),
    ((nn.MaxPool2d,), ("max_pool2d", _input)), ((nn.MaxPool3d,), ("max_pool3d", _input)),
    ((nn.Flatten, nn.Identity), ("view", _input)),
)  # fmt: skip


def reading(module: nn.Module) -> Reading | None:
    """The operation that a module is and how to name its arguments, or None."""
    if type(module).forward.__module__ not in TRUSTED or "forward" in module.__dict__:
        return None
    if getattr(module, "return_indices", False):
        return None
    return next((found for kinds, found in _READINGS if isinstance(module, kinds)), None)
