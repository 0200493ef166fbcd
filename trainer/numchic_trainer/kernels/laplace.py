# SPDX-License-Identifier: BSD-3-Clause
"""Bits of a block of symbols under Laplace distributions, with slopes (training, section 3.3).

Exponential and logarithm are polynomials (relative errors 1.2e-7 and 2.4e-7), since Numba does not
vectorise those of the mathematical library. Good for training only: decoders use integer tables.
"""

from __future__ import annotations

import numpy as np

from numchic_bitstream.arrays import F32
from numchic_bitstream.kernels import kernel
from numchic_trainer.kernels.floats import exponent, fraction, power_of_two
from numchic_trainer.kernels.fma import fma

MAX_LOG_SCALE = np.float32(5.0)

_ZERO, _HALF, _ONE = np.float32(0.0), np.float32(0.5), np.float32(1.0)
_NAN = np.float32(np.nan)
_MIN_PROBABILITY = np.float32(2.0**-16)
_FAR = np.float32(65536.0)  # from here on a probability is at its floor
_MIN_EXPONENT = np.float32(-87.0)  # exp() of it is still a normal number
_LOG2_E = np.float32(1.0 / np.log(2.0))
_SQRT2 = np.float32(np.sqrt(2.0))
_LN2_HIGH = np.float32(0.693359375)  # few bits: times a small integer it is exact
_LN2_LOW = np.float32(np.log(2.0) - 0.693359375)
_ROUND = np.float32(1.5 * 2.0**23)  # adding and subtracting it rounds to an integer
_E2, _E3, _E4 = np.float32(1 / 2), np.float32(1 / 6), np.float32(1 / 24)
_E5, _E6, _E7 = np.float32(1 / 120), np.float32(1 / 720), np.float32(1 / 5040)
_L1 = np.float32(2.0 / np.log(2.0))
_L3, _L5, _L7, _L9 = np.float32(1 / 3), np.float32(1 / 5), np.float32(1 / 7), np.float32(1 / 9)
_SLOPE = np.float32(-0.5 / np.log(2.0))  # -1 / (2 ln 2)


@kernel(inline=True)
def _exp(x: np.float32) -> tuple[np.float32, np.float32]:
    """Return exp(x) and 1 - exp(x), neither with cancellation, x <= 87."""
    x = x if x > _MIN_EXPONENT else _MIN_EXPONENT
    n = fma(x, _LOG2_E, _ROUND) - _ROUND
    r = fma(-n, _LN2_LOW, fma(-n, _LN2_HIGH, x))
    q = fma(_E7, r, _E6)
    q = fma(q, r, _E5)
    q = fma(q, r, _E4)
    q = fma(q, r, _E3)
    q = fma(q, r, _E2)
    q = fma(q, r, _ONE) * r
    s = power_of_two(n)
    return fma(s, q, s), fma(-s, q, _ONE - s)


@kernel(inline=True)
def _log2(x: np.float32) -> np.float32:
    """Logarithm of a positive normal number."""
    m, n = fraction(x), exponent(x)
    large = m > _SQRT2
    n = n + _ONE if large else n
    m = m * _HALF if large else m
    s = (m - _ONE) / (m + _ONE)
    z = s * s
    q = fma(_L9, z, _L7)
    q = fma(q, z, _L5)
    q = fma(q, z, _L3)
    q = fma(q, z, _ONE)
    return fma(s * q, _L1, n)


@kernel()
def laplace(out: F32, symbols: F32, n: int, scale: np.float32, bits: F32, slope: F32) -> None:
    """Bits of the first n symbols, and ``scale`` times their slopes by the two outputs of the ARM.

    With u = (d - 1/2) / b, v = (d + 1/2) / b and A = exp(-|u|) the closed form of the text is
    evaluated without differences of nearly equal numbers, also for large scales b:
    if d >= 1/2, E = 1 - exp(-1/b): A - B = A E and p = A E / 2;
    else: p = ((1 - A) + (1 - B)) / 2.

    Parameters
    ----------
    out : float32[>= 2, B]
        mu and ln b before its clamp.
    symbols, bits : float32[B]
    n : int
    scale : float
    slope : float32[>= 2, B]
        Result.
    """
    mean, log_scale, latent = out[0, :n], out[1, :n], symbols[:n]
    value, by_mean, by_scale = bits[:n], slope[0, :n], slope[1, :n]
    for k in range(n):
        raw = log_scale[k]
        low = raw if raw > -MAX_LOG_SCALE else -MAX_LOG_SCALE
        clamped = low if low < MAX_LOG_SCALE else MAX_LOG_SCALE
        inverse, _ = _exp(-clamped)
        signed = latent[k] - mean[k]
        d = signed if signed > _ZERO else -signed
        d = d if d < _FAR else _FAR
        u, v = (d - _HALF) * inverse, (d + _HALF) * inverse
        tail = d >= _HALF
        a, not_a = _exp(-u if tail else u)
        b, not_b = _exp(-(inverse if tail else v))  # in the tail this is E
        total = a * not_b if tail else not_a + not_b  # 2 p
        near = a - b if a < _HALF else not_b - not_a
        difference = total if tail else near  # A - B
        dp_dscale = a * (not_b * v - inverse) if tail else a * u - b * v  # 2 dp/dln b
        p = total * _HALF
        counts = p > _MIN_PROBABILITY
        p = p if counts else _MIN_PROBABILITY
        value[k] = _NAN if np.isnan(signed) | np.isnan(raw) else -_log2(p)
        factor = (_SLOPE * scale if counts else _ZERO) / p
        inside = factor if raw == clamped else _ZERO
        steep = difference * inverse * factor  # for d = 0 the difference is exactly 0
        by_mean[k] = steep if signed > _ZERO else -steep
        by_scale[k] = dp_dscale * inside
