# SPDX-License-Identifier: BSD-3-Clause
"""Arithmetic on single rows: what the kernels of filters are made of."""

from __future__ import annotations

import numpy as np

from numchic_bitstream.arrays import F32
from numchic_bitstream.kernels import kernel

_ZERO = np.float32(0.0)


@kernel()
def add_scaled(factor: np.float32, x: F32, y: F32) -> None:
    """Y += factor * x, as far as y goes."""
    for k in range(y.size):
        y[k] += factor * x[k]


@kernel()
def add_multiplied(a: F32, b: F32, y: F32) -> None:
    """Y += a * b, as far as y goes."""
    for k in range(y.size):
        y[k] += a[k] * b[k]


@kernel()
def clear_row(y: F32) -> None:
    """Set all to zero."""
    for k in range(y.size):
        y[k] = _ZERO


@kernel()
def copy_row(x: F32, y: F32) -> None:
    """Set y to x, as far as y goes."""
    for k in range(y.size):
        y[k] = x[k]


@kernel()
def add_row(x: F32, y: F32) -> None:
    """Y += x, as far as y goes."""
    for k in range(y.size):
        y[k] += x[k]


@kernel()
def total(y: F32) -> float:
    """Sum in float64."""
    result = 0.0
    for k in range(y.size):
        result += np.float64(y[k])
    return result
