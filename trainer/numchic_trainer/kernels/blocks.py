# SPDX-License-Identifier: BSD-3-Clause
"""Arithmetic on blocks of columns: what the kernels of the networks are made of.

A block is float32[rows, 512]: activations of 512 symbols or pixels, small enough to stay in the
cache. Inner loops run over columns. Sums over columns are kept in 16 parts, float64, each in a
fixed order, so that results do not depend on anything but the data.
"""

from __future__ import annotations

import numpy as np

from numchic_bitstream.arrays import F32, F64
from numchic_bitstream.kernels import kernel
from numchic_trainer.kernels.fma import fma

BLOCK = 512  # columns of a block
_STRIPS = 4  # a row of a block is also seen as 4 strips of 128 columns ...
STRIP = 128
LANES = 16  # ... and sums over columns are kept in 16 parts until the end
_PARTS = 8  # STRIP / LANES

_ZERO = np.float32(0.0)


def padded_size(n: int) -> int:
    """Size of the next multiple of 4, which the kernels want."""
    return n + -n % 4


@kernel()
def _fold(strips: F32, sums: F64) -> None:
    """Add float32[>= rows, 8, 16] to the parts float64[rows, 16]."""
    for i in range(sums.shape[0]):
        s, parts = strips[i], sums[i]
        for k in range(LANES):
            low = (s[0, k] + s[1, k]) + (s[2, k] + s[3, k])
            high = (s[4, k] + s[5, k]) + (s[6, k] + s[7, k])
            parts[k] += np.float64(low + high)


@kernel()
def add_product(weight: F32, x: F32, y: F32) -> None:
    """Y += weight @ x; both sizes of weight are multiples of 4.

    Four rows times four columns at a time keep sixteen weights in registers for one pass over the
    symbols, against one load and store of y per row and four of x.
    """
    for o in range(0, weight.shape[0], 4):
        y0, y1, y2, y3 = y[o], y[o + 1], y[o + 2], y[o + 3]
        for i in range(0, weight.shape[1], 4):
            a0, a1, a2, a3 = weight[o, i], weight[o, i + 1], weight[o, i + 2], weight[o, i + 3]
            p = o + 1
            b0, b1, b2, b3 = weight[p, i], weight[p, i + 1], weight[p, i + 2], weight[p, i + 3]
            p = o + 2
            c0, c1, c2, c3 = weight[p, i], weight[p, i + 1], weight[p, i + 2], weight[p, i + 3]
            p = o + 3
            d0, d1, d2, d3 = weight[p, i], weight[p, i + 1], weight[p, i + 2], weight[p, i + 3]
            for k in range(BLOCK):
                x0, x1, x2, x3 = x[i, k], x[i + 1, k], x[i + 2, k], x[i + 3, k]
                y0[k] = fma(a3, x3, fma(a2, x2, fma(a1, x1, fma(a0, x0, y0[k]))))
                y1[k] = fma(b3, x3, fma(b2, x2, fma(b1, x1, fma(b0, x0, y1[k]))))
                y2[k] = fma(c3, x3, fma(c2, x2, fma(c1, x1, fma(c0, x0, y2[k]))))
                y3[k] = fma(d3, x3, fma(d2, x2, fma(d1, x1, fma(d0, x0, y3[k]))))


@kernel()
def add_outer(g: F32, x: F32, tile: F32, sums: F64) -> None:
    """Sums[o, i] += sum over columns of g[o] * x[i], in ``LANES`` parts.

    Two rows times two rows: four strips of columns are multiplied and added side by side (a sum
    along a row could not be vectorised), later folded to the parts.

    Parameters
    ----------
    g, x : float32[even, B]
    tile : float32[2, rows of x, 128]
        Scratch.
    sums : float64[rows of g, rows of x, 16]
    """
    gs = g.reshape(g.shape[0], _STRIPS, STRIP)
    xs = x.reshape(x.shape[0], _STRIPS, STRIP)
    folded = tile.reshape(2, tile.shape[1], _PARTS, LANES)
    for o in range(0, g.shape[0], 2):
        g0, g1 = gs[o], gs[o + 1]
        for i in range(0, x.shape[0], 2):
            x0, x1 = xs[i], xs[i + 1]
            t0, t1, t2, t3 = tile[0, i], tile[0, i + 1], tile[1, i], tile[1, i + 1]
            for k in range(STRIP):
                p0, p1, p2, p3 = g0[0, k], g0[1, k], g0[2, k], g0[3, k]
                q0, q1, q2, q3 = g1[0, k], g1[1, k], g1[2, k], g1[3, k]
                u0, u1, u2, u3 = x0[0, k], x0[1, k], x0[2, k], x0[3, k]
                v0, v1, v2, v3 = x1[0, k], x1[1, k], x1[2, k], x1[3, k]
                t0[k] = p0 * u0 + p1 * u1 + p2 * u2 + p3 * u3
                t1[k] = p0 * v0 + p1 * v1 + p2 * v2 + p3 * v3
                t2[k] = q0 * u0 + q1 * u1 + q2 * u2 + q3 * u3
                t3[k] = q0 * v0 + q1 * v1 + q2 * v2 + q3 * v3
        _fold(folded[0], sums[o])
        _fold(folded[1], sums[o + 1])


@kernel()
def add_rows(g: F32, tile: F32, sums: F64) -> None:
    """Sums[o] += sum over the columns of g[o], in ``LANES`` parts; ``tile`` as above."""
    gs = g.reshape(g.shape[0], _STRIPS, STRIP)
    for o in range(g.shape[0]):
        row, strip = gs[o], tile[0, o]
        for k in range(STRIP):
            strip[k] = (row[0, k] + row[1, k]) + (row[2, k] + row[3, k])
    _fold(tile[0].reshape(tile.shape[1], _PARTS, LANES), sums)


@kernel()
def fill(y: F32, bias: F32) -> None:
    """Set every row o to bias[o]."""
    for o in range(y.shape[0]):
        value, row = bias[o], y[o]
        for k in range(BLOCK):
            row[k] = value


@kernel()
def clear(y: F32) -> None:
    """Set all to zero."""
    for o in range(y.shape[0]):
        row = y[o]
        for k in range(BLOCK):
            row[k] = _ZERO


@kernel()
def relu(y: F32) -> None:
    """Clear what is negative."""
    for o in range(y.shape[0]):
        row = y[o]
        for k in range(BLOCK):
            value = row[k]
            row[k] = value if value > _ZERO else _ZERO


@kernel()
def relu_backward(y: F32, g: F32) -> None:
    """Clear the derivatives g where the result y of a ReLU is zero."""
    for o in range(y.shape[0]):
        result, row = y[o], g[o]
        for k in range(BLOCK):
            value = row[k]
            row[k] = value if result[k] > _ZERO else _ZERO


@kernel()
def copy(source: F32, start: int, n: int, target: F32) -> None:
    """Copy n columns from ``start`` to the front of a block, rows as in the source."""
    for i in range(source.shape[0]):
        row, block = source[i, start : start + n], target[i]
        for k in range(n):
            block[k] = row[k]


@kernel()
def store(block: F32, start: int, n: int, target: F32) -> None:
    """Copy the first n columns of a block to the columns from ``start``."""
    for i in range(target.shape[0]):
        source, row = block[i], target[i, start : start + n]
        for k in range(n):
            row[k] = source[k]
