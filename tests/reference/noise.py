# SPDX-License-Identifier: BSD-3-Clause
"""Common randomness: specification, section 10.  Generator in float64, the rest in float32."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from .headers import size_at_level
from .resize import resize

FloatArray = NDArray[np.float32]


def normal_samples() -> Iterator[float]:
    seed = 18101995
    while True:
        seed = (16807 * seed) % (2**31 - 1)
        u1 = seed / 2147483647
        seed = (16807 * seed) % (2**31 - 1)
        u2 = seed / 2147483647
        yield math.sqrt(-2 * math.log(u1)) * math.cos(2 * 3.14159265359 * u2)


def noise_grids(img_size: Sequence[int], lo: int, hi: int) -> list[FloatArray]:
    """The grids of levels lo .. hi, filled in this order."""
    generator = normal_samples()
    grids = []
    for level in range(lo, hi + 1):
        h, w = size_at_level(list(img_size), level)
        values = [[next(generator) for _ in range(w)] for _ in range(h)]
        grids.append(np.array(values, dtype=np.float32))
    return grids


def common_randomness(img_size: Sequence[int], lo: int, hi: int) -> FloatArray:
    """[S', H, W], level lo first."""
    grids = noise_grids(img_size, lo, hi)
    a = [grids[-1]]
    for grid in grids[-2::-1]:
        h, w = grid.shape
        if a[0].shape != (h, w):
            coarse_h, coarse_w = a[0].shape
            a = [resize(g, (2 * coarse_h, 2 * coarse_w), "bicubic")[:h, :w] for g in a]
        a = [grid, *a]
    return resize(np.stack(a), (img_size[0], img_size[1]), "bicubic")
