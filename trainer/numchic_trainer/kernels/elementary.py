# SPDX-License-Identifier: BSD-3-Clause
"""Elementary functions of float32 numbers, as polynomials.

Numba does not vectorise those of the mathematical library. NaN stays NaN.
"""

from __future__ import annotations

import numpy as np

from numchic_bitstream.kernels import kernel
from numchic_trainer.kernels.fma import fma

_HALF, _ONE = np.float32(0.5), np.float32(1.0)
_LOG2_E = np.float32(1.0 / np.log(2.0))
_LN2_HIGH = np.float32(0.693359375)  # few bits: times a small integer it is exact
_LN2_LOW = np.float32(np.log(2.0) - 0.693359375)
_ROUND = np.float32(1.5 * 2.0**23)  # adding it rounds to an integer, found in the low bits
_E2, _E3, _E4 = np.float32(1 / 2), np.float32(1 / 6), np.float32(1 / 24)
_E5, _E6, _E7 = np.float32(1 / 120), np.float32(1 / 720), np.float32(1 / 5040)
_SQRT2 = np.float32(np.sqrt(2.0))
_L1 = np.float32(2.0 / np.log(2.0))
_L3, _L5, _L7, _L9 = np.float32(1 / 3), np.float32(1 / 5), np.float32(1 / 7), np.float32(1 / 9)


@kernel(inline=True)
def exp(x: np.float32) -> tuple[np.float32, np.float32]:
    """Return exp(x) and 1 - exp(x), neither with cancellation, -87 <= x <= 87.

    Numba makes int64 of every integer operation; the casts bring it back.
    """
    shifted = np.float32(fma(x, _LOG2_E, _ROUND))
    n = shifted - _ROUND
    r = fma(n, -_LN2_LOW, fma(n, -_LN2_HIGH, x))
    q = fma(fma(fma(_E7, r, _E6), r, _E5), r, _E4)
    q = fma(fma(fma(q, r, _E3), r, _E2), r, _ONE) * r  # exp(r) - 1
    low = np.int64(shifted.view(np.int32)) & 0x1FF
    s = np.int32(((low + 127) & 0xFF) << 23).view(np.float32)  # 2^n
    return fma(s, q, s), fma(-s, q, _ONE - s)


@kernel(inline=True)
def log2(x: np.float32) -> np.float32:
    """Logarithm of a positive normal number."""
    bits = np.int64(np.float32(x).view(np.int32))
    m = np.int32((bits & 0x7FFFFF) | 0x3F800000).view(np.float32)
    n = np.float32(np.int32(bits >> 23) - 127)
    large = m > _SQRT2
    n = n + _ONE if large else n
    m = m * _HALF if large else m
    s = (m - _ONE) / (m + _ONE)
    z = s * s
    q = fma(fma(fma(fma(_L9, z, _L7), z, _L5), z, _L3), z, _ONE)
    return fma(s * q, _L1, n)
