# SPDX-License-Identifier: BSD-3-Clause
"""Squared error of a picture and its derivative in one sweep (training, section 3.4).

A pixel r of the sweep becomes y = clamp(A r + b, 0, 1), with the output transform A, b; the error
is the weighted mean of (y - original)^2, of rounded samples in evaluations.
"""

from __future__ import annotations

import numpy as np

from numchic_bitstream.arrays import F32, F64
from numchic_bitstream.kernels import kernel
from numchic_trainer.kernels.lanes import LANES, accumulate, load
from numchic_trainer.kernels.rows import clear_row, copy_row
from numchic_trainer.kernels.workers import Workers, partition

_BLOCK = 512  # pixels that are worked on at a time
_LEAST = 32768  # pixels of a part
_ZERO, _ONE, _TWO = np.float32(0.0), np.float32(1.0), np.float32(2.0)


class SquaredErrorSweep:
    """Squared error against one picture of three channels of equal size.

    Parameters
    ----------
    original : three float32[N]
        In [0, 1].
    weights : float32[N] or None
        Weight of every pixel.
    matrix : float32[3, 3]
    offset : float32[3]
        The output transform.
    maximum : int
        Largest sample.
    workers : Workers
    """

    def __init__(
        self,
        original: tuple[F32, F32, F32],
        weights: F32 | None,
        matrix: F32,
        offset: F32,
        maximum: int,
        workers: Workers,
    ) -> None:
        self._original = original
        self._weights = np.empty(0, np.float32) if weights is None else weights
        self._unweighted = np.empty(0, np.float32)
        self._transform = np.concatenate([matrix, offset[:, None]], 1)
        self._maximum = np.float32(maximum)
        self._workers = workers
        self._parts = partition(original[0].size, _LEAST)

    def differentiate(self, raw: F32, d_raw: F32) -> float:
        """Error before rounding; ``d_raw`` becomes its derivative by ``raw``, float32[3, N]."""
        return self._sweep(raw, self._weights, False, d_raw)

    def evaluate(self, raw: F32) -> tuple[float, float]:
        """Weighted and plain error of rounded samples."""
        nothing = np.empty((0, 0), np.float32)
        weighted = self._sweep(raw, self._weights, True, nothing)
        if not self._weights.size:
            return weighted, weighted
        return weighted, self._sweep(raw, self._unweighted, True, nothing)

    def _sweep(self, raw: F32, weights: F32, rounded: bool, d_raw: F32) -> float:
        sums = np.zeros((len(self._parts), LANES))
        maximum = self._maximum if rounded else _ZERO

        def work(i: int) -> None:
            start, end = self._parts[i]
            _squared_error(
                raw, self._original, weights, self._transform, maximum, start, end, d_raw, sums[i]
            )

        self._workers.run(work, len(self._parts))
        return float(sums.sum()) / raw.size


@kernel()
def _transformed(transform: F32, c: int, raw: F32, start: int, n: int, y: F32) -> None:
    a0, a1, a2, b = transform[c, 0], transform[c, 1], transform[c, 2], transform[c, 3]
    r0, r1, r2 = raw[0, start:], raw[1, start:], raw[2, start:]
    for k in range(n):
        y[k] = a0 * r0[k] + a1 * r1[k] + a2 * r2[k] + b


@kernel()
def _slope(transform: F32, c: int, slopes: F32, n: int, d_raw: F32) -> None:
    a0, a1, a2 = transform[0, c], transform[1, c], transform[2, c]
    s0, s1, s2 = slopes[0], slopes[1], slopes[2]
    for k in range(n):
        d_raw[k] = a0 * s0[k] + a1 * s1[k] + a2 * s2[k]


@kernel(allocates=True)
def _squared_error(
    raw: F32,
    original: tuple[F32, F32, F32],
    weights: F32,
    transform: F32,
    maximum: np.float32,
    start: int,
    end: int,
    d_raw: F32,
    sums: F64,
) -> None:
    """Sum over the pixels ``start`` to ``end``; samples are rounded if ``maximum`` is not zero."""
    y = np.empty(_BLOCK, np.float32)
    slopes = np.empty((3, _BLOCK), np.float32)
    errors = np.zeros(_BLOCK, np.float32)
    weight = np.ones(_BLOCK, np.float32)
    factor = _TWO / np.float32(raw.size)
    for first in range(start, end, _BLOCK):
        n = min(_BLOCK, end - first)
        if weights.size > 0:
            copy_row(weights[first : first + n], weight[:n])
        clear_row(errors)
        for c in range(3):
            _transformed(transform, c, raw, first, n, y)
            wanted, slope = original[c][first:], slopes[c]
            if maximum > _ZERO:
                for k in range(n):
                    y[k] = np.rint(min(max(y[k], _ZERO), _ONE) * maximum) / maximum
            for k in range(n):
                inside = (y[k] >= _ZERO) & (y[k] <= _ONE)
                clamped = min(max(y[k], _ZERO), _ONE)
                clamped = y[k] if np.isnan(y[k]) else clamped
                difference = clamped - wanted[k]
                weighted = weight[k] * difference
                errors[k] += weighted * difference
                slope[k] = factor * weighted if inside else _ZERO
        for k in range(0, _BLOCK, LANES):
            accumulate(load(errors, k), sums, 0)
        if d_raw.size > 0:
            for c in range(3):
                _slope(transform, c, slopes, n, d_raw[c, first:])
