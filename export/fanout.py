# SPDX-License-Identifier: Apache-2.0
"""Counts how many synapses leave each input position of a layer, borders, stride, dilation and groups included.

A spike at position p costs ``F(p)`` operations, with F the product over dimensions of::

    convolution   f(i) = #{k in [0, K): stride divides i + pad - k * dilation, and the quotient is in [0, outputs)}
    transposed    f(i) = #{k in [0, K): i * stride - pad + k * dilation is in [0, outputs)}

times the output channels of its group. With a stride, F is not constant even in the interior, so a firing rate times
the dense operations is not the number of operations. One product with this map gives exact counts. Padding that
copies values (circular, reflect, replicate) sends one position to several places of the padded input: maps add up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce

import numpy as np

from spikefold.errors import NetworkError, UnsupportedError
from spikefold.export.ops import Conv2d, Dense, Shape

# of `torch.nn`, and what NumPy calls the same
PADDING_MODES = {"zeros": "constant", "circular": "wrap", "reflect": "reflect", "replicate": "edge"}


@dataclass(frozen=True)
class Connections:
    """What the synapses of a convolution depend on: 1 to 3 dimensions, plain or transposed.

    Attributes:
        channels: input and output channels.
        kernel: taps a dimension; every tuple below has the same length.
        stride: step a dimension.
        padding: positions (before, after) a dimension; of a transposed convolution, what is cut from its output.
        dilation: distance of two taps.
        groups: of channels.
        padding_mode: one of `PADDING_MODES`.
        transposed: whether it is a transposed convolution.
        output_padding: of a transposed convolution, a dimension.
    """

    channels: tuple[int, int]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    groups: int = 1
    padding_mode: str = "zeros"
    transposed: bool = False
    output_padding: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        lengths = {len(self.kernel), len(self.stride), len(self.padding), len(self.dilation)}
        if self.transposed:
            lengths.add(len(self.output_padding))
        if len(lengths) > 1:
            raise NetworkError(f"{self}: kernel, stride, padding and dilation differ in dimensions")
        if any(channels % self.groups for channels in self.channels):
            raise NetworkError(f"{self.channels} channels are not a multiple of {self.groups} groups")
        if self.padding_mode not in PADDING_MODES or (self.transposed and self.padding_mode != "zeros"):
            raise NetworkError(f"unknown padding mode {self.padding_mode!r}", hint=f"one of {list(PADDING_MODES)}")

    @property
    def per_input(self) -> int:
        """Output channels that one input channel reaches."""
        return self.channels[1] // self.groups

    def outputs(self, size: tuple[int, ...]) -> tuple[int, ...]:
        """Positions of the output for an input of this size."""
        if self.transposed:
            return tuple(
                (size[d] - 1) * self.stride[d] - sum(self.padding[d]) + self._reach(d) + self.output_padding[d] + 1
                for d in range(len(size))
            )
        return tuple(
            (size[d] + sum(self.padding[d]) - self._reach(d) - 1) // self.stride[d] + 1 for d in range(len(size))
        )

    def taps(self, size: tuple[int, ...]) -> np.ndarray:
        """Synapses that leave each position for one output channel, shape ``size``, int64."""
        outputs = self.outputs(size)
        lines = [self._line(d, size[d], outputs[d]) for d in range(len(size))]
        return reduce(np.multiply.outer, lines)

    def dense_padded(self, size: tuple[int, ...]) -> int:
        """Operations of one dense pass, every tap of every output (transposed: of every input), padding included."""
        positions = size if self.transposed else self.outputs(size)
        return self.channels[0] * self.per_input * math.prod(self.kernel) * math.prod(positions)

    def _reach(self, d: int) -> int:
        return self.dilation[d] * (self.kernel[d] - 1)

    def _line(self, d: int, size: int, outputs: int) -> np.ndarray:
        kernel, stride, dilation, (before, after) = self.kernel[d], self.stride[d], self.dilation[d], self.padding[d]
        if self.transposed:
            return _transposed_taps(size, outputs, kernel, stride, before, dilation)
        if self.padding_mode == "zeros":
            return _taps(size, outputs, kernel, stride, before, dilation)
        padded = _taps(size + before + after, outputs, kernel, stride, 0, dilation)
        source = np.pad(np.arange(size), (before, after), mode=PADDING_MODES[self.padding_mode])  # type: ignore[call-overload]
        found = np.zeros(size, np.int64)
        np.add.at(found, source, padded)
        return found


def fanout(op: Conv2d | Dense, shape: Shape) -> np.ndarray:
    """Synapses that leave each input position, ``(H, W)`` int64, equal for every input channel.

    Args:
        op: the layer.
        shape: its input ``(C, H, W)``.
    """
    if isinstance(op, Dense):
        return np.full(shape[1:], op.weight.shape[0], np.int64)
    if not isinstance(op, Conv2d):
        raise UnsupportedError(f"{type(op).__name__} has no synapses", hint="count weight layers only")
    op.output_shape(shape)
    connections = _connections(op, shape)
    return connections.taps(shape[1:]) * connections.per_input


def dense_padded(op: Conv2d | Dense, shape: Shape) -> int:
    """Operations of one dense pass as most tools count them: every tap of every output, padding included."""
    if isinstance(op, Dense):
        return int(op.weight.size)
    op.output_shape(shape)
    return _connections(op, shape).dense_padded(shape[1:])


def _connections(op: Conv2d, shape: Shape) -> Connections:
    rows, columns = op.padding
    return Connections(
        (shape[0], op.weight.shape[0]),
        op.weight.shape[2:],
        op.stride,
        ((rows, rows), (columns, columns)),
        op.dilation,
        op.groups,
    )


def _taps(size: int, outputs: int, kernel: int, stride: int, padding: int, dilation: int) -> np.ndarray:
    """``f(i)`` of a convolution for one dimension, ``(size,)``."""
    reach = np.arange(size)[:, None] + padding - np.arange(kernel)[None, :] * dilation
    hits = (reach % stride == 0) & (reach >= 0) & (reach // stride < outputs)
    return np.asarray(hits.sum(axis=1, dtype=np.int64))


def _transposed_taps(size: int, outputs: int, kernel: int, stride: int, padding: int, dilation: int) -> np.ndarray:
    """``f(i)`` of a transposed convolution for one dimension, ``(size,)``."""
    reach = np.arange(size)[:, None] * stride - padding + np.arange(kernel)[None, :] * dilation
    return np.asarray(((reach >= 0) & (reach < outputs)).sum(axis=1, dtype=np.int64))
