# SPDX-License-Identifier: BSD-3-Clause
"""Probability tables and the quantised Laplace model: specification, sections 8.1 and 8.2."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

ONE_ULP_SMALLER = (87, 489, 809, 923, 1003, 1049, 1530, 1573, 2240, 2276, 2323, 2337)
ONE_ULP_LARGER = (198, 442, 901, 1070, 1310, 1644, 1719, 1906, 2039, 2096, 2300)


def _scale_table() -> NDArray[np.float32]:
    table = np.array([math.exp((i - 1280) / 256) for i in range(2561)], dtype=np.float32)
    bits = table.view(np.uint32)
    for i in ONE_ULP_SMALLER:
        bits[i] -= 1
    for i in ONE_ULP_LARGER:
        bits[i] += 1
    return table


SCALE: NDArray[np.float32] = _scale_table()
MU: NDArray[np.float32] = np.array([(i - 16384) / 256 for i in range(32768)], dtype=np.float32)

_SCALE: list[float] = SCALE.tolist()
_MU: list[float] = MU.tolist()


def distribution(x: float, mu: float, b: float) -> float:
    """F(x), in float64."""
    if x <= mu:
        return 0.5 * math.exp((x - mu) / b)
    return 1.0 - 0.5 * math.exp(-(x - mu) / b)


def left(s: int, mu_index: int, scale_index: int) -> int:
    """Cumulative count below symbol s, s = -64 .. 64."""
    if s == -64:
        return 0
    if s == 64:
        return 2**24
    f = distribution(s - 0.5, _MU[mu_index], _SCALE[scale_index])
    return math.trunc(16777088.0 * f) + (int(s) + 64)


def bounds(s: int, mu_index: int, scale_index: int) -> tuple[int, int]:
    """left(s) and prob(s)."""
    low = left(s, mu_index, scale_index)
    return low, left(s + 1, mu_index, scale_index) - low


def symbol(quantile: int, mu_index: int, scale_index: int) -> int:
    """The s with left(s) <= quantile < left(s + 1) (section 8.3), found by trying them all."""
    s = -64
    while left(s + 1, mu_index, scale_index) <= quantile:
        s += 1
    return s
