# SPDX-License-Identifier: BSD-3-Clause
"""Arithmetic on sixteen float32 numbers at once, by name.

The compiler turns most loops over columns into such arithmetic by itself. Not so sums over columns,
whose order is fixed, and loops whose intermediate results should stay in registers over another
loop inside; these are written with the functions below. Every lane is rounded as a number of its
own, so that results are the same on all machines, whatever the size of their registers.

A vector is a value, not an array: the functions return new ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from numchic_bitstream.arrays import F32, F64
from numchic_bitstream.kernels import describe

LANES = 16


def _load(x: F32, row: int, column: int) -> F32:
    """Take the lanes from ``column`` on of a row of float32[rows, columns]."""
    return x[row, column : column + LANES].copy()


def _store(x: F32, row: int, column: int, value: F32) -> None:
    """Put the lanes into a row of float32[rows, columns], from ``column`` on."""
    x[row, column : column + LANES] = value


def _splat(number: np.float32) -> F32:
    """Give all lanes the same value."""
    return np.full(LANES, number, np.float32)


def _add(a: F32, b: F32) -> F32:
    """Return a + b."""
    return a + b


def _multiply_add(a: F32, b: F32, c: F32) -> F32:
    """Return a * b + c, rounded once."""
    return (a.astype(np.float64) * b + c).astype(np.float32)


def _where_positive(condition: F32, value: F32) -> F32:
    """Keep the lanes of ``value`` where ``condition`` is positive; zero elsewhere."""
    return np.where(condition > 0, value, np.float32(0.0))


def _add_lanes(sums: F64, row: int, value: F32) -> None:
    """Add the lanes to a row of float64[rows, 16]."""
    sums[row] += value


if TYPE_CHECKING or describe() == "python":
    load, store, splat, add_lanes = _load, _store, _splat, _add_lanes
    add, multiply_add, where_positive = _add, _multiply_add, _where_positive
else:
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic, models, register_model

    _VECTOR = ir.VectorType(ir.FloatType(), LANES)
    _WIDE = ir.VectorType(ir.DoubleType(), LANES)
    _ZEROS = ir.Constant(_VECTOR, [0.0] * LANES)

    class _Type(types.Type):
        """Numba's type of a vector."""

        def __init__(self) -> None:
            super().__init__(name=f"float32x{LANES}")

    @register_model(_Type)
    class _Model(models.PrimitiveModel):
        """How a vector lies in memory and registers."""

        def __init__(self, manager: Any, kind: Any) -> None:
            super().__init__(manager, kind, _VECTOR)

    _type = _Type()

    def _pointer(
        context: Any, builder: Any, kind: Any, array: Any, index: tuple[Any, ...], lanes: Any
    ) -> Any:
        """Address of lanes in a C-contiguous array; indices are never negative."""
        made = context.make_array(kind)(context, builder, array)
        shape = cgutils.unpack_tuple(builder, made.shape)
        row = builder.mul(index[0], shape[1])
        position = builder.add(row, index[1]) if len(index) > 1 else row
        return builder.bitcast(builder.gep(made.data, [position]), lanes.as_pointer())

    @intrinsic
    def load(_context: Any, x: Any, _row: Any, _column: Any) -> Any:
        """Take the lanes from ``column`` on of a row of float32[rows, columns]."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            array, *index = arguments
            place = _pointer(context, builder, signature.args[0], array, tuple(index), _VECTOR)
            return builder.load(place, align=4)

        return _type(x, types.intp, types.intp), generate

    @intrinsic
    def store(_context: Any, x: Any, _row: Any, _column: Any, value: Any) -> Any:
        """Put the lanes into a row of float32[rows, columns], from ``column`` on."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            array, row, column, lanes = arguments
            place = _pointer(context, builder, signature.args[0], array, (row, column), _VECTOR)
            builder.store(lanes, place, align=4)
            return context.get_dummy_value()

        return types.void(x, types.intp, types.intp, value), generate

    @intrinsic
    def splat(_context: Any, _number: Any) -> Any:
        """Give all lanes the same value."""

        def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
            index = ir.IntType(32)
            first = builder.insert_element(
                ir.Constant(_VECTOR, ir.Undefined), arguments[0], index(0)
            )
            zeros = ir.Constant(ir.VectorType(index, LANES), [0] * LANES)
            return builder.shuffle_vector(first, ir.Constant(_VECTOR, ir.Undefined), zeros)

        return _type(types.float32), generate

    @intrinsic
    def add(_context: Any, a: Any, b: Any) -> Any:
        """Return a + b."""

        def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
            return builder.fadd(*arguments)

        return _type(a, b), generate

    @intrinsic
    def multiply_add(_context: Any, a: Any, b: Any, c: Any) -> Any:
        """Return a * b + c, rounded once."""

        def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
            kind = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
            fused = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{LANES}f32")
            return builder.call(fused, arguments)

        return _type(a, b, c), generate

    @intrinsic
    def where_positive(_context: Any, condition: Any, value: Any) -> Any:
        """Keep the lanes of ``value`` where ``condition`` is positive; zero elsewhere."""

        def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
            positive = builder.fcmp_ordered(">", arguments[0], _ZEROS)
            return builder.select(positive, arguments[1], _ZEROS)

        return _type(condition, value), generate

    @intrinsic
    def add_lanes(_context: Any, sums: Any, _row: Any, value: Any) -> Any:
        """Add the lanes to a row of float64[rows, 16]."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            array, row, lanes = arguments
            place = _pointer(context, builder, signature.args[0], array, (row,), _WIDE)
            total = builder.fadd(builder.load(place, align=8), builder.fpext(lanes, _WIDE))
            builder.store(total, place, align=8)
            return context.get_dummy_value()

        return types.void(sums, types.intp, value), generate
