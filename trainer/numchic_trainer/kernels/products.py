# SPDX-License-Identifier: BSD-3-Clause
"""Products of small matrices with many columns, and their derivatives.

Matrices are flat: element (i, k) of one with ``size`` columns in memory is at
``at + i * size + k``.
"""

from __future__ import annotations

from numchic_bitstream.arrays import F32, F64
from numchic_bitstream.kernels import kernel
from numchic_trainer.kernels.lanes import (
    LANES,
    accumulate,
    fma,
    load,
    save,
    spread,
    where_positive,
    zeros,
)

COLUMNS = 2 * LANES  # columns are counted in multiples of these ...
ROWS = 4  # ... and rows in multiples of these

LINEAR, RELU, MASK = 0, 1, 2


def padded(n: int, unit: int = ROWS) -> int:
    """Size of the next multiple.

    Examples
    --------
    >>> padded(5), padded(33, COLUMNS)
    (8, 64)
    """
    return n + -n % unit


@kernel()
def multiply(
    weight: F32,
    n_rows: int,
    n_inputs: int,
    x: F32,
    x_at: int,
    x_size: int,
    y: F32,
    y_size: int,
    n: int,
    form: int,
    mask: F32,
) -> None:
    """Set y = weight @ x + bias, four rows times 32 columns at a time.

    Parameters
    ----------
    weight : float32
        Rows of n_inputs weights and a bias, n_rows of them.
    x : float32[n_inputs, x_size]
    y : float32[n_rows, y_size]
        Output, from its beginning.
    n : int
        Number of columns.
    form : int
        ``RELU`` clears what is negative, ``MASK`` what belongs to an element of ``mask`` that is
        not positive; ``LINEAR`` nothing.
    mask : float32[n_rows, y_size]
        Anything unless ``form`` is ``MASK``.
    """
    stride = n_inputs + 1
    for o in range(0, n_rows, ROWS):
        w0 = o * stride
        w1, w2, w3 = w0 + stride, w0 + 2 * stride, w0 + 3 * stride
        for k in range(0, n, COLUMNS):
            a0 = b0 = spread(weight, w0 + n_inputs)
            a1 = b1 = spread(weight, w1 + n_inputs)
            a2 = b2 = spread(weight, w2 + n_inputs)
            a3 = b3 = spread(weight, w3 + n_inputs)
            for i in range(n_inputs):
                u = load(x, x_at + i * x_size + k)
                v = load(x, x_at + i * x_size + k + LANES)
                w = spread(weight, w0 + i)
                a0, b0 = fma(w, u, a0), fma(w, v, b0)
                w = spread(weight, w1 + i)
                a1, b1 = fma(w, u, a1), fma(w, v, b1)
                w = spread(weight, w2 + i)
                a2, b2 = fma(w, u, a2), fma(w, v, b2)
                w = spread(weight, w3 + i)
                a3, b3 = fma(w, u, a3), fma(w, v, b3)
            p0 = o * y_size + k
            p1, p2, p3 = p0 + y_size, p0 + 2 * y_size, p0 + 3 * y_size
            if form == RELU:
                a0, b0 = where_positive(a0, a0), where_positive(b0, b0)
                a1, b1 = where_positive(a1, a1), where_positive(b1, b1)
                a2, b2 = where_positive(a2, a2), where_positive(b2, b2)
                a3, b3 = where_positive(a3, a3), where_positive(b3, b3)
            elif form == MASK:
                a0 = where_positive(load(mask, p0), a0)
                b0 = where_positive(load(mask, p0 + LANES), b0)
                a1 = where_positive(load(mask, p1), a1)
                b1 = where_positive(load(mask, p1 + LANES), b1)
                a2 = where_positive(load(mask, p2), a2)
                b2 = where_positive(load(mask, p2 + LANES), b2)
                a3 = where_positive(load(mask, p3), a3)
                b3 = where_positive(load(mask, p3 + LANES), b3)
            save(a0, y, p0)
            save(b0, y, p0 + LANES)
            save(a1, y, p1)
            save(b1, y, p1 + LANES)
            save(a2, y, p2)
            save(b2, y, p2 + LANES)
            save(a3, y, p3)
            save(b3, y, p3 + LANES)


@kernel()
def add_outer(
    g: F32,
    g_size: int,
    n_g: int,
    x: F32,
    x_at: int,
    x_size: int,
    n_x: int,
    n: int,
    sums: F64,
    sums_at: int,
) -> None:
    """Sums[o, i] += sum over columns of g[o] * x[i], in lanes; four rows times four at a time.

    Parameters
    ----------
    g : float32[n_g, g_size]
        From its beginning.
    x : float32[n_x, x_size]
    n : int
        Number of columns.
    sums : float64[n_g, n_x, 16]
    """
    for o in range(0, n_g, ROWS):
        for i in range(0, n_x, ROWS):
            a0 = a1 = a2 = a3 = zeros()
            b0 = b1 = b2 = b3 = zeros()
            c0 = c1 = c2 = c3 = zeros()
            d0 = d1 = d2 = d3 = zeros()
            p, q = o * g_size, x_at + i * x_size
            for k in range(0, n, LANES):
                x0, x1 = load(x, q + k), load(x, q + x_size + k)
                x2, x3 = load(x, q + 2 * x_size + k), load(x, q + 3 * x_size + k)
                u = load(g, p + k)
                a0, a1, a2, a3 = fma(u, x0, a0), fma(u, x1, a1), fma(u, x2, a2), fma(u, x3, a3)
                u = load(g, p + g_size + k)
                b0, b1, b2, b3 = fma(u, x0, b0), fma(u, x1, b1), fma(u, x2, b2), fma(u, x3, b3)
                u = load(g, p + 2 * g_size + k)
                c0, c1, c2, c3 = fma(u, x0, c0), fma(u, x1, c1), fma(u, x2, c2), fma(u, x3, c3)
                u = load(g, p + 3 * g_size + k)
                d0, d1, d2, d3 = fma(u, x0, d0), fma(u, x1, d1), fma(u, x2, d2), fma(u, x3, d3)
            row = sums_at + (o * n_x + i) * LANES
            _add_four(a0, a1, a2, a3, sums, row)
            _add_four(b0, b1, b2, b3, sums, row + n_x * LANES)
            _add_four(c0, c1, c2, c3, sums, row + 2 * n_x * LANES)
            _add_four(d0, d1, d2, d3, sums, row + 3 * n_x * LANES)


@kernel(inline=True)
def _add_four(s0: F32, s1: F32, s2: F32, s3: F32, sums: F64, at: int) -> None:
    accumulate(s0, sums, at)
    accumulate(s1, sums, at + LANES)
    accumulate(s2, sums, at + 2 * LANES)
    accumulate(s3, sums, at + 3 * LANES)


@kernel()
def folded(lanes: F64, at: int) -> float:
    """Add up the sixteen parts of a sum, in a fixed order."""
    total = 0.0
    for k in range(at, at + LANES):
        total += lanes[k]
    return total


@kernel()
def add_folded(lanes: F64, sums: F64) -> None:
    """Sums += the sixteen parts of every sum."""
    for i in range(sums.size):
        sums[i] += folded(lanes, i * LANES)
