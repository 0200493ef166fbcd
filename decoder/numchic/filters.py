# SPDX-License-Identifier: BSD-3-Clause
"""The filter that latents of all generations get before they are upsampled. Float.

Every product and sum is rounded to float32, taps are added from left to right and top to bottom
(coolchic-5, section 9; coolchic-4.2, section 10).
"""

from __future__ import annotations

import numpy as np

from numchic_bitstream.arrays import F32, F32_1D, F32_2D, I8, I8_2D, I32, I32_2D
from numchic_bitstream.kernels import kernel


def preconcat_rows(
    grid: I8 | I32, taps: F32, first: int, margin: int, out: F32, border: int = 0
) -> None:
    """Filter a latent grid with PRE and write some rows of the result.

    Parameters
    ----------
    grid : int8 or int32[border + h, border + w + border]
        Contiguous.
    taps : float32[k]
    first, margin : int
        First output row; columns of ``out`` in front of the output.
    out : float32[n_rows, >= margin + w]
        Output, contiguous.
    border : int
        Rows above the grid, and columns on both sides, that are not part of it.
    """
    width, reach = grid.shape[1] - 2 * border, taps.size // 2
    padded = np.zeros(width + 2 * reach, np.float32)
    filtered = np.zeros((out.shape[0] + 2 * reach, width), np.float32)
    _preconcat_rows(grid, border, taps, first, margin, padded, filtered, out)


@kernel(entry=True)
def _preconcat_rows(
    grid: I8_2D | I32_2D,
    border: int,
    taps: F32_1D,
    first: int,
    margin: int,
    padded: F32_1D,
    filtered: F32_2D,
    out: F32_2D,
) -> None:
    """Do the same; ``padded`` and ``filtered`` are zeros."""
    height, width = grid.shape[0] - border, grid.shape[1] - 2 * border
    n_rows = out.shape[0]
    reach = taps.size // 2
    for y in range(max(0, first - reach), min(height, first + n_rows + reach)):
        samples = grid[border + y, border : border + width]
        for x in range(width):
            padded[reach + x] = samples[x]
        row = filtered[y - first + reach]
        for t in range(taps.size):
            tap = taps[t]
            for x in range(width):
                row[x] += tap * padded[x + t]
    for i in range(n_rows):
        target = out[i, margin : margin + width]
        target[:] = 0.0
        for t in range(taps.size):
            tap = taps[t]
            for x in range(width):
                target[x] += tap * filtered[i + t, x]
        samples = grid[border + first + i, border : border + width]
        for x in range(width):
            target[x] += np.float32(samples[x])
