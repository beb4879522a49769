# SPDX-License-Identifier: Apache-2.0
"""Makes one NIR weight or pool node an operation of ours, exactly, or says why that cannot be.

Axes are torch's, as sinabs and snnTorch write them: weight ``(Cout, Cin/groups, kH, kW)``, pairs (height, width). A
bias of zeros is no bias, for NIR's Conv2d and Affine cannot be without one.

Padding "same" is torch's: ``d (k - 1)`` zeros in all, the odd one behind. Where that is odd the kernel gets zeros:
the dilation is written out, one row or column of zeros goes in front, and the padding is the same on both sides.
"""

from __future__ import annotations

import numpy as np

from spikefold.errors import Issue, UnsupportedError
from spikefold.export.nir.file import Node
from spikefold.export.ops import AvgPool2d, Conv2d, Dense, Pair, SumPool2d

KINDS = {
    "Conv2d": {"input_shape", "weight", "stride", "padding", "dilation", "groups", "bias"},
    "Linear": {"weight"},
    "Affine": {"weight", "bias"},
    "SumPool2d": {"kernel_size", "stride", "padding"},
    "AvgPool2d": {"kernel_size", "stride", "padding"},
}
"""The nodes of the subset that compute without a state, and the fields that each may have."""

_LONGEST = 1024
"""Side of a kernel that is written out: beyond any input map of a chip."""


def operation(node: Node, size: Pair | None) -> Conv2d | Dense | SumPool2d | AvgPool2d:
    """The operation of a node; ``size`` is the height and width of its input, None where it is not known.

    Raises:
        UnsupportedError: with every reason at once.
        DataError: a field is missing or damaged.
    """
    if node.kind == "Conv2d":
        return _conv(node, size)
    if node.kind in ("Linear", "Affine"):
        return _dense(node)
    return _pool(node)


def _dense(node: Node) -> Dense:
    weight = node.numbers("weight")
    if weight.ndim != 2:
        hint = "write one matrix (out, in) over the flattened input"
        _refuse(node, [Issue("one matrix", str(node), f"weight {weight.shape}", "(out, in)", hint)])
    return Dense(weight, _bias(node) if node.kind == "Affine" else None)


def _conv(node: Node, size: Pair | None) -> Conv2d:
    weight, groups = node.numbers("weight"), node.whole("groups")
    stride, dilation = _pair(node, "stride"), _pair(node, "dilation")
    issues = []
    if weight.ndim != 4 or groups.size != 1:
        got = f"weight {weight.shape}, groups {groups.tolist()}"
        _refuse(
            node, [Issue("a kernel", str(node), got, "(Cout, Cin/groups, kH, kW)", "write it as a 2d convolution")]
        )
    declared = node.fields.get("input_shape")
    if (
        size is not None
        and isinstance(declared, np.ndarray)
        and declared.astype(object).ravel().tolist() != list(size)
    ):
        hint = "the file contradicts itself, or input_shape=[C,H,W] is wrong"
        issues.append(Issue("input shape", str(node), f"{declared.tolist()} in the node", f"{size} arrives", hint))
    padding = node.fields.get("padding")
    if isinstance(padding, str) and padding == "valid":
        pads = (0, 0)
    elif isinstance(padding, str) and padding == "same":
        if stride != (1, 1):
            hint = "give the padding in numbers"
            issues.append(Issue("padding 'same'", str(node), f"stride {stride}", "stride 1, as in torch", hint))
        weight, pads, dilation = _same(node, weight, dilation)
    elif isinstance(padding, str):
        issues.append(Issue("padding", str(node), repr(padding), "'same', 'valid' or numbers", "give numbers"))
    else:
        pads = _pair(node, "padding")
    _refuse(node, issues)
    return Conv2d(weight, _bias(node), stride, pads, dilation, int(groups.flat[0]))


def _same(node: Node, weight: np.ndarray, dilation: Pair) -> tuple[np.ndarray, Pair, Pair]:
    pads, steps = [], []
    for axis, d in zip((2, 3), dilation, strict=True):
        total = d * (weight.shape[axis] - 1)
        if total % 2 and total > _LONGEST:
            hint = "give the padding in numbers"
            _refuse(node, [Issue("padding 'same'", str(node), f"dilation {d}", f"{_LONGEST} wide at most", hint)])
        if total % 2:
            taps = np.moveaxis(weight, axis, 0)
            written = np.zeros((total + 2, *taps.shape[1:]))
            written[1::d] = taps
            weight, d, total = np.moveaxis(written, 0, axis), 1, total + 1
        pads.append(total // 2)
        steps.append(d)
    return weight, (pads[0], pads[1]), (steps[0], steps[1])


def _pool(node: Node) -> SumPool2d | AvgPool2d:
    kernel, stride, padding = (_pair(node, key) for key in ("kernel_size", "stride", "padding"))
    issues = []
    if stride != kernel:
        how = "overlapping" if min(np.subtract(stride, kernel)) < 0 else "sparse"
        hint = "a stride equal to the kernel, or a convolution instead"
        issues.append(Issue("pool windows side by side", str(node), f"{how}: stride {stride}", f"{kernel}", hint))
    if padding != (0, 0):
        hint = "pad the convolution before it"
        issues.append(Issue("pool without padding", str(node), f"padding {padding}", "(0, 0)", hint))
    _refuse(node, issues)
    return SumPool2d(kernel) if node.kind == "SumPool2d" else AvgPool2d(kernel)


def _bias(node: Node) -> np.ndarray | None:
    bias = node.numbers("bias")
    return bias.ravel() if bias.any() else None


def _pair(node: Node, key: str) -> Pair:
    values = node.whole(key).ravel()
    if values.size not in (1, 2):
        got = f"{key} {values.tolist()}"
        _refuse(node, [Issue("two axes", str(node), got, "one or two numbers", "write it for two dimensions")])
    return int(values[0]), int(values[-1])


def _refuse(node: Node, issues: list[Issue]) -> None:
    if issues:
        raise UnsupportedError("this node cannot be imported", where=str(node), issues=issues)
