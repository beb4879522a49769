# SPDX-License-Identifier: Apache-2.0
"""What each operation of PyTorch costs that runs outside of a weight layer or neuron, by its name in ``aten``.

An operation has a rule here or it is listed as not priced: those that move or make values without arithmetic,
element-wise arithmetic, batch norm under each backend's name, pools, products, convolutions and fused attention.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from itertools import product
from typing import Any, NamedTuple

import torch

from spikefold.energy.live.geometry import of_operation
from spikefold.energy.live.ledger import Ledger
from spikefold.energy.live.op_tables import (
    ADDS,
    ATTENTION,
    BATCH_NORM,
    COMPARED,
    CONVOLUTIONS,
    FREE,
    KEEPS_ALL,
    MOVES,
    POOLS,
    PRODUCTS,
    SUMS,
)
from spikefold.energy.live.values import Tag, general, size


class Call(NamedTuple):
    """One operation that ran: its arguments by name, its result, the module it ran in."""

    op: str
    arguments: Mapping[str, Any]
    out: Any
    where: str
    parameter_of: Callable[[torch.Tensor], str]
    ledger: Ledger

    @property
    def row(self) -> str:
        """Name of the row of this call, if no parameter names it."""
        return f"{self.where}.{self.op}"

    def tensors(self) -> list[torch.Tensor]:
        """Tensors among the arguments, also those in lists."""
        flat = [
            one
            for value in self.arguments.values()
            for one in (value if isinstance(value, list | tuple) else [value])
        ]
        return [one for one in flat if isinstance(one, torch.Tensor)]

    def unpriced(self, op: str = "") -> None:
        """List the operation as seen and not priced."""
        self.ledger.unpriced[(op or self.op, self.where)] += 1


Rule = Callable[[Call], None]


@cache
def rule(op: str) -> Rule | None:
    """The rule of an operation, by its name in ``aten`` without a trailing underscore."""
    for names, found in (
        (MOVES, _move),
        (FREE, _free),
        (ADDS, _add),
        (SUMS, _sum),
        (POOLS, _average_pool),
        (BATCH_NORM, _batch_norm),
        (CONVOLUTIONS, _convolution),
        (PRODUCTS, _product),
        (ATTENTION, _attention),
    ):
        if op in names:
            return found
    return {"mul": _multiply, "div": _divide, "addcmul": _addcmul}.get(op)


def not_priced(call: Call) -> None:
    """The rule of everything else."""
    call.unpriced()


def _free(call: Call) -> None:
    """Nothing is computed."""


def _move(call: Call) -> None:
    """No arithmetic; what comes out is as what went in, unless the parts differ or the dtype rounds."""
    tags = call.ledger.tags
    sources = [one for one in call.tensors() if one.dtype not in (torch.int64, torch.int32)]
    known = [tags.get(one) for one in sources]
    outs = [
        one
        for one in (call.out if isinstance(call.out, list | tuple) else [call.out])
        if isinstance(one, torch.Tensor)
    ]
    if call.op in COMPARED:
        call.unpriced(call.op.removesuffix("_with_indices"))
        outs = outs[:1]
    if call.op == "constant_pad_nd":
        _pad(call, known[0], outs[0])
        return
    tags_known = [tag for tag in known if tag is not None]
    if not known or len(tags_known) < len(known) or len({tag.factor for tag in tags_known}) > 1:
        return
    most = max(tag.most for tag in tags_known) if all(tag.most for tag in tags_known) else 0
    looked_at = all(tag.kind for tag in tags_known)
    ones = tags_known[0].ones if call.op in KEEPS_ALL else -1
    for out in outs:
        zeros = _kept_zeros(tags_known, sources, out)
        if out.dtype == sources[0].dtype and (looked_at or zeros):
            kind = general(*(tag.kind for tag in tags_known)) if looked_at else ""
            tags.put(out, Tag(kind, tags_known[0].factor, zeros, most, ones))


def _kept_zeros(known: list[Tag], sources: list[torch.Tensor], out: torch.Tensor) -> tuple[tuple[int, int], ...]:
    """The zeros around the last dimensions, if these are still the last."""
    zeros = known[0].zeros if len(known) == 1 else ()
    return zeros if zeros and out.shape[-len(zeros) :] == sources[0].shape[-len(zeros) :] else ()


def _pad(call: Call, known: Tag | None, out: torch.Tensor) -> None:
    pad = list(call.arguments["pad"])
    if call.arguments.get("value", 0) == 0 and min(pad, default=0) >= 0 and (known is None or not known.zeros):
        zeros = tuple((pad[i], pad[i + 1]) for i in range(len(pad) - 2, -2, -2))
        call.ledger.tags.put(out, known._replace(zeros=zeros) if known else Tag("", zeros=zeros))


def _batch_norm(call: Call) -> None:
    """A product and a sum an element; nothing where batch norm is folded into the weights before it."""
    values = call.arguments["input"].numel()
    call.ledger.add(f"{call.where}.batch_norm", "batch_norm", multiplies=values, adds=values)


def _multiply(call: Call) -> None:
    call.ledger.add(call.row, "mul", multiplies=call.out.numel())


def _divide(call: Call) -> None:
    """By a number: a product with its inverse. By a tensor: not priced."""
    other = call.arguments["other"]
    if isinstance(other, torch.Tensor) and other.dim():
        call.unpriced()
    else:
        call.ledger.add(f"{call.where}.mul", "mul", multiplies=call.out.numel())


def _addcmul(call: Call) -> None:
    values = call.out.numel()
    products = 1 if call.arguments.get("value", 1) == 1 else 2
    call.ledger.add(call.row, "addcmul", multiplies=products * values, adds=values)


def _add(call: Call) -> None:
    values = call.out.numel()
    call.ledger.add(call.row, "add", adds=values, multiplies=0 if call.arguments.get("alpha", 1) == 1 else values)


def _sum(call: Call) -> None:
    """All values but one are added for each result; a mean scales each, and is an average pool."""
    source = call.arguments["self"]
    made = call.out.numel()
    mean = call.op == "mean"
    call.ledger.add(call.row, call.op, adds=source.numel() - made, multiplies=made if mean else 0)
    if mean and made and source.is_floating_point():
        _pooled(call, source.numel() // made)


def _average_pool(call: Call) -> None:
    given, out = call.arguments, call.out
    dimensions = int(call.op[-2])
    sizes, outputs = given["self"].shape[-dimensions:], out.shape[-dimensions:]
    if "adaptive" in call.op:
        read, divisors = _adaptive_windows(sizes, outputs)
    else:

        def each(values: Any, other: tuple[int, ...]) -> tuple[int, ...]:
            chosen = (values,) if isinstance(values, int) else tuple(values or ())
            return (chosen or other) * (dimensions // len(chosen or other))

        kernel = each(given["kernel_size"], ())
        read, divisors = _windows(
            kernel,
            each(given.get("stride"), kernel),
            each(given.get("padding", 0), (0,)),
            sizes,
            outputs,
            given.get("count_include_pad", True),
            given.get("divisor_override"),
        )
    frames = given["self"].numel() // max(1, size(sizes))
    call.ledger.add(call.row, "avg_pool", adds=frames * read - out.numel(), multiplies=out.numel())
    if len(divisors) == 1:
        _pooled(call, next(iter(divisors)))


@lru_cache(maxsize=512)
def _adaptive_windows(sizes: torch.Size, outputs: torch.Size) -> tuple[int, frozenset[int]]:
    """As `_windows`, where the windows follow from the sizes."""
    windows = [
        [-(-(o + 1) * n // made) - o * n // made for o in range(made)] for n, made in zip(sizes, outputs, strict=True)
    ]
    divisors = frozenset(size(widths) for widths in product(*(set(line) for line in windows)))
    return size(tuple(sum(line) for line in windows)), divisors


@lru_cache(maxsize=512)
def _windows(
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    sizes: torch.Size,
    outputs: torch.Size,
    with_pad: bool,
    override: int | None,
) -> tuple[int, frozenset[int]]:
    """Positions inside the input that all windows together read, and the divisors that occur."""
    inside, divided = [], []
    for k, s, p, n, made in zip(kernel, stride, padding, sizes, outputs, strict=True):
        starts = [o * s - p for o in range(made)]
        inside.append([min(start + k, n) - max(start, 0) for start in starts])
        divided.append({min(start + k, n + p) - start for start in starts} if with_pad else set(inside[-1]))
    read = size(tuple(sum(line) for line in inside))
    if override is not None:
        return read, frozenset({override})
    return read, frozenset(size(widths) for widths in product(*divided))


def _pooled(call: Call, positions: int) -> None:
    """Means of ``positions`` whole events each: whole again, times as many."""
    before = call.ledger.tags.of(call.arguments["self"])
    most = before.most * positions
    # the events are recovered by rounding: half an event must be more than what the dtype rounds
    if before.kind == "analog" or not 0 < most * torch.finfo(call.out.dtype).eps < 0.5:
        return
    kind = "graded" if before.kind == "binary" and positions > 1 else before.kind
    call.ledger.tags.put(call.out, Tag(kind, before.factor * positions, most=most))


def _convolution(call: Call) -> None:
    given = call.arguments
    x, weight = given["input" if "input" in given else "self"], given["weight"]
    dimensions = weight.dim() - 2
    found = tuple(x.shape[-dimensions:])
    zeros = () if given.get("transposed") else call.ledger.zeros_around(x, dimensions)
    spatial = tuple(n - sum(z) for n, z in zip(found, zeros, strict=True)) if zeros else found
    connections = of_operation(
        weight,
        given["stride"],
        given["padding"],
        given["dilation"],
        bool(given.get("transposed", False)),
        given["groups"],
        zeros,
        spatial,
        tuple(call.out.shape[-dimensions:]),
    )
    name = call.parameter_of(weight) or f"{call.where}.{call.op}"
    bias = call.out.numel() if given.get("bias") is not None else 0
    call.ledger.convolution(name, x, connections, spatial, bias, zeros)


def _product(call: Call) -> None:
    """A matrix product with a stored weight has synapses; one of two activations has pairs of both."""
    given = call.arguments
    a, b = (given[one] for one in _factors(given))
    name_a, name_b = call.parameter_of(a), call.parameter_of(b)
    fused = call.op in ("addmm", "baddbmm", "addmv", "_addmm_activation")
    bias = call.out.numel() if fused and given.get("beta", 1) != 0 else 0
    left, right = (a if a.dim() > 1 else a[None]), (b if b.dim() > 1 else b[:, None])  # vectors: a row, a column
    if name_b and not name_a:
        call.ledger.linear(name_b, left, right.shape[-1], bias)
    elif name_a and not name_b:
        call.ledger.linear(name_a, right.transpose(-2, -1), left.shape[-2], bias)
    else:
        shapes = "x".join(str(n) for n in (left.shape[-2], left.shape[-1], right.shape[-1]))
        call.ledger.product(f"{call.where}.matmul {shapes}", left, right)
        if bias:
            call.ledger.add(f"{call.where}.add", "add", adds=bias)
    if call.op == "_addmm_activation":
        call.unpriced("activation")


def _factors(given: Mapping[str, Any]) -> tuple[str, str]:
    for pair in (
        ("mat1", "mat2"),
        ("batch1", "batch2"),
        ("mat", "vec"),
        ("self", "mat2"),
        ("self", "vec"),
        ("self", "tensor"),
        ("self", "other"),
    ):
        if pair[0] in given and pair[1] in given:
            return pair
    raise KeyError(f"no factors among {list(given)}")


def _attention(call: Call) -> None:
    """Fused attention: Q K^T and attention times V, at the positions that the mask leaves.

    A softmax is other than zero wherever it is allowed. The products with the scale are counted, the softmax is not.
    """
    q, k, v = (call.arguments[name] for name in ("query", "key", "value"))
    if k.shape[-3] != q.shape[-3]:
        k, v = (one.repeat_interleave(q.shape[-3] // k.shape[-3], -3) for one in (k, v))
    shape = (*q.shape[:-1], k.shape[-2])
    mask = call.arguments.get("attn_mask", call.arguments.get("attn_bias"))
    allowed = None
    if mask is not None:
        allowed = mask if mask.dtype == torch.bool else ~torch.isneginf(mask)
    if call.arguments.get("is_causal"):
        causal = torch.ones(shape[-2:], dtype=torch.bool, device=q.device).tril()
        allowed = causal if allowed is None else allowed & causal
    positions = size(shape) if allowed is None else int(allowed.expand(shape).sum().item())
    call.ledger.product(f"{call.where}.attention Q K", q, k.transpose(-2, -1), allowed)
    weights = (torch.ones(shape, device=q.device) if allowed is None else allowed.expand(shape)).double()
    call.ledger.tags.put(weights, Tag("analog"))
    call.ledger.product(f"{call.where}.attention V", weights, v)
    row = call.ledger.rows[f"{call.where}.attention V"]
    row["dense"] = int(row["dense"]) - (math.prod(shape) - positions) * v.shape[-1]
    call.ledger.add(f"{call.where}.mul", "mul", multiplies=positions)
    call.unpriced("softmax")
