# SPDX-License-Identifier: BSD-3-Clause
"""Integers with a low sum of a quadratic function and their exp-Golomb code lengths."""

from __future__ import annotations

import numpy as np

from numchic_bitstream.arrays import F32, F64, I64
from numchic_bitstream.kernels import kernel

_MAX_SHIFT = 15  # in one move
MAX_INTEGER = 65535
_MAX_SWEEPS = 20


@kernel()
def code_length(q: int, order: int) -> int:
    """Bits of one exp-Golomb code.

    Examples
    --------
    >>> [code_length(q, 0) for q in (0, 1, -1, 2)]
    [1, 3, 3, 5]
    """
    rest = ((2 * q - 1 if q > 0 else -2 * q) >> order) + 1
    length = 1 + order
    while rest > 1:
        rest >>= 1
        length += 2
    return length


@kernel()
def add_code_lengths(integers: I64, bits: I64) -> None:
    """Add the bits of all integers with order i to ``bits[i]``, for all orders."""
    for q in integers:
        for order in range(bits.size):
            bits[order] += code_length(q, order)


@kernel()
def descend(
    integers: I64, slope: F64, curvature: F32, damping: F64, orders: I64, price: float
) -> float:
    """Move one integer after the other to its best place, again and again until none moves.

    With d the sum of all moves, the function is slope . d + d . (C + damping) . d / 2 plus
    price * bits.

    Parameters
    ----------
    integers : int64[P]
        Changed in place.
    slope : float64[P]
        Changed in place: afterwards the derivatives at the new integers.
    curvature : float32[P, P]
        The symmetric matrix C.
    damping : float64[P]
        What is added to the diagonal of C.
    orders : int64[P]
        Exp-Golomb order of every integer.
    price : float
        Of one bit.

    Returns
    -------
    float
        Change of the function, not above 0.
    """
    total = 0.0
    for _ in range(_MAX_SWEEPS):
        n_moved = 0
        for i in range(integers.size):
            bend = np.float64(curvature[i, i]) + damping[i]
            change, shift = _best_move(integers[i], slope[i], bend, orders[i], price)
            if shift != 0:
                integers[i] += shift
                slope[i] += damping[i] * shift
                row, times = curvature[i], np.float64(shift)
                for k in range(row.size):
                    slope[k] += times * np.float64(row[k])
                total += change
                n_moved += 1
        if n_moved == 0:
            break
    return total


@kernel()
def _best_move(q: int, steep: float, bend: float, order: int, price: float) -> tuple[float, int]:
    """Change of the function and the move, 0 if there is none that lowers it."""
    length = code_length(q, order)
    best, best_shift = 0.0, 0
    for shift in range(-_MAX_SHIFT, _MAX_SHIFT + 1):
        change = steep * shift + 0.5 * bend * shift * shift
        # Most would be no better even if they cost no bits.
        if change - price * length < best and abs(q + shift) <= MAX_INTEGER:
            change += price * (code_length(q + shift, order) - length)
            if change < best:
                best, best_shift = change, shift
    return best, best_shift
