# SPDX-License-Identifier: BSD-3-Clause
"""Resize: specification, section 11.3, in float32 with one rounding per operation.

Columns (horizontally) first, then rows.  Identity when the size does not change at all; when only
one axis changes, the formulas are applied on both.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

ONE = np.float32(1)
TWO = np.float32(2)
HALF = np.float32(0.5)
A = np.float32(-0.75)


def _c1(x: np.float32) -> np.float32:
    return ((A + TWO) * x - (A + np.float32(3))) * x * x + ONE


def _c2(x: np.float32) -> np.float32:
    five, eight, four = np.float32(5), np.float32(8), np.float32(4)
    return ((A * x - five * A) * x + eight * A) * x - four * A


def _sample(x: FloatArray, d: int, m: int, kind: str) -> FloatArray:
    """Output sample d of m along the last axis, for all rows at once."""
    n = x.shape[-1]
    ratio = np.float32(n) / np.float32(m)
    if kind == "nearest":
        if m == n:
            i = d
        elif m == 2 * n:
            i = d >> 1
        else:
            i = min(int(np.floor(np.float32(d) * ratio)), n - 1)
        return x[..., i]
    s = ratio * (np.float32(d) + HALF) - HALF
    if kind == "bilinear":
        s = max(s, np.float32(0))
        i = min(int(np.floor(s)), n - 1)
        t = min(max(s - np.float32(i), np.float32(0)), ONE)
        result: FloatArray = (ONE - t) * x[..., i] + t * x[..., min(i + 1, n - 1)]
        return result
    if kind == "bicubic":
        i = int(np.floor(s))
        t = s - np.float32(i)
        c = [_c2(t + ONE), _c1(t), _c1(ONE - t), _c2(TWO - t)]
        acc = c[0] * x[..., min(max(i - 1, 0), n - 1)]
        for q in range(1, 4):
            acc = acc + c[q] * x[..., min(max(i - 1 + q, 0), n - 1)]
        return acc
    raise ValueError(f"unknown resize: {kind}")


def _resize_last_axis(x: FloatArray, m: int, kind: str) -> FloatArray:
    return np.stack([_sample(x, d, m, kind) for d in range(m)], axis=-1)


def resize(x: FloatArray, size: tuple[int, int], kind: str) -> FloatArray:
    """Resize the last two axes of x to size = (H, W)."""
    height, width = size
    x = np.asarray(x, dtype=np.float32)
    if x.shape[-2:] == (height, width):
        return x
    x = _resize_last_axis(x, width, kind)
    return np.swapaxes(_resize_last_axis(np.swapaxes(x, -1, -2), height, kind), -1, -2)
