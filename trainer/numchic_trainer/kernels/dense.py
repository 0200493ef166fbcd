# SPDX-License-Identifier: BSD-3-Clause
"""Matrices times blocks of columns, with intermediate results in registers.

Rows of blocks and of weights are padded with zeros to a multiple of 4, columns are taken 32 at a
time: what a kernel finds behind the columns asked for must be finite and is of no consequence.
"""

from __future__ import annotations

import numpy as np

from numchic_bitstream.arrays import F32, F64
from numchic_bitstream.kernels import kernel
from numchic_trainer.kernels.vectors import (
    LANES,
    add,
    add_lanes,
    load,
    multiply_add,
    splat,
    store,
    where_positive,
)

COLUMNS = 2 * LANES  # taken at a time

_ZERO = np.float32(0.0)


@kernel(inline=True)
def _tile(weight: F32, bias: F32, x: F32, o: int, k: int) -> tuple[F32, ...]:
    """Four rows from o and 32 columns from k of weight @ x + bias, two vectors a row."""
    a0 = a1 = splat(bias[o])
    b0 = b1 = splat(bias[o + 1])
    c0 = c1 = splat(bias[o + 2])
    d0 = d1 = splat(bias[o + 3])
    for i in range(weight.shape[1]):
        x0, x1 = load(x, i, k), load(x, i, k + LANES)
        w = splat(weight[o, i])
        a0, a1 = multiply_add(w, x0, a0), multiply_add(w, x1, a1)
        w = splat(weight[o + 1, i])
        b0, b1 = multiply_add(w, x0, b0), multiply_add(w, x1, b1)
        w = splat(weight[o + 2, i])
        c0, c1 = multiply_add(w, x0, c0), multiply_add(w, x1, c1)
        w = splat(weight[o + 3, i])
        d0, d1 = multiply_add(w, x0, d0), multiply_add(w, x1, d1)
    return a0, a1, b0, b1, c0, c1, d0, d1


@kernel(inline=True)
def _store_pair(y: F32, o: int, k: int, left: F32, right: F32) -> None:
    store(y, o, k, left)
    store(y, o, k + LANES, right)


@kernel(inline=True)
def _store_positive(y: F32, o: int, k: int, left: F32, right: F32) -> None:
    _store_pair(y, o, k, where_positive(left, left), where_positive(right, right))


@kernel(inline=True)
def _store_gated(y: F32, gate: F32, o: int, k: int, left: F32, right: F32) -> None:
    first, second = load(gate, o, k), load(gate, o, k + LANES)
    _store_pair(y, o, k, where_positive(first, left), where_positive(second, right))


@kernel()
def linear(weight: F32, bias: F32, x: F32, n: int, y: F32) -> None:
    """Set y to weight @ x + bias, n columns.

    Parameters
    ----------
    weight : float32[O, I]
        O is a multiple of 4.
    bias : float32[O]
    x, y : float32[>= I, B] and float32[>= O, B]
        Different arrays.
    n : int
        At most B - B % 32.
    """
    for k in range(0, n, COLUMNS):
        for o in range(0, weight.shape[0], 4):
            a0, a1, b0, b1, c0, c1, d0, d1 = _tile(weight, bias, x, o, k)
            _store_pair(y, o, k, a0, a1)
            _store_pair(y, o + 1, k, b0, b1)
            _store_pair(y, o + 2, k, c0, c1)
            _store_pair(y, o + 3, k, d0, d1)


@kernel()
def linear_relu(weight: F32, bias: F32, x: F32, n: int, y: F32) -> None:
    """Set y to the positive part of weight @ x + bias; sizes as for :func:`linear`."""
    for k in range(0, n, COLUMNS):
        for o in range(0, weight.shape[0], 4):
            a0, a1, b0, b1, c0, c1, d0, d1 = _tile(weight, bias, x, o, k)
            _store_positive(y, o, k, a0, a1)
            _store_positive(y, o + 1, k, b0, b1)
            _store_positive(y, o + 2, k, c0, c1)
            _store_positive(y, o + 3, k, d0, d1)


