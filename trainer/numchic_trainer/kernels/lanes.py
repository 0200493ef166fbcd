# SPDX-License-Identifier: BSD-3-Clause
"""Sixteen float32 numbers side by side, which the processor takes through one operation together.

A compiler turns loops over arrays into such operations itself, but keeps no sums in registers,
since that changes the order of additions. Here the order is written down: lane k of a sum adds up
every sixteenth number, whatever the processor.

Numbers are taken from and put into one-dimensional contiguous arrays at given places. Only plain
Python checks these, in the tests: an array needs room behind its last element wherever sixteen are
taken for fewer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from numchic_bitstream.arrays import F32, F64
from numchic_bitstream.kernels import describe

LANES = 16

Lanes = F32
"""Of shape (16,) where kernels are run as they are written."""

# The signatures of intrinsics are those of their twins, which say what they do.
# ruff: noqa: D103, ARG001


def _inside(array: F32 | F64, i: int, n: int = LANES) -> slice:
    """Places of array[i] to array[i + n - 1], all of which must be there."""
    if i < 0 or i + n > array.size:
        raise IndexError(f"{n} numbers from {i} on, of {array.size}")
    return slice(i, i + n)


def _load(array: F32, i: int) -> Lanes:
    """Take array[i] to array[i + 15]."""
    return array[_inside(array, i)].copy()


def _save(lanes: Lanes, array: F32, i: int) -> None:
    """Put the lanes to array[i] to array[i + 15]."""
    array[_inside(array, i)] = lanes


def _save_first(lanes: Lanes, array: F32, i: int, n: int) -> None:
    """Put the first n lanes, all if n >= 16 and none if n <= 0, to array[i], array[i + 1] ..."""
    n = min(max(n, 0), LANES)
    if n > 0:
        array[_inside(array, i, n)] = lanes[:n]


def _first(lanes: Lanes, n: int) -> Lanes:
    """Keep the first n lanes, all if n >= 16; the others become 0."""
    return np.where(np.arange(LANES) < n, lanes, np.float32(0))


def _spread(array: F32, i: int) -> Lanes:
    """Put array[i] into all lanes."""
    return np.full(LANES, array[_inside(array, i, 1)])


def _zeros() -> Lanes:
    """Put 0 into all lanes."""
    return np.zeros(LANES, np.float32)


def _fma(a: Lanes, b: Lanes, c: Lanes) -> Lanes:
    """Return a * b + c, rounded once."""
    return (a.astype(np.float64) * b + c).astype(np.float32)


def _plus(a: Lanes, b: Lanes) -> Lanes:
    """Return a + b."""
    return a + b


def _where_positive(a: Lanes, b: Lanes) -> Lanes:
    """Return b where a > 0, else 0."""
    return np.where(a > 0, b, np.float32(0))


def _interleave(a: Lanes, b: Lanes) -> tuple[Lanes, Lanes]:
    """Return a[0], b[0], a[1], b[1] ... in two halves."""
    both = np.stack([a, b], 1).ravel()
    return both[:LANES], both[LANES:]


def _separate(a: Lanes, b: Lanes) -> tuple[Lanes, Lanes]:
    """Undo :func:`interleave`."""
    both = np.concatenate([a, b])
    return both[::2], both[1::2]


def _accumulate(lanes: Lanes, array: F64, i: int) -> None:
    """Add the lanes to array[i] to array[i + 15] in float64."""
    array[_inside(array, i)] += lanes


if TYPE_CHECKING or describe() == "python":
    load, save, save_first, first = _load, _save, _save_first, _first
    spread, zeros = _spread, _zeros
    fma, plus, where_positive = _fma, _plus, _where_positive
    interleave, separate, accumulate = _interleave, _separate, _accumulate
else:
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils, errors
    from numba.core.datamodel import models
    from numba.extending import intrinsic, register_model

    class _LanesType(types.Type):
        def __init__(self) -> None:
            super().__init__(name="lanes")

    _lanes = _LanesType()
    _vector = ir.VectorType(ir.FloatType(), LANES)
    _wide = ir.VectorType(ir.DoubleType(), LANES)

    @register_model(_LanesType)
    class _Model(models.PrimitiveModel):
        def __init__(self, manager: Any, kind: Any) -> None:
            super().__init__(manager, kind, _vector)

    def _check(array: Any, dtype: Any = types.float32) -> None:
        """Refuse an array whose memory is not one number after another."""
        if (array.dtype, array.ndim, array.layout) != (dtype, 1, "C"):
            raise errors.TypingError(f"lanes are no part of {array}")

    def _place(context: Any, builder: Any, kind: Any, array: Any, i: Any, as_type: Any) -> Any:
        """Give the address of an element; without checks, and negative indices are not special."""
        data = context.make_array(kind)(context, builder, array).data
        return builder.bitcast(builder.gep(data, [i]), as_type.as_pointer())

    @intrinsic
    def load(_: Any, array: Any, i: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            place = _place(context, builder, signature.args[0], *arguments, _vector)
            return builder.load(place, align=4)

        _check(array)
        return _lanes(array, types.intp), generate

    @intrinsic
    def save(_: Any, lanes: Any, array: Any, i: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            place = _place(context, builder, signature.args[1], *arguments[1:], _vector)
            builder.store(arguments[0], place, align=4)
            return context.get_dummy_value()

        _check(array)
        return types.void(lanes, array, types.intp), generate

    @intrinsic
    def save_first(_: Any, lanes: Any, array: Any, i: Any, n: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            value, array_, i_, n_ = arguments
            kind = signature.args[1]
            whole = builder.icmp_signed(">=", n_, n_.type(LANES))
            with builder.if_else(whole) as (then, otherwise):
                with then:
                    place = _place(context, builder, kind, array_, i_, _vector)
                    builder.store(value, place, align=4)
                with otherwise, cgutils.for_range(builder, n_) as loop:
                    at = builder.add(i_, loop.index)
                    place = _place(context, builder, kind, array_, at, ir.FloatType())
                    builder.store(builder.extract_element(value, loop.index), place)
            return context.get_dummy_value()

        _check(array)
        return types.void(lanes, array, types.intp, types.intp), generate

    @intrinsic
    def first(_: Any, lanes: Any, n: Any) -> Any:
        def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
            numbers = ir.VectorType(ir.IntType(32), LANES)
            counted = numbers([*range(LANES)])
            n_ = builder.select(
                builder.icmp_signed("<", arguments[1], arguments[1].type(LANES)),
                arguments[1],
                arguments[1].type(LANES),
            )
            limit = _filled(builder, builder.trunc(n_, ir.IntType(32)))
            kept = builder.icmp_signed("<", counted, limit)
            return builder.select(kept, arguments[0], _vector([0.0] * LANES))

        return _lanes(lanes, types.intp), generate

    def _filled(builder: Any, number: Any) -> Any:
        nothing = ir.VectorType(number.type, LANES)(ir.Undefined)
        one = builder.insert_element(nothing, number, ir.IntType(32)(0))
        order = ir.VectorType(ir.IntType(32), LANES)([0] * LANES)
        return builder.shuffle_vector(one, nothing, order)

    @intrinsic
    def spread(_: Any, array: Any, i: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            place = _place(context, builder, signature.args[0], *arguments, ir.FloatType())
            return _filled(builder, builder.load(place))

        _check(array)
        return _lanes(array, types.intp), generate

    @intrinsic
    def zeros(_: Any) -> Any:
        return _lanes(), lambda *_: _vector([0.0] * LANES)

    @intrinsic
    def fma(_: Any, a: Any, b: Any, c: Any) -> Any:
        def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
            kind = ir.FunctionType(_vector, [_vector] * 3)
            called = cgutils.get_or_insert_function(builder.module, kind, "llvm.fma.v16f32")
            return builder.call(called, arguments)

        return _lanes(a, b, c), generate

    @intrinsic
    def plus(_: Any, a: Any, b: Any) -> Any:
        def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
            return builder.fadd(*arguments)

        return _lanes(a, b), generate

    @intrinsic
    def where_positive(_: Any, a: Any, b: Any) -> Any:
        def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
            nothing = _vector([0.0] * LANES)
            positive = builder.fcmp_ordered(">", arguments[0], nothing)
            return builder.select(positive, arguments[1], nothing)

        return _lanes(a, b), generate

    def _shuffled(orders: list[list[int]]) -> Any:
        """Give the generator of two shuffles of two vectors."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            indices = ir.VectorType(ir.IntType(32), LANES)
            both = [builder.shuffle_vector(*arguments, indices(order)) for order in orders]
            return context.make_tuple(builder, signature.return_type, both)

        return generate

    _MERGED = [k // 2 + k % 2 * LANES for k in range(2 * LANES)]

    @intrinsic
    def interleave(_: Any, a: Any, b: Any) -> Any:
        orders = [_MERGED[:LANES], _MERGED[LANES:]]
        return types.UniTuple(_lanes, 2)(a, b), _shuffled(orders)

    @intrinsic
    def separate(_: Any, a: Any, b: Any) -> Any:
        orders = [[*range(e, 2 * LANES, 2)] for e in (0, 1)]
        return types.UniTuple(_lanes, 2)(a, b), _shuffled(orders)

    @intrinsic
    def accumulate(_: Any, lanes: Any, array: Any, i: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            place = _place(context, builder, signature.args[1], *arguments[1:], _wide)
            before = builder.load(place, align=8)
            after = builder.fadd(before, builder.fpext(arguments[0], _wide))
            builder.store(after, place, align=8)
            return context.get_dummy_value()

        _check(array, types.float64)
        return types.void(lanes, array, types.intp), generate
