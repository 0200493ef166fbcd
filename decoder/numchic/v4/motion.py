# SPDX-License-Identifier: BSD-3-Clause
"""Motion compensation of 4.x (coolchic-4.2, sections 13.5 to 13.7, appendix C.2). Float.

Vectors belong to square blocks and are rounded to 1/64 sample, which leaves 64 sets of
coefficients. Every sample is a sum over rows of sums over columns, every product and sum rounded to
float32; the sums along a row that the samples of a block share are computed once.

Generation 4.0 has a vector for every sample, does not round it and interpolates between two.

References come shifted by the global flow, with their edges repeated: that is the same as limiting
coordinates to the part of the reference that the flow leaves visible.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from numchic_bitstream.arrays import F32, F32_1D, F32_2D, F32_3D
from numchic_bitstream.kernels import kernel

_PRECISION = 64  # of vectors, in parts of a sample
_FAR = np.float32(1 << 24)  # beyond every picture
_PI = 3.141592653589793

# Coefficients in which the cosine of the reference's C library is not the correctly rounded one, by
# number of taps and distance to the sample in parts; the values are bit patterns (section 13.7).
_CORRECTIONS = {
    6: "129: 3b7a4e98, 165: 3cd6f6e7, 173: 3c6fe9b4",
    8: "98: be2eae4f, 145: 3d863cb6, 171: 3d508810, 172: 3d46d285, 210: bcab18c9, 220: bca302be, "
    "221: bc9f2fb9",
    10: "194: bbc38e23, 201: bcc3c545, 264: 3c035432, 275: 3c55982d",
    12: "147: 3dbbfa7f, 258: 3b7a0168, 305: 3c696168, 315: 3b8f6a5f, 330: bbd0edac, 346: bc0eea7c",
    14: "271: 3cf07e91, 283: 3d1c6431, 293: 3d0eda4c, 301: 3cdb8084, 319: 3ab3802b, 357: bc8e3dde, "
    "385: 3a151fed",
    16: "196: bc88f949, 290: 3d344bdc, 344: bcdceb68, 420: 3c5915d9, 431: 3c0d212b, 440: 3b7e6a1c, "
    "442: 3b3adc28",
}


@functools.cache
def interpolation_table(n_taps: int) -> F32:
    """Coefficients for every fraction of a sample: float32[64, n_taps] (section 13.7)."""
    table = np.empty((_PRECISION, n_taps), np.float32)
    corrections = _parse(_CORRECTIONS.get(n_taps, ""))
    for t in range(_PRECISION):
        f = np.float32(t / _PRECISION)
        if n_taps == 2:
            table[t] = np.float32(1) - f, f
        elif n_taps == 4:
            one = np.float32(1)
            table[t] = _far(f + one), _near(f), _near(one - f), _far((one - f) + one)
        else:
            for j in range(n_taps):
                parts = _PRECISION * (n_taps // 2 - 1 - j) + t
                table[t, j] = corrections.get(abs(parts), _windowed_sinc(parts, n_taps))
    table.flags.writeable = False
    return table


def _parse(corrections: str) -> dict[int, np.float32]:
    pairs = (pair.split(": ") for pair in corrections.split(", ") if pair)
    return {int(parts): np.uint32(int(bits, 16)).view(np.float32) for parts, bits in pairs}


def _near(x: np.float32) -> np.float32:
    """Cubic coefficient for distances 0 .. 1."""
    a = np.float32(-0.75)
    two, three, one = np.float32(2), np.float32(3), np.float32(1)
    return np.float32((((a + two) * x - (a + three)) * x) * x + one)


def _far(x: np.float32) -> np.float32:
    """Cubic coefficient for distances 1 .. 2."""
    a = np.float32(-0.75)
    five, eight, four = np.float32(5), np.float32(8), np.float32(4)
    return np.float32(((a * x - five * a) * x + eight * a) * x - four * a)


def _windowed_sinc(parts: int, n_taps: int) -> np.float32:
    """Coefficient at a distance of parts / 64 samples."""
    if parts == 0:
        return np.float32(1)
    d = parts / _PRECISION
    window = np.float32(math.cos(np.float32(_PI / n_taps) * np.float32(d)))
    return np.float32(float(window) * math.sin(_PI * d) / (_PI * d))


@kernel(inline=True)
def _quantise(flow: np.float32, position: int) -> int:
    """Position in the reference in parts of a sample, rounded half to even."""
    place = flow + np.float32(position)
    place = min(max(place, -_FAR), _FAR)
    return int(np.rint(place * np.float32(_PRECISION)))


@kernel()
def _add_columns(x: F32, coefficients: F32, n: int, y: F32) -> None:
    """Y = sum over taps of the samples along a row, four channels each; n counts numbers."""
    y[:n] = 0.0
    n_taps = coefficients.size
    for u in range(0, n_taps - n_taps % 8, 8):
        c = coefficients[u : u + 8]
        c0, c1, c2, c3, c4, c5, c6, c7 = c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]
        s = x[4 * u :]
        for k in range(n):
            total = ((y[k] + s[k] * c0) + s[k + 4] * c1) + s[k + 8] * c2
            total = ((total + s[k + 12] * c3) + s[k + 16] * c4) + s[k + 20] * c5
            y[k] = (total + s[k + 24] * c6) + s[k + 28] * c7
    for u in range(n_taps - n_taps % 8, n_taps, 2):
        c0, c1 = coefficients[u], coefficients[u + 1]
        s = x[4 * u :]
        for k in range(n):
            y[k] = (y[k] + s[k] * c0) + s[k + 4] * c1


@kernel()
def _add_rows(rows: F32, coefficients: F32, n: int, y: F32) -> None:
    """Y = sum over taps of rows[0], rows[1], ..., the first n numbers of each."""
    y[:n] = 0.0
    for v in range(0, coefficients.size, 2):
        c0, c1 = coefficients[v], coefficients[v + 1]
        first, second = rows[v], rows[v + 1]
        for k in range(n):
            y[k] = (y[k] + first[k] * c0) + second[k] * c1


def warp_blocks(reference: F32, flow: F32, block: int, table: F32, first: int, out: F32) -> None:
    """Warp some rows of a reference, block by block (sections 13.5, 13.6).

    Parameters
    ----------
    reference : float32[H, W, 4]
        Shifted by the global flow; three channels and one that is not used.
    flow : float32[2, H / B, W / B]
        Horizontal, vertical, in samples.
    block : int
        B.
    table : float32[64, N]
        See :func:`interpolation_table`.
    first : int
        First row, a multiple of B.
    out : float32[3, n_rows, W]
        Output; n_rows is a multiple of B.
    """
    size = block + table.shape[1] - 1
    patch = np.empty(4 * size, np.float32)
    rows = np.empty((size, 4 * block), np.float32)
    result = np.empty(4 * block, np.float32)
    _warp_blocks(reference.reshape(-1), flow, block, table, first, patch, rows, result, out)


@kernel(entry=True)
def _warp_blocks(
    samples: F32_1D,
    flow: F32_3D,
    block: int,
    table: F32_2D,
    first: int,
    patch: F32_1D,
    rows: F32_2D,
    result: F32_1D,
    out: F32_3D,
) -> None:
    """Do the same; ``samples`` is the reference, ``patch``, ``rows`` and ``result`` are scratch."""
    width = out.shape[2]
    height = samples.size // (4 * width)
    n_taps = table.shape[1]
    before = n_taps // 2 - 1
    size = rows.shape[0]
    for y0 in range(first, first + out.shape[1], block):
        for x0 in range(0, width, block):
            qx = _quantise(flow[0, y0 // block, x0 // block], x0)
            qy = _quantise(flow[1, y0 // block, x0 // block], y0)
            left = (qx >> 6) - before
            top = (qy >> 6) - before
            across, down = table[qx & 63], table[qy & 63]
            for i in range(size):
                row = min(max(top + i, 0), height - 1) * width
                if left >= 0 and left + size <= width:
                    start = 4 * (row + left)
                    _add_columns(samples[start : start + 4 * size], across, 4 * block, rows[i])
                else:
                    for j in range(size):
                        start = 4 * (row + min(max(left + j, 0), width - 1))
                        for c in range(4):
                            patch[4 * j + c] = samples[start + c]
                    _add_columns(patch, across, 4 * block, rows[i])
            for i in range(block):
                _add_rows(rows[i : i + n_taps], down, 4 * block, result)
                for j in range(block):
                    for c in range(3):
                        out[c, y0 - first + i, x0 + j] = result[4 * j + c]


@kernel()
def _floor(flow: np.float32, position: int, n: int) -> tuple[int, int, np.float32]:
    """Two neighbouring places on an axis of n samples and the fraction between them."""
    place = flow + np.float32(position)
    place = min(max(place, -_FAR), _FAR)
    floor = np.floor(place)
    low = int(floor)
    if low < 0:
        return 0, 0, np.float32(0)
    if low >= n - 1:
        return n - 1, n - 1, np.float32(0)
    return low, low + 1, place - floor


@kernel(entry=True)
def warp_samples(reference: F32_3D, flow: F32_3D, first: int, out: F32_3D) -> None:
    """Warp some rows of a reference as generation 4.0 does.

    Parameters
    ----------
    reference, out
        The same as in :func:`warp_blocks`.
    flow : float32[2, H, W]
    first : int
    """
    height, width = reference.shape[:2]
    for i in range(out.shape[1]):
        for x in range(width):
            left, right, dx = _floor(flow[0, first + i, x], x, width)
            top, bottom, dy = _floor(flow[1, first + i, x], first + i, height)
            for c in range(3):
                a, b = reference[top, left, c], reference[top, right, c]
                upper = a + (b - a) * dx
                a, b = reference[bottom, left, c], reference[bottom, right, c]
                lower = a + (b - a) * dx
                out[c, i, x] = upper + (lower - upper) * dy