@kernel()
def linear_gated(weight: F32, bias: F32, x: F32, n: int, gate: F32, y: F32) -> None:
    """Set y to weight @ x + bias where ``gate`` float32[>= O, B] is positive, elsewhere to zero."""
    for k in range(0, n, COLUMNS):
        for o in range(0, weight.shape[0], 4):
            a0, a1, b0, b1, c0, c1, d0, d1 = _tile(weight, bias, x, o, k)
            _store_gated(y, gate, o, k, a0, a1)
            _store_gated(y, gate, o + 1, k, b0, b1)
            _store_gated(y, gate, o + 2, k, c0, c1)
            _store_gated(y, gate, o + 3, k, d0, d1)


@kernel(inline=True)
def _add_four(sums: F64, row: int, a: F32, b: F32, c: F32, d: F32) -> None:
    add_lanes(sums, row, a)
    add_lanes(sums, row + 1, b)
    add_lanes(sums, row + 2, c)
    add_lanes(sums, row + 3, d)


@kernel()
def add_outer(g: F32, x: F32, n: int, sums: F64) -> None:
    """Add g @ x.T over the first n columns to ``sums``, in 16 parts.

    Parameters
    ----------
    g : float32[O, B]
        O is a multiple of 4. Zero in columns after the first n.
    x : float32[I, B]
        I is a multiple of 4.
    n : int
    sums : float64[O * I, 16]
    """
    width = x.shape[0]
    for o in range(0, g.shape[0], 4):
        for i in range(0, width, 4):
            a0 = a1 = a2 = a3 = b0 = b1 = b2 = b3 = splat(_ZERO)
            c0 = c1 = c2 = c3 = d0 = d1 = d2 = d3 = a0
            for k in range(0, n, LANES):
                x0, x1, x2, x3 = (
                    load(x, i, k),
                    load(x, i + 1, k),
                    load(x, i + 2, k),
                    load(x, i + 3, k),
                )
                w = load(g, o, k)
                a0, a1 = multiply_add(w, x0, a0), multiply_add(w, x1, a1)
                a2, a3 = multiply_add(w, x2, a2), multiply_add(w, x3, a3)
                w = load(g, o + 1, k)
                b0, b1 = multiply_add(w, x0, b0), multiply_add(w, x1, b1)
                b2, b3 = multiply_add(w, x2, b2), multiply_add(w, x3, b3)
                w = load(g, o + 2, k)
                c0, c1 = multiply_add(w, x0, c0), multiply_add(w, x1, c1)
                c2, c3 = multiply_add(w, x2, c2), multiply_add(w, x3, c3)
                w = load(g, o + 3, k)
                d0, d1 = multiply_add(w, x0, d0), multiply_add(w, x1, d1)
                d2, d3 = multiply_add(w, x2, d2), multiply_add(w, x3, d3)
            _add_four(sums, o * width + i, a0, a1, a2, a3)
            _add_four(sums, (o + 1) * width + i, b0, b1, b2, b3)
            _add_four(sums, (o + 2) * width + i, c0, c1, c2, c3)
            _add_four(sums, (o + 3) * width + i, d0, d1, d2, d3)


@kernel()
def add_rows(g: F32, n: int, sums: F64) -> None:
    """Add the sum of every row of g, which is zero after n columns, to ``sums`` float64[O, 16]."""
    for o in range(0, g.shape[0], 4):
        a = b = c = d = splat(_ZERO)
        for k in range(0, n, LANES):
            a, b = add(a, load(g, o, k)), add(b, load(g, o + 1, k))
            c, d = add(c, load(g, o + 2, k)), add(d, load(g, o + 3, k))
        _add_four(sums, o, a, b, c, d)
