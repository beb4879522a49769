# SPDX-License-Identifier: Apache-2.0
"""The fan-out map equals visiting every synapse, and gives the published connection counts of the paper's network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st

from spikefold.errors import NetworkError, UnsupportedError
from spikefold.export.fanout import Connections, dense_padded, fanout
from spikefold.export.ops import Conv2d, Dense, Shape, SumPool2d


def _visit(op: Conv2d, shape: tuple[int, int, int]) -> np.ndarray:
    """Every synapse, one by one: outputs, taps, input channel 0 of its group."""
    c_out, height, width = op.output_shape(shape)
    found = np.zeros(shape[1:], np.int64)
    for _ in range(c_out // op.groups):
        for row in range(height):
            for column in range(width):
                for ky in range(op.weight.shape[2]):
                    for kx in range(op.weight.shape[3]):
                        y = row * op.stride[0] + ky * op.dilation[0] - op.padding[0]
                        x = column * op.stride[1] + kx * op.dilation[1] - op.padding[1]
                        if 0 <= y < shape[1] and 0 <= x < shape[2]:
                            found[y, x] += 1
    return found


pair = st.tuples(st.integers(1, 3), st.integers(1, 3))


@settings(max_examples=400, deadline=None, derandomize=True)
@given(
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=pair,
    dilation=pair,
    padding=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    groups=st.integers(1, 3),
    per_group=st.integers(1, 2),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
)
def test_every_synapse_is_counted_once(kernel, stride, dilation, padding, groups, per_group, size) -> None:  # type: ignore[no-untyped-def]
    op = Conv2d(np.ones((groups * per_group, 1, *kernel)), None, stride, padding, dilation, groups)
    shape = (groups, *size)
    try:
        op.output_shape(shape)
    except NetworkError:
        reject()  # the kernel does not fit: no layer
    assert np.array_equal(fanout(op, shape), _visit(op, shape))


@pytest.mark.parametrize(
    ("c_in", "c_out", "kernel", "stride", "size", "exact", "dense"),
    [
        (2, 64, 3, 1, 32, 1_131_008, 1_179_648),
        (64, 128, 3, 1, 32, 72_384_512, 75_497_472),
        (128, 128, 3, 1, 16, 34_668_544, 37_748_736),
        (64, 128, 4, 2, 32, 31_490_048, 33_554_432),
        (128, 128, 4, 2, 16, 14_745_600, 16_777_216),
    ],
    ids=["conv1", "conv2", "conv3", "conv2 folded", "conv3 folded"],
)
def test_the_papers_network_has_its_published_connections(
    c_in: int, c_out: int, kernel: int, stride: int, size: int, exact: int, dense: int
) -> None:
    op = Conv2d(np.ones((c_out, c_in, kernel, kernel)), None, (stride, stride), (1, 1))
    assert int(fanout(op, (c_in, size, size)).sum()) * c_in == exact
    assert dense_padded(op, (c_in, size, size)) == dense


def test_a_dense_layer_reaches_every_output_from_everywhere() -> None:
    op = Dense(np.ones((11, 2 * 3 * 4)))
    assert fanout(op, (2, 3, 4)).tolist() == [[11] * 4] * 3
    assert dense_padded(op, (2, 3, 4)) == 264


def test_what_has_no_synapses_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="SumPool2d has no synapses"):
        fanout(SumPool2d((2, 2)), (1, 4, 4))  # type: ignore[arg-type]


def _conv(
    out: int,
    channels: int,
    kernel: tuple[int, int] = (3, 3),
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
) -> Conv2d:
    return Conv2d(np.ones((out, channels // groups, *kernel)), None, stride, padding, dilation, groups)


def _ones_convolution(op: Conv2d, shape: Shape) -> np.ndarray:
    """What a convolution of ones hands back to each input: the gradient of its sum; ``(C, H, W)``."""
    x = torch.zeros(1, *shape, dtype=torch.float64, requires_grad=True)
    weight = torch.ones(op.weight.shape, dtype=torch.float64)
    torch.nn.functional.conv2d(x, weight, None, op.stride, op.padding, op.dilation, op.groups).sum().backward()
    assert x.grad is not None
    return x.grad[0].numpy().astype(int)


@st.composite
def _layers(draw: st.DrawFn) -> tuple[Conv2d, Shape]:
    def pair(low: int, high: int) -> tuple[int, int]:
        return draw(st.integers(low, high)), draw(st.integers(low, high))

    groups = draw(st.integers(1, 3))
    channels, out = groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
    op = _conv(out, channels, pair(1, 4), pair(1, 3), pair(0, 3), pair(1, 2), groups)
    shape = (channels, *pair(1, 9))
    try:
        op.output_shape(shape)
    except NetworkError:
        assume(False)
    return op, shape


@settings(max_examples=200, deadline=None, derandomize=True)
@given(_layers())
def test_fan_out_is_the_gradient_of_a_convolution_of_ones(layer: tuple[Conv2d, Shape]) -> None:
    """Another witness than visiting synapses, and with several channels in a group."""
    op, shape = layer
    found, expected = fanout(op, shape), _ones_convolution(op, shape)
    assert found.dtype == np.int64
    assert np.array_equal(np.broadcast_to(found, shape), expected)
    outputs = int(np.prod(op.output_shape(shape)))
    assert dense_padded(op, shape) == outputs * int(np.prod(op.weight.shape[1:])) >= expected.sum()


def test_a_stride_makes_neighbours_differ_inside_the_frame_too() -> None:
    """conv3 of the fact sheet's test network: stride 2, 4 groups, 32 frames."""
    op, shape = _conv(32, 32, stride=(2, 2), groups=4), (32, 8, 8)
    assert dense_padded(op, shape) * 32 == 1_179_648
    assert int(fanout(op, shape).sum()) * 32 * 32 == 991_232
    assert fanout(op, shape)[0].tolist() == [8, 16, 8, 16, 8, 16, 8, 8]


def test_rows_and_columns_keep_their_places() -> None:
    assert fanout(_conv(1, 1, (1, 3), padding=(0, 0)), (1, 2, 5)).tolist() == [[1, 2, 3, 2, 1]] * 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"stride": (1,)},
        {"groups": 2},
        {"padding_mode": "mirror"},
        {"transposed": True},
        {"transposed": True, "output_padding": (0, 0), "padding_mode": "circular"},
    ],
)
def test_connections_that_make_no_layer_are_refused(wrong: dict[str, object]) -> None:
    right: dict[str, object] = {
        "channels": (3, 4),
        "kernel": (3, 3),
        "stride": (1, 1),
        "padding": ((1, 1), (1, 1)),
        "dilation": (1, 1),
    }
    assert Connections(**right).outputs((5, 5)) == (5, 5)  # type: ignore[arg-type]
    with pytest.raises(NetworkError):
        Connections(**right | wrong)  # type: ignore[arg-type]


def test_a_padding_that_copies_leaves_no_tap_without_a_value() -> None:
    sizes = (5, 4)
    for mode in ("circular", "reflect", "replicate"):
        one = Connections((2, 3), (3, 3), (2, 1), ((1, 1), (1, 1)), (1, 1), 1, mode)
        assert int(one.taps(sizes).sum()) * 2 * one.per_input == one.dense_padded(sizes) > 0
    zeros = Connections((2, 3), (3, 3), (2, 1), ((1, 1), (1, 1)), (1, 1))
    assert int(zeros.taps(sizes).sum()) * 2 * zeros.per_input < zeros.dense_padded(sizes)
