# SPDX-License-Identifier: BSD-3-Clause
"""Quantised Laplace model of the latents (coolchic-5, sections 8.1 and 8.2). Exact.

Symbols are -64 .. 63. A symbol s owns the counts left(s) .. left(s + 1) - 1 out of 2**24, where::

    F(x)    = 0.5 * exp((x - mu) / b)                x <= mu
            = 1.0 - 0.5 * exp(-(x - mu) / b)         x >  mu
    left(s) = trunc(16777088.0 * F(s - 0.5)) + s + 64
    left(-64) = 0,   left(64) = 2**24

mu and b come from tables, indexed by mu_index in 0 .. 32767 and scale_index in 0 .. 2560. All
counts are the same with any exponential that is good to 2**-48 (section 8.2). The one used here is
our own, so that no count depends on a mathematical library.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from numchic_bitstream.arrays import F32, F64, F64_1D, I64
from numchic_bitstream.kernels import kernel

MIN_SYMBOL = -64
MAX_SYMBOL = 63
N_MU = 32768
N_SCALES = 2561
PRECISION = 24
TOTAL = 1 << PRECISION
_SPREAD = 16777088.0  # TOTAL - 1 - 127: what is left after one count for every symbol
_MU_ZERO = 16384  # mu_index of mu = 0; one step of the index is 1/256

_LOWEST_EXPONENT = -44.0  # exponentials of less change no count: 0.5 * 2**-64 is lost beside 1
_LN2_HIGH = 6.93147180369123816490e-01  # 33 bits, so that k * _LN2_HIGH is exact
_LN2_LOW = 1.90821492927058770002e-10
_POWERS = 2.0 ** np.arange(-64, 9)
_SERIES = np.array([1 / math.factorial(n) for n in range(2, 14)])

# Entries of the shipped table that are one unit in the last place off the correct rounding (8.1).
_ONE_SMALLER = (87, 489, 809, 923, 1003, 1049, 1530, 1573, 2240, 2276, 2323, 2337)
_ONE_LARGER = (198, 442, 901, 1070, 1310, 1644, 1719, 1906, 2039, 2096, 2300)


@functools.cache
def mu_table() -> F32:
    """Return float32[32768], MU[i] = (i - 16384) / 256."""
    table: F32 = ((np.arange(N_MU) - _MU_ZERO) / 256).astype(np.float32)
    table.flags.writeable = False
    return table


@functools.cache
def scale_table() -> F32:
    """Return float32[2561], SCALE[i] = exp((i - 1280) / 256) with the 23 corrections of 8.1."""
    table = exponentials((np.arange(N_SCALES) - 1280) / 256).astype(np.float32)
    pattern = table.view(np.uint32)
    pattern[list(_ONE_SMALLER)] -= 1
    pattern[list(_ONE_LARGER)] += 1
    table.flags.writeable = False
    return table


@functools.cache
def decay_table() -> F64:
    """Return float64[2561, 257], exp(-(d / 256) / b) for every scale b and d = 0 .. 256.

    These are the exponentials at the two bounds of the symbol nearest to mu; one more factor
    ``decay[scale_index, 256]`` leads to the next bounds outwards.
    """
    scales = scale_table().astype(np.float64)[:, None]
    # d = 16 i + k: fewer exponentials, at the price of one more rounding.
    coarse = exponentials(-np.arange(17) / 16 / scales)
    fine = exponentials(-np.arange(16) / 256 / scales)
    table = np.empty((N_SCALES, 257))
    table[:, 256] = coarse[:, 16]
    products = coarse[:, :16, None] * fine[:, None, :]
    table[:, :256] = products.reshape(N_SCALES, 256)
    table.flags.writeable = False
    return table


def exponentials(x: F64) -> F64:
    """Exponential of every element, see :func:`exponential`."""
    results = np.empty_like(x)
    _fill_exponentials(x.ravel(), results.ravel())
    return results


@kernel(entry=True)
def _fill_exponentials(x: F64_1D, results: F64_1D) -> None:
    for i in range(x.size):
        results[i] = exponential(x[i])


@kernel()
def exponential(x: float) -> float:
    """E ** x for x <= 5, good to 2**-52; 0 below -44.

    x = k log 2 + r with an integer k and abs(r) <= log(2) / 2; e ** r comes from its series.
    """
    if x < _LOWEST_EXPONENT:
        return 0.0
    k = math.floor(x * (1 / math.log(2)) + 0.5)
    r = (x - k * _LN2_HIGH) - k * _LN2_LOW
    tail = _SERIES[_SERIES.size - 1]
    for n in range(_SERIES.size - 2, -1, -1):
        tail = tail * r + _SERIES[n]
    return float((1.0 + (r + r * r * tail)) * _POWERS[k + 64])


@kernel()
def left(symbol: int, mu_index: int, scale: float) -> int:
    """Lower cumulative count of a symbol in -64 .. 64, evaluated directly.

    Parameters
    ----------
    symbol : int
    mu_index : int
    scale : float
        b, the table entry widened to float64.
    """
    if symbol <= MIN_SYMBOL:
        return 0
    if symbol > MAX_SYMBOL:
        return TOTAL
    distance = (symbol - 0.5) - (mu_index - _MU_ZERO) / 256.0
    if distance <= 0.0:
        return int(_SPREAD * (0.5 * exponential(distance / scale))) + symbol - MIN_SYMBOL
    return int(_SPREAD * (1.0 - 0.5 * exponential(-distance / scale))) + symbol - MIN_SYMBOL


@kernel()
def nearest_symbols(
    mu_index: I64, scale_index: I64, decay: F64, n: int, nearest: I64, lefts: I64
) -> None:
    """Find the likely symbols of n samples: the one nearest to mu and its two neighbours.

    Parameters
    ----------
    mu_index, scale_index : int64[>= n]
    decay : float64[2561, 257]
        :func:`decay_table`.
    n : int
    nearest : int64[>= n]
        Output: m = mu rounded, in -64 .. 64 (64 has no counts).
    lefts : int64[4, >= n]
        Output: left(m - 1), left(m), left(m + 1), left(m + 2).

    Notes
    -----
    Agrees with :func:`left` for every mu and scale; a test goes through all of them.
    """
    for i in range(n):
        above = mu_index[i] - _MU_ZERO + 128
        m = above >> 8
        d = above & 255
        j = scale_index[i]
        step = decay[j, 256]
        lower = decay[j, d]
        upper = decay[j, 256 - d]
        nearest[i] = m
        rank = m - MIN_SYMBOL
        # By way of int32, for which all processors have a vector conversion.
        l0 = np.int64(np.int32(_SPREAD * (0.5 * (lower * step)))) + rank - 1
        l1 = np.int64(np.int32(_SPREAD * (0.5 * lower))) + rank
        l2 = np.int64(np.int32(_SPREAD * (1.0 - 0.5 * upper))) + rank + 1
        l3 = np.int64(np.int32(_SPREAD * (1.0 - 0.5 * (upper * step)))) + rank + 2
        lefts[0, i] = 0 if rank <= 1 else l0
        lefts[1, i] = 0 if rank <= 0 else (TOTAL if rank >= 128 else l1)
        lefts[2, i] = TOTAL if rank >= 127 else l2
        lefts[3, i] = TOTAL if rank >= 126 else l3
