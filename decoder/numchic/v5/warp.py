# SPDX-License-Identifier: BSD-3-Clause
"""Warping: a reference seen along a field of vectors (coolchic-5, section 13.3). Float.

Every output sample is a separable sum of k x k taps around its position: rows are filtered along x,
then the results along y, from the first product on, every product and sum rounded to float32.

* k = 2 and 4: positions go through normalised float32 coordinates as the specification recommends;
  bilinear coefficients are 1 - t and t, bicubic ones those of section 11.3.
* k >= 6: integer positions are exact; coefficients are computed in float64 by a polynomial with a
  fixed order of operations and rounded to float32, so that no mathematical library has a say.

Motion is mostly the same within blocks. Where k >= 6 and a sample has the vector of the sample
above, all its filtered rows but one are those of that sample.
"""

from __future__ import annotations

import math

import numpy as np

from numchic_bitstream.arrays import F32, F32_1D, F32_2D, F32_3D, I64_2D
from numchic_bitstream.kernels import kernel

_FAR = np.float32(1 << 20)  # beyond every picture; no vector need be longer
_ZERO, _ONE, _TWO = np.float32(0), np.float32(1), np.float32(2)
_A = np.float32(-0.75)
_INNER_3, _INNER_2 = _A + np.float32(2), _A + np.float32(3)
_OUTER_2, _OUTER_1, _OUTER_0 = np.float32(5) * _A, np.float32(8) * _A, np.float32(4) * _A

# sin(pi x) / x as a polynomial in x**2: its series, which for x <= 1/2 is good to 2**-53.
_SERIES = np.array(
    [(-1) ** n * math.pi ** (2 * n + 1) / math.factorial(2 * n + 1) for n in range(12)]
)


@kernel()
def _sin_pi(x: float) -> float:
    """sin(pi x) for x in 0 .. 1/2, float64."""
    square = x * x
    total = 0.0
    for n in range(_SERIES.size - 1, -1, -1):
        total = total * square + _SERIES[n]
    return total * x


@kernel()
def sinc_coefficients(s: float, coefficients: F32) -> None:
    """Windowed sinc of a fraction.

    Parameters
    ----------
    s : float64
        0 .. 1.
    coefficients : float32[k]
        Output, for the taps -k/2 + 1 .. k/2.
    """
    k = coefficients.size
    sine = _sin_pi(min(s, 1.0 - s))  # of pi s; that of pi (s - j) has the sign of (-1)**j
    for i in range(k):
        j = i - k // 2 + 1
        u = s - float(j)
        if u == 0.0:
            coefficients[i] = _ONE
        else:
            window = _sin_pi(0.5 - abs(u) / float(k))
            sign = 1.0 - 2.0 * float(j & 1)
            coefficients[i] = np.float32(window * (sign * sine / (math.pi * u)))


@kernel()
def _coefficients(t: np.float32, coefficients: F32) -> None:
    """Coefficients for a fraction; their number says of which kind."""
    if coefficients.size > 4:
        sinc_coefficients(np.float64(t), coefficients)
        return
    if coefficients.size == 2:
        coefficients[0] = _ONE - t
        coefficients[1] = t
        return
    for i in range(4):
        # Distances t + 1, t, 1 - t, 2 - t.
        if 0 < i < 3:
            x = t if i == 1 else _ONE - t
            coefficients[i] = (_INNER_3 * x - _INNER_2) * x * x + _ONE
        else:
            x = t + _ONE if i == 0 else _TWO - t
            coefficients[i] = ((_A * x - _OUTER_2) * x + _OUTER_1) * x - _OUTER_0


@kernel()
def _position(x: int, flow: np.float32, n: int, k: int) -> np.float32:
    """Position on an axis of n samples at which sample x looks; relative to x if k >= 6."""
    if k >= 6:
        return flow
    if n == 1:
        return _ZERO
    # By way of coordinates in -1 .. 1.
    last = np.float32(n - 1)
    u = np.float32(-1.0) + np.float32(2 * x) / last
    u = u + flow / (last / _TWO)
    position = (u + _ONE) / _TWO * last
    return min(max(position, _ZERO), last) if k == 2 else position


