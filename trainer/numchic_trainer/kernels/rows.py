# SPDX-License-Identifier: BSD-3-Clause
"""Arithmetic on single rows.

Filters copy a row between margins first, so that vectors may reach beyond its ends.
"""

from __future__ import annotations

import numpy as np

from numchic_bitstream.arrays import F32
from numchic_bitstream.kernels import kernel
from numchic_trainer.kernels.lanes import LANES

ROOM = 2 * LANES
"""Numbers that may be looked at behind the last one of a flat array of rows."""

_ZERO = np.float32(0.0)


@kernel()
def add_scaled(factor: np.float32, x: F32, y: F32) -> None:
    """Y += factor * x, as far as y goes."""
    for k in range(y.size):
        y[k] += factor * x[k]


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
def copy(source: F32, i: int, n: int, target: F32, j: int) -> None:
    """Copy n numbers from place i to place j."""
    old, new = source[i : i + n], target[j : j + n]
    for k in range(n):
        new[k] = old[k]


@kernel()
def add(source: F32, i: int, n: int, target: F32, j: int) -> None:
    """Add n numbers from place i to those at place j."""
    old, new = source[i : i + n], target[j : j + n]
    for k in range(n):
        new[k] += old[k]


@kernel()
def row_size(width: int) -> int:
    """Size of a row in the cache: it begins at LANES, and there is room behind it."""
    return width + -width % LANES + 4 * LANES
