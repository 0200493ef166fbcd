# SPDX-License-Identifier: BSD-3-Clause
"""The filter that latents of all generations get before they are upsampled. Float.

Every product and sum is rounded to float32, taps are added from left to right and top to bottom
(coolchic-5, section 9; coolchic-4.2, section 10).
"""

from __future__ import annotations

import numpy as np

from numchic_bitstream._jit import kernel
from numchic_bitstream.arrays import F32, I8, I32


@kernel()
def preconcat_rows(grid: I8 | I32, taps: F32, first: int, margin: int, out: F32) -> None:
    """Filter a latent grid with PRE and write some rows of the result.

    Parameters
    ----------
    grid : int8 or int32[h, w]
    taps : float32[k]
    first, margin : int
        First output row; columns of ``out`` in front of the output.
    out : float32[n_rows, >= margin + w]
        Output.
    """
    height, width = grid.shape
    n_rows = out.shape[0]
    reach = taps.size // 2
    padded = np.zeros(width + 2 * reach, np.float32)
    filtered = np.zeros((n_rows + 2 * reach, width), np.float32)
    for y in range(max(0, first - reach), min(height, first + n_rows + reach)):
        for x in range(width):
            padded[reach + x] = grid[y, x]
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
        for x in range(width):
            target[x] += np.float32(grid[first + i, x])
