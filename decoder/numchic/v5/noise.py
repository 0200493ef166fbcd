# SPDX-License-Identifier: BSD-3-Clause
"""Common randomness: a pseudo-random field known to both sides (coolchic-5, section 10). Float.

It consists of the samples of :mod:`numchic.randomness`, on grids combined like the latents.
"""

from __future__ import annotations

import numpy as np

from numchic.randomness import normal_samples
from numchic.v5.resize import resize_rows
from numchic_bitstream.arrays import F32
from numchic_bitstream.structure import level_size


class CommonRandomness:
    """Random grids of all levels, combined like the latents.

    The finest grid and the last step, which make most of the data, are done for a range of rows at
    a time.

    Parameters
    ----------
    img_size : (H, W)
    lowest, highest : int
        Levels of the latents; the lowest one must have picture size.
    """

    def __init__(self, img_size: tuple[int, int], lowest: int, highest: int) -> None:
        self._img_size = img_size
        sizes = [level_size(img_size, level) for level in range(lowest, highest + 1)]
        starts = np.cumsum([height * width for height, width in sizes]).tolist()
        self._stack = np.empty((0, *sizes[-1]), np.float32)  # all levels but the lowest
        for start, (height, width) in zip(starts[-2::-1], sizes[:0:-1], strict=True):
            grid = normal_samples(height * width, start).reshape(1, height, width)
            self._stack = np.concatenate([grid, _enlarge(self._stack, (height, width), 0, height)])

    def rows(self, first: int, n_rows: int) -> F32:
        """Rows first, first + 1, ... of the field: float32[S', n_rows, W], level lowest first."""
        height, width = self._img_size
        finest = normal_samples(n_rows * width, first * width).reshape(1, n_rows, width)
        coarser = _enlarge(self._stack, (height, width), first, n_rows)
        return np.concatenate([finest, coarser])


def _enlarge(stack: F32, size: tuple[int, int], first: int, n_rows: int) -> F32:
    """Some rows of the stack at the size of the next finer level, which may be the same size."""
    if stack.shape[1:] == size:
        return stack[:, first : first + n_rows]
    double = (2 * stack.shape[1], 2 * stack.shape[2])
    return resize_rows(stack, double, "bicubic", first, n_rows)[:, :, : size[1]]


def common_randomness(img_size: tuple[int, int], lowest: int, highest: int) -> F32:
    """Return the whole field, float32[S', H, W]; arguments as for :class:`CommonRandomness`."""
    return CommonRandomness(img_size, lowest, highest).rows(0, img_size[0])