@kernel()
def _first_tap(x: int, floor: np.float32, k: int) -> int:
    """Place of the first of k taps, not clipped."""
    start = int(min(max(floor, -_FAR), _FAR)) - k // 2 + 1
    return start + x if k >= 6 else start


@kernel()
def _filter(taps: F32, coefficients: F32) -> tuple[np.float32, np.float32, np.float32, np.float32]:
    """Sum of k samples of four channels, of which the last is not used: it fills a register."""
    weight = coefficients[0]
    first, second, third, fourth = (
        weight * taps[0], weight * taps[1], weight * taps[2], weight * taps[3]
    )  # fmt: skip
    for j in range(1, coefficients.size):
        weight = coefficients[j]
        sample = taps[4 * j : 4 * j + 4]
        first += weight * sample[0]
        second += weight * sample[1]
        third += weight * sample[2]
        fourth += weight * sample[3]
    return first, second, third, fourth


def warp_rows(reference: F32, flow: F32, k: int, first: int, out: F32) -> None:
    """Warp some rows.

    Parameters
    ----------
    reference : float32[H, W, 4]
        Three channels, and one that is not used.
    flow : float32[2, H, W]
        Horizontal, vertical, in samples; finite.
    k : int
        Filter size: 2, 4, ..., 14.
    first : int
        First row.
    out : float32[3, n_rows, W]
        Output, contiguous.
    """
    width = reference.shape[1]
    places = np.empty((2, width), np.int64)
    coefficients = np.empty((2, width, k), np.float32)
    filtered = np.empty((width, 8 * k), np.float32)
    taps = np.empty(4 * k, np.float32)
    _warp_rows(reference.reshape(-1), flow, first, taps, places, coefficients, filtered, out)


@kernel(entry=True)
def _warp_rows(
    samples: F32_1D,
    flow: F32_3D,
    first: int,
    taps: F32_1D,
    places: I64_2D,
    coefficients: F32_3D,
    filtered: F32_2D,
    out: F32_3D,
) -> None:
    """Do the same for flat samples, with memory for the taps of one and for what is known of a row.

    That is, of the sample above: where it looks, its coefficients, and its filtered rows. Of all
    rows ever filtered, k are kept and used in turn; twice, so that they are in order.
    """
    height, width = flow.shape[1:]
    k = coefficients.shape[2]
    left, top = places[0], places[1]
    across, down = coefficients[0], coefficients[1]
    for i in range(out.shape[1]):
        y = first + i
        oldest = y % k
        for x in range(width):
            fx, fy = flow[0, y, x], flow[1, y, x]
            new = k
            if k >= 6 and i > 0 and fx == flow[0, y - 1, x] and fy == flow[1, y - 1, x]:
                top[x] += 1
                new = 1
            elif k >= 6 and x > 0 and fx == flow[0, y, x - 1] and fy == flow[1, y, x - 1]:
                left[x] = left[x - 1] + 1
                top[x] = top[x - 1]
                for t in range(k):
                    across[x, t] = across[x - 1, t]
                    down[x, t] = down[x - 1, t]
            else:
                position = _position(x, fx, width, k)
                left[x] = _first_tap(x, np.floor(position), k)
                _coefficients(position - np.floor(position), across[x])
                position = _position(y, fy, height, k)
                top[x] = _first_tap(y, np.floor(position), k)
                _coefficients(position - np.floor(position), down[x])
            rows = filtered[x]
            for t in range(k - new, k):
                row = min(max(top[x] + t, 0), height - 1) * width
                if left[x] >= 0 and left[x] + k <= width:
                    start = 4 * (row + left[x])
                    result = _filter(samples[start : start + 4 * k], across[x])
                else:
                    for j in range(k):
                        start = 4 * (row + min(max(left[x] + j, 0), width - 1))
                        for c in range(4):
                            taps[4 * j + c] = samples[start + c]
                    result = _filter(taps, across[x])
                slot = 4 * ((oldest + t) if oldest + t < k else (oldest + t - k))
                for start in (slot, slot + 4 * k):
                    rows[start] = result[0]
                    rows[start + 1] = result[1]
                    rows[start + 2] = result[2]
                    rows[start + 3] = result[3]
            result = _filter(rows[4 * oldest : 4 * (oldest + k)], down[x])
            out[0, i, x] = result[0]
            out[1, i, x] = result[1]
            out[2, i, x] = result[2]
