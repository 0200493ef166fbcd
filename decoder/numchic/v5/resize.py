# SPDX-License-Identifier: BSD-3-Clause
"""Resize to an arbitrary size: nearest, bilinear, bicubic (coolchic-5, section 11.3). Float.

Columns first, then rows. Positions and coefficients are evaluated in float32 as written in the
specification; the taps are added from left to right, every product and sum rounded to float32.
Resizing to the same size changes nothing; when one of the two sizes differs, both axes are
filtered.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from numchic_bitstream.arrays import F32
from numchic_bitstream.v5.headers import Resize

Indices = NDArray[np.intp]

_ONE = np.float32(1)
_HALF = np.float32(0.5)
_A = np.float32(-0.75)


def resize(x: F32, size: tuple[int, int], kind: Resize) -> F32:
    """Resize all channels.

    Parameters
    ----------
    x : float32[C, h, w]
    size : (H, W)
        Wanted size.
    kind : {"nearest", "bilinear", "bicubic"}

    Returns
    -------
    float32[C, H, W]
        ``x`` itself when it has the size already.
    """
    return x if x.shape[1:] == size else resize_rows(x, size, kind, 0, size[0])


def resize_rows(x: F32, size: tuple[int, int], kind: Resize, first: int, n_rows: int) -> F32:
    """Rows first, first + 1, ... of what :func:`resize` returns, float32[C, n_rows, W].

    ``x`` must have another size than the one wanted.
    """
    height, width = x.shape[1:]
    rows, coefficients = _taps(height, size[0], kind, np.arange(first, first + n_rows))
    top, bottom = min(int(i.min()) for i in rows), max(int(i.max()) for i in rows)
    wide = _filter(x[:, top : bottom + 1], 2, *_taps(width, size[1], kind, np.arange(size[1])))
    return _filter(wide, 1, [i - top for i in rows], [c[:, None] for c in coefficients])


def _filter(x: F32, axis: int, index: list[Indices], coefficients: list[F32]) -> F32:
    """Sum of the taps along one axis; coefficients have the shape to be multiplied with."""
    y: F32 = np.take(x, index[0], axis) * coefficients[0]
    for i, c in zip(index[1:], coefficients[1:], strict=True):
        y = y + np.take(x, i, axis) * c
    return y


def _taps(n: int, m: int, kind: Resize, d: Indices) -> tuple[list[Indices], list[F32]]:
    """Input indices and coefficients, one array per tap, for some of n -> m samples."""
    ratio = np.float32(n) / np.float32(m)
    if kind == "nearest":
        if m == n:
            index = d
        elif m == 2 * n:
            index = d >> 1
        else:
            index = np.floor(d.astype(np.float32) * ratio).astype(np.intp)
        return [np.minimum(index, n - 1)], [np.ones(d.size, np.float32)]
    s = ratio * (d.astype(np.float32) + _HALF) - _HALF
    if kind == "bilinear":
        s = np.maximum(s, np.float32(0))
        i = np.minimum(np.floor(s).astype(np.intp), n - 1)
        t = np.clip(s - i.astype(np.float32), np.float32(0), _ONE)
        return [i, np.minimum(i + 1, n - 1)], [_ONE - t, t]
    floor = np.floor(s)
    t = s - floor
    i = floor.astype(np.intp)
    taps = [np.clip(i - 1 + q, 0, n - 1) for q in range(4)]
    return taps, [_outer(t + _ONE), _inner(t), _inner(_ONE - t), _outer(np.float32(2) - t)]


def _inner(x: F32) -> F32:
    """Cubic coefficient for distances 0 .. 1."""
    return ((_A + np.float32(2)) * x - (_A + np.float32(3))) * x * x + _ONE


def _outer(x: F32) -> F32:
    """Cubic coefficient for distances 1 .. 2."""
    return ((_A * x - np.float32(5) * _A) * x + np.float32(8) * _A) * x - np.float32(4) * _A
