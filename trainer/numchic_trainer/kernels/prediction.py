# SPDX-License-Identifier: BSD-3-Clause
"""Squared error of a predicted frame and its derivatives in one sweep (coolchic-5, 12 and 13.2).

A frame is predicted and joined with its residue as decoders do it, operation by operation. For
training, chroma of 4:2:0 is averaged, then samples are clamped, and the clamp stops derivatives;
evaluations round as decoders do.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from numchic_bitstream.arrays import F32, F64
from numchic_bitstream.kernels import kernel
from numchic_trainer.kernels.lanes import LANES, accumulate, load
from numchic_trainer.kernels.rows import clear_row, copy_row, row_size
from numchic_trainer.kernels.workers import Workers, partition

_LEAST = 16384  # pixels of a part
_ZERO, _HALF, _ONE = np.float32(0), np.float32(0.5), np.float32(1)
_FOUR = np.float32(4)
NOTHING: F32 = np.empty((0, 0, 0), np.float32)
"""Given instead of an array that is not there, or for derivatives that nobody wants."""

Planes = tuple[F32, F32, F32]


class PredictionSweep:
    """From residue and warped references of a P or B frame to its squared error, and back.

    Parameters
    ----------
    original : three float32 arrays
        Planes in [0, 1], of H x W, or those of chroma of H/2 x W/2, with H and W even.
    maximum : int
        Largest sample.
    workers : Workers
    """

    def __init__(self, original: Planes, maximum: int, workers: Workers) -> None:
        self._original = original
        self._maximum = np.float32(maximum)
        self._workers = workers
        height, width = original[0].shape
        self._n_samples = sum(plane.size for plane in original)
        unit = height // original[1].shape[0]
        parts = partition(height // unit, -(-_LEAST // (unit * width)))
        self._parts = [(unit * part.start, unit * part.end) for part in parts]

    def differentiate(
        self, residue: F32, warped: Sequence[F32], d_residue: F32, d_warped: Sequence[F32]
    ) -> float:
        """Error before rounding, and its derivatives.

        Parameters
        ----------
        residue : float32[4 or 5, H, W]
            Residue, then what becomes alpha and beta; with one reference, beta may be missing.
        warped : one or two float32[3, H, W]
        d_residue, d_warped
            Output, of the same shapes; ``NOTHING`` where it is not wanted.

        Returns
        -------
        float
            Mean over all samples of all planes; NaN if anything is.

        Notes
        -----
        Derivatives by alpha and beta pass inside 0 .. 1, and outside where descent leads inwards.
        """
        return self._sweep(residue, warped, _ZERO, d_residue, d_warped)

    def evaluate(self, residue: F32, warped: Sequence[F32]) -> float:
        """Error of the samples that a decoder puts out."""
        return self._sweep(residue, warped, self._maximum, NOTHING, (NOTHING,) * len(warped))

    def _sweep(
        self,
        residue: F32,
        warped: Sequence[F32],
        maximum: np.float32,
        d_residue: F32,
        d_warped: Sequence[F32],
    ) -> float:
        sums = np.zeros((len(self._parts), LANES))
        second, d_second = (warped[1], d_warped[1]) if len(warped) == 2 else (NOTHING, NOTHING)
        factor = np.float32(2 / self._n_samples)

        def work(p: int) -> None:
            _squared_error(
                residue,
                warped[0],
                second,
                self._original,
                maximum,
                factor,
                *self._parts[p],
                d_residue,
                d_warped[0],
                d_second,
                sums[p],
            )

        self._workers.run(work, len(self._parts))
        return float(sums.sum()) / self._n_samples


@kernel()
def _clamped(x: np.float32) -> np.float32:
    """Clamp to 0 .. 1; NaN stays."""
    return x if np.isnan(x) else min(max(x, _ZERO), _ONE)


@kernel()
def _gains(raw: F32, gains: F32) -> None:
    for x in range(raw.size):
        gains[x] = _clamped(raw[x] + _HALF)


@kernel()
def _blend(beta: F32, first: F32, second: F32, prediction: F32) -> None:
    for x in range(first.size):
        prediction[x] = beta[x] * first[x] + (_ONE - beta[x]) * second[x]


@kernel()
def _join(alpha: F32, prediction: F32, residue: F32, signal: F32) -> None:
    for x in range(residue.size):
        signal[x] = alpha[x] * prediction[x] + residue[x]


@kernel()
def _round(signal: F32, maximum: np.float32) -> None:
    for x in range(signal.size):
        signal[x] = np.rint(signal[x] * maximum) / maximum


@kernel()
def _full_error(signal: F32, wanted: F32, factor: np.float32, errors: F32) -> None:
    """Add squares to errors; the signal becomes its derivative."""
    for x in range(wanted.size):
        y = signal[x]
        difference = _clamped(y) - wanted[x]
        errors[x] += difference * difference
        signal[x] = factor * difference if (y >= _ZERO) & (y <= _ONE) else _ZERO


@kernel()
def _halved_error(
    upper: F32, lower: F32, wanted: F32, maximum: np.float32, factor: np.float32, errors: F32
) -> None:
    """Do the same for averages of four pixels of two rows, rounded if ``maximum`` is not zero."""
    for x in range(wanted.size):
        total = ((upper[2 * x] + upper[2 * x + 1]) + lower[2 * x]) + lower[2 * x + 1]
        y = total / _FOUR
        mean = _clamped(y)
        if maximum > _ZERO:
            mean = np.rint(mean * maximum) / maximum
        difference = mean - wanted[x]
        errors[x] += difference * difference
        slope = factor / _FOUR * difference if (y >= _ZERO) & (y <= _ONE) else _ZERO
        upper[2 * x] = upper[2 * x + 1] = slope
        lower[2 * x] = lower[2 * x + 1] = slope


@kernel()
def _add_product(x: F32, y: F32, total: F32) -> None:
    for k in range(total.size):
        total[k] += x[k] * y[k]


@kernel()
def _scale(factor: F32, values: F32) -> None:
    for k in range(values.size):
        values[k] *= factor[k]


@kernel()
def _split(beta: F32, d: F32, d_first: F32, d_second: F32) -> None:
    """Share the derivative by a prediction between its two references."""
    for x in range(d.size):
        d_first[x] = beta[x] * d[x]
        d_second[x] = (_ONE - beta[x]) * d[x]


@kernel()
def _add_difference(d: F32, first: F32, second: F32, total: F32) -> None:
    for x in range(total.size):
        total[x] += d[x] * (first[x] - second[x])


@kernel()
def _let_inwards(raw: F32, d_raw: F32) -> None:
    """Stop derivatives of a clamped gain where descent would lead further outside."""
    for x in range(raw.size):
        gain, d = raw[x] + _HALF, d_raw[x]
        passes = ((gain <= _ONE) | (d > _ZERO)) & ((gain >= _ZERO) | (d < _ZERO))
        d_raw[x] = d if passes else _ZERO


@kernel(allocates=True)
def _squared_error(
    residue: F32,
    first: F32,
    second: F32,
    original: Planes,
    maximum: np.float32,
    factor: np.float32,
    start: int,
    end: int,
    d_residue: F32,
    d_first: F32,
    d_second: F32,
    sums: F64,
) -> None:
    """Sum over the rows ``start`` to ``end``, two at a time where chroma has half of them.

    Samples are rounded if ``maximum`` is not zero.
    """
    height, width = original[0].shape
    unit = height // original[1].shape[0]
    n_gains = 2 if second.size > 0 else 1
    by_residue, by_warped = d_residue.size > 0, d_first.size > 0
    gains = np.empty((2, n_gains, width), np.float32)
    prediction = np.empty((2, 3, width), np.float32)
    signal = np.empty((2, 3, width), np.float32)
    errors = np.zeros(row_size(width), np.float32)
    for y in range(start, end, unit):
        for i in range(unit):
            for g in range(n_gains):
                _gains(residue[3 + g, y + i], gains[i, g])
            for c in range(3):
                if n_gains == 2:
                    _blend(gains[i, 1], first[c, y + i], second[c, y + i], prediction[i, c])
                else:
                    copy_row(first[c, y + i], prediction[i, c])
                _join(gains[i, 0], prediction[i, c], residue[c, y + i], signal[i, c])
                if maximum > _ZERO:
                    _round(signal[i, c], maximum)
        clear_row(errors)
        for i in range(unit):
            _full_error(signal[i, 0], original[0][y + i], factor, errors)
        for c in range(1, 3):
            wanted = original[c][y // unit]
            if unit == 2:
                _halved_error(signal[0, c], signal[1, c], wanted, maximum, factor, errors)
            else:
                _full_error(signal[0, c], wanted, factor, errors)
        for x in range(0, width, LANES):
            accumulate(load(errors, x), sums, 0)
        if not (by_residue or by_warped):
            continue
        for i in range(unit):
            row = y + i
            if by_residue:
                for g in range(3, d_residue.shape[0]):
                    clear_row(d_residue[g, row])
            for c in range(3):
                slope = signal[i, c]
                if by_residue:
                    copy_row(slope, d_residue[c, row])
                    _add_product(slope, prediction[i, c], d_residue[3, row])
                _scale(gains[i, 0], slope)  # now by the prediction
                if by_residue and n_gains == 2:
                    _add_difference(slope, first[c, row], second[c, row], d_residue[4, row])
                if by_warped and n_gains == 2:
                    _split(gains[i, 1], slope, d_first[c, row], d_second[c, row])
                elif by_warped:
                    copy_row(slope, d_first[c, row])
            if by_residue:
                for g in range(n_gains):
                    _let_inwards(residue[3 + g, row], d_residue[3 + g, row])
