# SPDX-License-Identifier: BSD-3-Clause
"""Common randomness: a pseudo-random field known to both sides (coolchic-5, section 10). Float.

The generator works in float64 and its samples are rounded to float32. This is the only stage that
uses library functions (logarithm, cosine); an error of theirs in the last place survives the
rounding once in some 10**8 samples.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from numchic.resize import resize_rows
from numchic_bitstream.grids import level_size

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]

_SEED = 18101995
_MULTIPLIER = 16807
_MODULUS = 2**31 - 1
_PI = 3.14159265359  # as truncated as in the format
_BLOCK = 1 << 16  # samples made at a time, which bounds the memory


def normal_samples(count: int, start: int = 0) -> F32:
    """Return the samples start, start + 1, ... of the generator, float32[count]."""
    samples = np.empty(count, np.float32)
    for done in range(0, count, _BLOCK):
        n = min(_BLOCK, count - done)
        uniform = _skip(_first_seeds()[: 2 * n], 2 * (start + done)) / _MODULUS
        radius = np.sqrt(-2.0 * np.log(uniform[0::2]))
        samples[done : done + n] = radius * np.cos(2 * _PI * uniform[1::2])
    return samples


@functools.cache
def _first_seeds() -> I64:
    """Seeds of the first block of samples, two for each."""
    seeds = np.array([_SEED * _MULTIPLIER % _MODULUS], np.int64)
    while seeds.size < 2 * _BLOCK:
        seeds = np.concatenate([seeds, _skip(seeds, seeds.size)])
    seeds.flags.writeable = False
    return seeds


def _skip(seeds: I64, n_steps: int) -> I64:
    """Seeds that the generator reaches from each of some seeds after n steps."""
    return seeds * pow(_MULTIPLIER, n_steps, _MODULUS) % _MODULUS


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
