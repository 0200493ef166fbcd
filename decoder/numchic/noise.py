# SPDX-License-Identifier: BSD-3-Clause
"""Common randomness: a pseudo-random field known to both sides (coolchic-5, section 10). Float.

The generator works in float64 and its samples are rounded to float32. This is the only stage that
uses library functions (logarithm, cosine); an error of theirs in the last place survives the
rounding once in some 10**8 samples.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from numchic.resize import resize
from numchic_bitstream.grids import level_size

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]

_SEED = 18101995
_MULTIPLIER = 16807
_MODULUS = 2**31 - 1
_PI = 3.14159265359  # as truncated as in the format


def normal_samples(count: int) -> F32:
    """Return the first samples of the generator, float32[count]."""
    seeds = np.array([_SEED * _MULTIPLIER % _MODULUS], np.int64)
    while seeds.size < 2 * count:
        # n steps at once: multiply by the n-th power of the multiplier.
        jump = pow(_MULTIPLIER, seeds.size, _MODULUS)
        seeds = np.concatenate([seeds, seeds * jump % _MODULUS])
    uniform = seeds[: 2 * count] / _MODULUS
    radius = np.sqrt(-2.0 * np.log(uniform[0::2]))
    return (radius * np.cos(2 * _PI * uniform[1::2])).astype(np.float32)


def common_randomness(img_size: tuple[int, int], lowest: int, highest: int) -> F32:
    """Combine random grids of all levels like the latents.

    Parameters
    ----------
    img_size : (H, W)
    lowest, highest : int
        Levels of the latents; the lowest one must have picture size.

    Returns
    -------
    float32[highest - lowest + 1, H, W]
        Channel 0 comes from level ``lowest``.
    """
    sizes = [level_size(img_size, level) for level in range(lowest, highest + 1)]
    counts = [height * width for height, width in sizes]
    samples = np.split(normal_samples(sum(counts)), np.cumsum(counts)[:-1])
    grids = [part.reshape(1, *size) for part, size in zip(samples, sizes, strict=True)]
    stack = grids[-1]
    for grid in grids[-2::-1]:
        height, width = grid.shape[1:]
        if stack.shape[1:] != (height, width):
            double = (2 * stack.shape[1], 2 * stack.shape[2])
            stack = resize(stack, double, "bicubic")[:, :height, :width]
        stack = np.concatenate([grid, stack])
    return resize(stack, img_size, "bicubic")
