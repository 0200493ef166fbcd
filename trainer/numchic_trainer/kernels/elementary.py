# SPDX-License-Identifier: BSD-3-Clause
"""Elementary functions of float32 numbers, as polynomials.

Numba does not vectorise those of the mathematical library. Relative errors are 1.2e-7 (exp) and
2.4e-7 (log2): good for training, where decoders use integer tables. NaN stays NaN in exp.
"""

from __future__ import annotations

import numpy as np

from numchic_bitstream.kernels import kernel
from numchic_trainer.kernels.floats import exponent, fraction, power_of_two
from numchic_trainer.kernels.fma import fma

_HALF, _ONE = np.float32(0.5), np.float32(1.0)
_LOG2_E = np.float32(1.0 / np.log(2.0))
_LN2_HIGH = np.float32(0.693359375)  # few bits: times a small integer it is exact
_LN2_LOW = np.float32(np.log(2.0) - 0.693359375)
_ROUND = np.float32(1.5 * 2.0**23)  # adding and subtracting it rounds to an integer
_E2, _E3, _E4 = np.float32(1 / 2), np.float32(1 / 6), np.float32(1 / 24)
_E5, _E6, _E7 = np.float32(1 / 120), np.float32(1 / 720), np.float32(1 / 5040)
_SQRT2 = np.float32(np.sqrt(2.0))
_L1 = np.float32(2.0 / np.log(2.0))
_L3, _L5, _L7, _L9 = np.float32(1 / 3), np.float32(1 / 5), np.float32(1 / 7), np.float32(1 / 9)


@kernel(inline=True)
def exp(x: np.float32) -> tuple[np.float32, np.float32]:
    """Return exp(x) and 1 - exp(x), neither with cancellation, -87 <= x <= 87."""
    n = fma(x, _LOG2_E, _ROUND) - _ROUND
    r = fma(n, -_LN2_LOW, fma(n, -_LN2_HIGH, x))
    q = fma(fma(fma(_E7, r, _E6), r, _E5), r, _E4)
    q = fma(fma(fma(q, r, _E3), r, _E2), r, _ONE) * r  # exp(r) - 1
    s = power_of_two(n)
    return fma(s, q, s), fma(-s, q, _ONE - s)


@kernel(inline=True)
def log2(x: np.float32) -> np.float32:
    """Logarithm of a positive normal number."""
    m, n = fraction(x), exponent(x)
    large = m > _SQRT2
    n = n + _ONE if large else n
    m = m * _HALF if large else m
    s = (m - _ONE) / (m + _ONE)
    z = s * s
    q = fma(fma(fma(fma(_L9, z, _L7), z, _L5), z, _L3), z, _ONE)
    return fma(s * q, _L1, n)
