# SPDX-License-Identifier: BSD-3-Clause
"""Spatial contexts and coding order of a latent grid (coolchic-5, sections 6.1 and 7). Exact.

Sample (y, x) of a grid has the time t = x + 10 * y. Samples are coded by increasing t, those of
equal t by increasing y; no context reaches a sample of the same or a later time. In a grid of at
most 10 columns every t belongs to one sample and the order is the raster order, so that the rule
for narrow grids needs no code.

Samples are kept by time: row ``t & 63`` of ``history`` holds the samples of time t, indexed by y. A
neighbour at (dy, dx) of all samples of one time is then a contiguous run of row
``t + dx + 10 * dy``, and cells outside the grid are simply never filled. 64 rows are enough because
the oldest neighbour, (-4, -4), is 44 time steps back.
"""

from __future__ import annotations

import numpy as np

from numchic_bitstream.arrays import F64, I64
from numchic_bitstream.kernels import kernel

NEIGHBOURS = (
    (0, -1), (-1, 0), (-1, -1), (-1, 1), (0, -2), (-2, 0), (-3, 0), (0, -3), (-1, -2), (-2, 1),
    (-2, -1), (-1, 2), (-2, -2), (-1, -3), (-2, 2), (-3, 1), (0, -4), (-1, 3), (-2, -3), (-2, 3),
    (-3, -1), (-3, -2), (-3, 2), (-4, 0), (-1, -4), (-4, -1), (-1, 4), (-2, 4), (-3, -3), (-3, 3),
    (-4, -2), (-4, 1), (-2, -4), (-3, -4), (-3, 4), (-4, -3), (-4, 2), (-4, 3), (-4, -4), (-4, 4),
)  # fmt: skip
"""(dy, dx) of the 40 neighbours, in the order of the ARM inputs (section 6.1)."""

ROW_DELAY = 10
"""Time steps between a sample and the one below it."""

_HISTORY = 64
MARGIN = 8
"""Cells in front of y = 0 in ``history``: contexts reach 4 rows up, cleaning 8."""


def new_history(height: int, lanes: int) -> F64:
    """Empty history for a grid: float64[64, MARGIN + height + lanes] zeros."""
    return np.zeros((_HISTORY, MARGIN + height + lanes))


def n_times(height: int, width: int) -> int:
    """Number of time steps of a grid."""
    return width + ROW_DELAY * (height - 1)


def max_batch(height: int, width: int) -> int:
    """Largest number of samples that share a time."""
    return min(height, -(-width // ROW_DELAY))


@kernel(inline=True)
def rows_of_time(t: int, height: int, width: int) -> tuple[int, int]:
    """First row with a sample of time t, and the number of them (possibly 0)."""
    first = max(0, (t - width + ROW_DELAY) // ROW_DELAY)
    return first, min(height - 1, t // ROW_DELAY) - first + 1


@kernel()
def read_contexts(
    history: F64, t: int, first: int, offsets: I64, n_lanes: int, inputs: F64
) -> None:
    """Copy the spatial contexts of all samples of time t.

    Parameters
    ----------
    history : float64[64, ...]
    t, first : int
        Time, and row of its first sample.
    offsets : int64[N, 2]
        (dy, dx) of the neighbours in use.
    n_lanes : int
        Number of samples, possibly rounded up.
    inputs : float64[>= N, >= n_lanes]
        Output, one row per neighbour.
    """
    for j in range(offsets.shape[0]):
        dy = offsets[j, 0]
        row = (t + offsets[j, 1] + ROW_DELAY * dy) & (_HISTORY - 1)
        start = MARGIN + first + dy
        for i in range(n_lanes):
            inputs[j, i] = history[row, start + i]


@kernel()
def write_samples(history: F64, t: int, first: int, n: int, samples: I64) -> None:
    """Enter the n samples of time t, and wipe what an earlier time may have left before them."""
    row = t & (_HISTORY - 1)
    start = MARGIN + first
    history[row, start - MARGIN : start] = 0.0
    for i in range(n):
        history[row, start + i] = samples[i]
