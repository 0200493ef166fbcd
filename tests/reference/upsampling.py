# SPDX-License-Identifier: BSD-3-Clause
"""Upsampling of the latents: specification, section 9.

Everything is float32, each product and each sum rounded on its own:

* PRE: horizontal pass, acc = K[0]*T[x-c], then acc + K[t]*T[x+t-c] for t = 1, 2, ...; the same
  vertically; the original grid is added last.
* X2: horizontal pass, then vertical; the polyphase sum starts with the product of u = 0 and adds
  those of u = 1, 2, ...
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]


def _x2_rows(a: FloatArray, kernel: list[np.float32]) -> FloatArray:
    """Doubles the width (section 9.4, polyphase form)."""
    h, w = a.shape
    g = len(kernel) // 2
    out = np.zeros((h, 2 * w), dtype=np.float32)
    for e in (0, 1):
        r = (e + g - 1) % 2
        o = (e + g - 1 - r) // 2
        for p in range(w):
            total = kernel[r] * a[:, min(max(p + o, 0), w - 1)]
            for u in range(1, g):
                total = total + kernel[r + 2 * u] * a[:, min(max(p + o - u, 0), w - 1)]
            out[:, 2 * p + e] = total
    return out


def x2(a: FloatArray, params: Iterable[Any]) -> FloatArray:
    """One 2-D array to twice its size."""
    half = [np.float32(value) for value in params]
    kernel = half + half[::-1]
    a = np.asarray(a, dtype=np.float32)
    return _x2_rows(_x2_rows(a, kernel).T, kernel).T


def _filter_rows(a: FloatArray, kernel: list[np.float32]) -> FloatArray:
    """Horizontal filter with zeros outside (section 9.3)."""
    w = a.shape[1]
    c = (len(kernel) - 1) // 2
    padded: FloatArray = np.pad(a, ((0, 0), (c, c)))
    acc: FloatArray = kernel[0] * padded[:, 0:w]
    for t in range(1, len(kernel)):
        acc = acc + kernel[t] * padded[:, t : t + w]
    return acc


def pre(t: FloatArray, params: Iterable[Any]) -> FloatArray:
    """Pre-concatenation filter of one 2-D array."""
    half = [np.float32(value) for value in params]
    kernel = half + half[-2::-1]
    t = np.asarray(t, dtype=np.float32)
    filtered = _filter_rows(_filter_rows(t, kernel).T, kernel).T
    return filtered + t


def upsample(
    latents: Sequence[Any], ups_kernels: Sequence[Any], pre_kernels: Sequence[Any]
) -> FloatArray:
    """Section 9.1: latents finest first to [S', h, w]; kernels are parameter vectors."""
    grids = [np.asarray(latent, dtype=np.float32) for latent in latents]
    a = [grids[-1]]
    for idx in range(len(grids) - 1):
        t = grids[len(grids) - 2 - idx]
        h, w = t.shape
        a = [x2(channel, ups_kernels[idx])[:h, :w] for channel in a]
        a = [pre(t, pre_kernels[idx]), *a]
    return np.stack(a)
