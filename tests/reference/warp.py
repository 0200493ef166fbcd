# SPDX-License-Identifier: BSD-3-Clause
"""Warping, sample by sample: specification, section 13.3.

In float32 with one rounding per operation; taps are summed along x first, then along y.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .resize import ONE, TWO, _c1, _c2

FloatArray = NDArray[np.float32]


def sinc_coefficients(s: np.float32, k: int) -> list[np.float32]:
    """Coefficients of the taps -k/2 + 1 .. k/2, computed in float64."""
    coefficients = []
    for j in range(-k // 2 + 1, k // 2 + 1):
        u = float(s) - j
        sinc = 1.0 if u == 0 else math.sin(math.pi * u) / (math.pi * u)
        coefficients.append(np.float32(math.cos(math.pi * u / k) * sinc))
    return coefficients


def taps(x: int, flow: np.float32, n: int, k: int) -> tuple[int, list[np.float32]]:
    """Position of the first tap on an axis of n samples, and the coefficients."""
    if k >= 6:
        floor = int(np.floor(flow))
        return x + floor - k // 2 + 1, sinc_coefficients(flow - np.float32(floor), k)
    position = np.float32(0)
    if n > 1:
        u = np.float32(-1) + np.float32(2 * x) / np.float32(n - 1)
        u = u + flow / (np.float32(n - 1) / TWO)
        position = (u + ONE) / TWO * np.float32(n - 1)
    if k == 2:
        position = min(max(position, np.float32(0)), np.float32(n - 1))
    floor = int(np.floor(position))
    t = position - np.float32(floor)
    if k == 2:
        return floor, [ONE - t, t]
    return floor - 1, [_c2(t + ONE), _c1(t), _c1(ONE - t), _c2(TWO - t)]


def _sum(coefficients: list[np.float32], values: list[np.float32]) -> np.float32:
    total = coefficients[0] * values[0]
    for coefficient, value in zip(coefficients[1:], values[1:], strict=True):
        total = total + coefficient * value
    return total


def warp(reference: FloatArray, flow: FloatArray, k: int) -> FloatArray:
    """Warp [C][H][W] by a flow [2][H][W], horizontal first."""
    n_channels, height, width = reference.shape
    out = np.empty_like(reference)
    for y in range(height):
        for x in range(width):
            left, across = taps(x, flow[0, y, x], width, k)
            top, down = taps(y, flow[1, y, x], height, k)
            columns = [min(max(left + j, 0), width - 1) for j in range(k)]
            rows = [min(max(top + i, 0), height - 1) for i in range(k)]
            for c in range(n_channels):
                sums = [_sum(across, [reference[c, row, col] for col in columns]) for row in rows]
                out[c, y, x] = _sum(down, sums)
    return out
