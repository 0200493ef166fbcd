# SPDX-License-Identifier: BSD-3-Clause
"""Global translation between a frame and its reference (video-training, section 7). Float.

A pyramid is searched from coarse to fine. Shifts are tried that were the best ones on the level
above, with their neighbours, and the peaks of the phase correlation of the level itself, which
sees what is too fine to be left in smaller pictures. The coarsest level is searched all over as
well, since pictures that have little in common have no peak.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import Final

import numpy as np
from scipy import fft

from numchic_bitstream.arrays import F32
from numchic_trainer.video.pyramid import halved

Shift = tuple[int, int]
"""Horizontal and vertical."""

MAX_SHIFT: Final = 8191  # what the header can express, either way

_COARSEST_SIDE = 32  # the short side of the coarsest level is at most that
_COARSEST_RANGE = 24  # samples that are searched all over there, either way
_N_KEPT = 5  # shifts that go to the next level, and peaks that join them
_TRUNCATION = np.float32((16 / 255) ** 2)
_WORTHWHILE = 0.99  # of the error without a shift


def global_translation(frame: F32, reference: F32) -> Shift:
    """Find the shift (gx, gy) along which a reference looks most like a frame.

    The error is that of ``frame[y, x]`` against ``reference[y + gy, x + gx]``, indices being
    clipped as the decoder does it, squared and truncated, so that things that move on their own
    count for little. Motion that is not that of the whole picture is better told from (0, 0): it
    is kept unless another shift takes more than one percent off the error.

    Parameters
    ----------
    frame, reference : float32[H, W]
        Luma, [0, 1].

    Returns
    -------
    (horizontal, vertical)
        In samples, -8191 .. 8191. (0, 0) for pictures of one row or column.
    """
    if min(frame.shape) == 1:
        return 0, 0
    levels = [(frame, reference)]
    while min(levels[-1][0].shape) > _COARSEST_SIDE:
        levels.append((halved(levels[-1][0]), halved(levels[-1][1])))
    best = _best(*levels[-1], [*_everywhere(levels[-1][0]), *_peaks(*levels[-1])])
    for t, r in reversed(levels[:-1]):
        near = [(2 * x + i, 2 * y + j) for x, y in best for i, j in product((-1, 0, 1), repeat=2)]
        best = _best(t, r, [*near, *_peaks(t, r)])
    if _error(frame, reference, best[0]) < _WORTHWHILE * _error(frame, reference, (0, 0)):
        return best[0]
    return 0, 0


def _everywhere(t: F32) -> list[Shift]:
    """All shifts that leave a quarter of the picture in sight, if they are not too many."""
    rows, columns = (min(3 * size // 4, _COARSEST_RANGE) for size in t.shape)
    return list(product(range(-columns, columns + 1), range(-rows, rows + 1)))


def _peaks(t: F32, r: F32) -> list[Shift]:
    """Highest places of the phase correlation."""
    rows, columns = (np.hanning(n + 2)[1:-1].astype(np.float32) for n in t.shape)
    window = np.outer(rows, columns)
    spectrum = np.conj(fft.rfft2((t - t.mean()) * window)) * fft.rfft2((r - r.mean()) * window)
    magnitude = np.abs(spectrum)
    spectrum /= np.maximum(magnitude, np.finfo(np.float32).tiny, out=magnitude)
    correlation = fft.irfft2(spectrum, t.shape)
    n = min(_N_KEPT, correlation.size)
    highest = np.argpartition(correlation, -n, axis=None)[-n:]
    # It is periodic: what lies behind the middle is a shift to the other side.
    y, x = np.unravel_index(highest, t.shape)
    height, width = t.shape
    return [
        (int(j) - width * int(2 * j > width), int(i) - height * int(2 * i > height))
        for i, j in zip(y, x, strict=True)
    ]


def _best(t: F32, r: F32, shifts: Iterable[Shift]) -> list[Shift]:
    """Those of least error, the best one first; of equal ones the shortest."""
    height, width = t.shape
    x_max, y_max = min(width - 1, MAX_SHIFT), min(height - 1, MAX_SHIFT)
    legal = {(max(-x_max, min(x, x_max)), max(-y_max, min(y, y_max))) for x, y in shifts}
    return sorted(legal, key=lambda s: (_error(t, r, s), s[0] ** 2 + s[1] ** 2, s))[:_N_KEPT]


def _error(t: F32, r: F32, shift: Shift) -> float:
    """Mean of the truncated squared differences."""
    height, width = t.shape
    columns = np.clip(np.arange(width) + shift[0], 0, width - 1)
    rows = np.clip(np.arange(height) + shift[1], 0, height - 1)
    difference = t - r[rows].take(columns, axis=1)
    difference *= difference
    return float(np.minimum(difference, _TRUNCATION, out=difference).mean())
