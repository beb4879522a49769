# SPDX-License-Identifier: Apache-2.0
"""Connections of a PyTorch weight layer, from the module or from the operation that ran."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import nn

from spikefold.export.fanout import Connections

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
WEIGHT_LAYERS = (*CONVOLUTIONS, nn.Linear)
# where the forward of these layers comes from, if it does what the attributes of the layer say
TRUSTED = (
    "torch.nn.modules.conv",
    "torch.nn.modules.linear",
    "spikingjelly.activation_based.layer.stateless_wrapper",
)
# ... except those that compute their weights at each call: what that costs must be seen
UNTRUSTED = ("WSConv2d", "WSLinear")


def is_plain(module: nn.Module) -> bool:
    """Whether a module is a convolution or dense layer that does exactly what its attributes say.

    A subclass with a forward of its own, or a weight computed at each call, is not: its operations are counted one by
    one as they run.
    """
    return (
        isinstance(module, WEIGHT_LAYERS)
        and type(module).forward.__module__ in TRUSTED
        and getattr(type(module), "_conv_forward", module.forward).__module__ in TRUSTED
        and "forward" not in module.__dict__
        and type(module).__name__ not in UNTRUSTED
        and "parametrizations" not in module._modules
    )


def of_module(
    module: Any, size: tuple[int, ...], outputs: tuple[int, ...], zeros: tuple[tuple[int, int], ...]
) -> Connections:
    """Connections of a convolution module; ``zeros`` as in `of_operation`.

    The output size is needed because that of a transposed convolution can be chosen at the call.
    """
    return _of_attributes(
        (module.in_channels, module.out_channels), module.kernel_size, module.stride, module.padding, module.dilation,
        module.groups, module.padding_mode, module.transposed, size, outputs, zeros,
    )  # fmt: skip


@lru_cache(maxsize=512)
def _of_attributes(
    channels: tuple[int, int],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    around: str | tuple[int, ...],
    dilation: tuple[int, ...],
    groups: int,
    mode: str,
    transposed: bool,
    size: tuple[int, ...],
    outputs: tuple[int, ...],
    zeros: tuple[tuple[int, int], ...],
) -> Connections:
    if around == "same":
        reach = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        padding = tuple((r // 2, r - r // 2) for r in reach)
    elif isinstance(around, str):  # "valid"
        padding = tuple((0, 0) for _ in kernel)
    else:
        padding = tuple((p, p) for p in around)
    both = _both(padding, zeros)
    return _connections(channels, kernel, stride, both, dilation, groups, mode, transposed, size, outputs)


def of_operation(
    weight: torch.Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    groups: int,
    zeros: tuple[tuple[int, int], ...],
    size: tuple[int, ...],
    outputs: tuple[int, ...],
) -> Connections:
    """Connections of ``aten.convolution``; ``zeros`` around the input, put there before, count as padding."""
    dimensions = weight.dim() - 2
    stride, padding, dilation = (_repeated(v, dimensions) for v in (stride, padding, dilation))
    first, second = weight.shape[:2]
    channels = (first, second * groups) if transposed else (second * groups, first)
    both = _both(tuple((p, p) for p in padding), zeros)
    return _connections(
        channels, tuple(weight.shape[2:]), stride, both, dilation, groups, "zeros", transposed, size, outputs
    )


def _connections(
    channels: tuple[int, int],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[tuple[int, int], ...],
    dilation: tuple[int, ...],
    groups: int,
    mode: str,
    transposed: bool,
    size: tuple[int, ...],
    outputs: tuple[int, ...],
) -> Connections:
    extra: tuple[int, ...] = ()
    if transposed:
        bare = Connections(channels, kernel, stride, padding, dilation, groups, mode, True, (0,) * len(kernel))
        extra = tuple(found - o for found, o in zip(outputs, bare.outputs(size), strict=True))
    return Connections(channels, kernel, stride, padding, dilation, groups, mode, transposed, extra)


def _both(padding: tuple[tuple[int, int], ...], zeros: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
    if not zeros:
        return padding
    return tuple((p + z, q + w) for (p, q), (z, w) in zip(padding, zeros, strict=True))


def _repeated(values: Sequence[int], length: int) -> tuple[int, ...]:
    return tuple(values) * length if len(values) == 1 else tuple(values)
