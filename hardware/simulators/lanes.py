# SPDX-License-Identifier: Apache-2.0
"""Vector instructions for compiled loops over whole numbers: what numba's own loops leave scalar.

The event of a convolution reaches short rows of neurons, 16 to 200 of them. LLVM turns a loop over such a row into
blocks of four vectors and does the rest one by one, which is most of the row. Here every block is one vector of 32
bytes (16, 8 or 4 numbers), and only what is left behind the last one is done one by one. LLVM splits or joins vectors
for processors that have others, so the results are the same everywhere.

These are functions of compiled code only. Arrays are contiguous and of one type, places in them are unsigned, and
nothing checks them. Several rows are given as the first place, the length and the number of rows, and the distance
from one to the next in each array.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_compiled_only: Any = intrinsic
_BYTES = 32
_Body = Callable[[Any, "_Lanes"], None]


def lanes_of(itemsize: int) -> int:
    """How many numbers of so many bytes one vector holds."""
    return _BYTES // itemsize


class _Lanes:
    """Some neighbouring numbers of an array, as many as a vector holds or one, and a place to add them up in."""

    def __init__(self, builder: Any, word: Any, count: int, start: int = 0) -> None:
        self.builder, self.count, self.size = builder, count, word.bitwidth // 8
        self.scalar = ir.IntType(word.bitwidth)
        self.vector = ir.VectorType(self.scalar, count)
        self.kept = cgutils.alloca_once_value(builder, ir.Constant(self.vector, [start] * count))

    def splat(self, value: Any) -> Any:
        vector = ir.Constant(self.vector, ir.Undefined)
        for lane in range(self.count):
            vector = self.builder.insert_element(vector, value, ir.IntType(32)(lane))
        return vector

    def place(self, data: Any, index: Any) -> Any:
        return self.builder.bitcast(self.builder.gep(data, [index]), self.vector.as_pointer())

    def load(self, data: Any, index: Any) -> Any:
        return self.builder.load(self.place(data, index), align=self.size)

    def store(self, value: Any, data: Any, index: Any) -> None:
        self.builder.store(value, self.place(data, index), align=self.size)

    def keep(self, value: Any, sign: str, *, signed: bool) -> None:
        """Go on with the larger or smaller (``sign``) of what was kept and this, lane by lane."""
        kept = self.builder.load(self.kept)
        compare = self.builder.icmp_signed if signed else self.builder.icmp_unsigned
        self.builder.store(self.builder.select(compare(sign, value, kept), value, kept), self.kept)

    def one(self, sign: str, *, signed: bool) -> Any:
        """The largest or smallest of all lanes that were kept."""
        vector, count = self.builder.load(self.kept), self.count
        compare = self.builder.icmp_signed if signed else self.builder.icmp_unsigned
        while count > 1:
            count //= 2
            kind = ir.VectorType(ir.IntType(32), count)
            nothing = ir.Constant(vector.type, ir.Undefined)
            low, high = (
                self.builder.shuffle_vector(vector, nothing, ir.Constant(kind, list(range(first, first + count))))
                for first in (0, count)
            )
            vector = self.builder.select(compare(sign, low, high), low, high)
        return self.builder.extract_element(vector, ir.IntType(32)(0))


def _blocks(builder: Any, width: Any, pair: tuple[_Lanes, _Lanes], body: _Body) -> None:
    """The body for each whole vector of a row, and then for each number behind the last one."""
    wide, narrow = pair
    lanes = width.type(wide.count)
    vectors = builder.udiv(width, lanes)
    with cgutils.for_range(builder, vectors) as loop:
        body(builder.mul(loop.index, lanes), wide)
    with cgutils.for_range(builder, width, start=builder.mul(vectors, lanes)) as loop:
        body(loop.index, narrow)


def _pair(builder: Any, word: Any, start: int = 0) -> tuple[_Lanes, _Lanes]:
    return _Lanes(builder, word, lanes_of(word.bitwidth // 8), start), _Lanes(builder, word, 1, start)


def _of_both(pair: tuple[_Lanes, _Lanes], sign: str, *, signed: bool) -> Any:
    one, other = (lanes.one(sign, signed=signed) for lanes in pair)
    builder = pair[0].builder
    compare = builder.icmp_signed if signed else builder.icmp_unsigned
    return builder.select(compare(sign, one, other), one, other)


def _data(context: Any, builder: Any, kind: Any, array: Any) -> Any:
    return context.make_array(kind)(context, builder, array).data


@_compiled_only  # type: ignore[untyped-decorator, unused-ignore]
def add_rows(
    typing: Any, v: Any, start: Any, weights: Any, first: Any, width: Any, height: Any, v_step: Any, step: Any,
    floor: Any,
) -> Any:  # fmt: skip
    """Add rows of weights to rows of states; how far the farthest sum lies above ``floor``, as an unsigned number.

    A sum below the floor counts as far above it.
    """
    word = v.dtype

    def codegen(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        v_data, w_data = (_data(context, builder, signature.args[n], given[n]) for n in (0, 2))
        start = given[1]
        first, width, height, v_step, step, floor = given[3:]
        pair = _pair(builder, word)
        floors = {lanes.count: lanes.splat(floor) for lanes in pair}
        with cgutils.for_range(builder, height) as row:
            at = builder.add(start, builder.mul(row.index, v_step))
            weight_at = builder.add(first, builder.mul(row.index, step))

            def body(offset: Any, lanes: _Lanes) -> None:
                place = builder.add(at, offset)
                total = builder.add(lanes.load(v_data, place), lanes.load(w_data, builder.add(weight_at, offset)))
                lanes.store(total, v_data, place)
                lanes.keep(builder.sub(total, floors[lanes.count]), ">", signed=False)

            _blocks(builder, width, pair, body)
        return _of_both(pair, ">", signed=False)

    place, size = types.uint64, types.int64
    unsigned = types.Integer.from_bitwidth(word.bitwidth, signed=False)
    return unsigned(v, place, weights, place, size, size, size, size, word), codegen


@_compiled_only  # type: ignore[untyped-decorator, unused-ignore]
def add_bounded_rows(
    typing: Any, v: Any, start: Any, weights: Any, first: Any, width: Any, height: Any, v_step: Any, step: Any,
    floor: Any, bound: Any,
) -> Any:  # fmt: skip
    """As `add_rows`, and sums below the bound become the bound; how far the farthest sum lies, and the lowest sum.

    Both are of the sums as they were before. Of no numbers the lowest is the highest of the type.
    """
    word = v.dtype

    def codegen(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        v_data, w_data = (_data(context, builder, signature.args[n], given[n]) for n in (0, 2))
        start = given[1]
        first, width, height, v_step, step, floor, bound = given[3:]
        pair, lows = _pair(builder, word), _pair(builder, word, 2 ** (word.bitwidth - 1) - 1)
        low_of = {low.count: low for low in lows}
        floors, bounds = ({lanes.count: lanes.splat(value) for lanes in pair} for value in (floor, bound))
        with cgutils.for_range(builder, height) as row:
            at = builder.add(start, builder.mul(row.index, v_step))
            weight_at = builder.add(first, builder.mul(row.index, step))

            def body(offset: Any, lanes: _Lanes) -> None:
                place = builder.add(at, offset)
                total = builder.add(lanes.load(v_data, place), lanes.load(w_data, builder.add(weight_at, offset)))
                above = builder.icmp_signed(">", total, bounds[lanes.count])
                lanes.store(builder.select(above, total, bounds[lanes.count]), v_data, place)
                lanes.keep(builder.sub(total, floors[lanes.count]), ">", signed=False)
                low_of[lanes.count].keep(total, "<", signed=True)

            _blocks(builder, width, pair, body)
        found = [_of_both(pair, ">", signed=False), _of_both(lows, "<", signed=True)]
        return context.make_tuple(builder, signature.return_type, found)

    place, size = types.uint64, types.int64
    both = types.Tuple([types.Integer.from_bitwidth(word.bitwidth, signed=False), word])
    return both(v, place, weights, place, size, size, size, size, word, word), codegen


@_compiled_only  # type: ignore[untyped-decorator, unused-ignore]
def lowest_and_highest(typing: Any, v: Any, start: Any, width: Any, height: Any, v_step: Any) -> Any:
    """The lowest and the highest number of some rows, of at least one number."""
    word = v.dtype
    most = 2 ** (word.bitwidth - 1) - 1

    def codegen(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        v_data = _data(context, builder, signature.args[0], given[0])
        start, width, height, v_step = given[1:]
        lows, highs = _pair(builder, word, most), _pair(builder, word, -most - 1)
        with cgutils.for_range(builder, height) as row:
            at = builder.add(start, builder.mul(row.index, v_step))
            of_high = {low.count: high for low, high in zip(lows, highs, strict=True)}

            def body(offset: Any, lanes: _Lanes) -> None:
                found = lanes.load(v_data, builder.add(at, offset))
                lanes.keep(found, "<", signed=True)
                of_high[lanes.count].keep(found, ">", signed=True)

            _blocks(builder, width, lows, body)
        both = [_of_both(lows, "<", signed=True), _of_both(highs, ">", signed=True)]
        return context.make_tuple(builder, signature.return_type, both)

    size = types.int64
    return types.UniTuple(word, 2)(v, types.uint64, size, size, size), codegen


@_compiled_only  # type: ignore[untyped-decorator, unused-ignore]
def at_least(typing: Any, v: Any, start: Any, threshold: Any) -> Any:
    """Which of the numbers of one whole vector are at the threshold or above it: bit n for number n."""
    word = v.dtype

    def codegen(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        lanes = _Lanes(builder, word, lanes_of(word.bitwidth // 8))
        found = lanes.load(_data(context, builder, signature.args[0], given[0]), given[1])
        bits = builder.icmp_signed(">=", found, lanes.splat(given[2]))
        return builder.zext(builder.bitcast(bits, ir.IntType(lanes.count)), ir.IntType(64))

    return types.uint64(v, types.uint64, word), codegen


@_compiled_only  # type: ignore[untyped-decorator, unused-ignore]
def not_zero(typing: Any, values: Any, start: Any) -> Any:
    """Which of the numbers of one whole vector are not 0: bit n for number n."""
    word = values.dtype

    def codegen(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        lanes = _Lanes(builder, word, lanes_of(word.bitwidth // 8))
        found = lanes.load(_data(context, builder, signature.args[0], given[0]), given[1])
        bits = builder.icmp_unsigned("!=", found, ir.Constant(lanes.vector, [0] * lanes.count))
        return builder.zext(builder.bitcast(bits, ir.IntType(lanes.count)), ir.IntType(64))

    return types.uint64(values, types.uint64), codegen


@_compiled_only  # type: ignore[untyped-decorator, unused-ignore]
def lowest_bit(typing: Any, bits: Any) -> Any:
    """The number of the lowest bit that is set; 64 where none is."""

    def codegen(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.cttz(given[0], ir.IntType(1)(0))

    return types.uint64(types.uint64), codegen


@_compiled_only  # type: ignore[untyped-decorator, unused-ignore]
def bits_set(typing: Any, bits: Any) -> Any:
    """How many bits are set."""

    def codegen(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.ctpop(given[0])

    return types.uint64(types.uint64), codegen
