# SPDX-License-Identifier: BSD-3-Clause
"""Exponents of float32 numbers as float32 numbers, without integers of another size.

Numba makes int64 of every integer operation, which halves what a vector holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from numchic_bitstream.kernels import describe


def _power_of_two(n: np.float32) -> np.float32:
    """Return 2**n for an integer n from -126 to 127."""
    return np.float32(np.ldexp(1.0, int(n)))


def _exponent(x: np.float32) -> np.float32:
    """Return floor(log2(x)) of a positive normal number."""
    return np.float32(np.frexp(x)[1] - 1)


def _fraction(x: np.float32) -> np.float32:
    """Return x / 2**exponent(x) of a positive normal number, which is in [1, 2)."""
    return np.float32(2.0 * np.frexp(x)[0])


if TYPE_CHECKING or describe() == "python":
    power_of_two, exponent, fraction = _power_of_two, _exponent, _fraction
else:
    from llvmlite import ir
    from numba import types
    from numba.extending import intrinsic

    _FLOAT, _INT = ir.FloatType(), ir.IntType(32)
    _unary = types.float32(types.float32)

    @intrinsic
    def power_of_two(_context: Any, n: Any) -> Any:  # noqa: ARG001
        """Return 2**n for an integer n from -126 to 127; something for any other number."""

        def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
            # After the addition n is in the lowest bits; a conversion would not be defined for NaN.
            shifted = builder.fadd(arguments[0], _FLOAT(1.5 * 2.0**23))
            biased = builder.add(builder.bitcast(shifted, _INT), _INT(127))
            return builder.bitcast(builder.shl(biased, _INT(23)), _FLOAT)

        return _unary, generate

    @intrinsic
    def exponent(_context: Any, x: Any) -> Any:  # noqa: ARG001
        """Return floor(log2(x)) of a positive normal number."""

        def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
            biased = builder.lshr(builder.bitcast(arguments[0], _INT), _INT(23))
            return builder.sitofp(builder.sub(biased, _INT(127)), _FLOAT)

        return _unary, generate

    @intrinsic
    def fraction(_context: Any, x: Any) -> Any:  # noqa: ARG001
        """Return x / 2**exponent(x) of a positive normal number, which is in [1, 2)."""

        def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
            low = builder.and_(builder.bitcast(arguments[0], _INT), _INT(0x7FFFFF))
            return builder.bitcast(builder.or_(low, _INT(0x3F800000)), _FLOAT)

        return _unary, generate
