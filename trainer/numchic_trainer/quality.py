# SPDX-License-Identifier: BSD-3-Clause
"""How far a decoded picture is from its source."""

from __future__ import annotations

import math

import numpy as np

from numchic.picture import Picture, Samples


def mean_squared_error(source: Picture, decoded: Picture) -> float:
    """Mean over all samples of all planes, in [0, 1] units."""
    maximum = (1 << source.bitdepth) - 1
    total, count = 0.0, 0
    for ours, theirs in zip(source.planes, decoded.planes, strict=True):
        total += float(np.sum((ours.astype(np.float64) - theirs) ** 2))
        count += ours.size
    return total / count / maximum**2


def plane_error(source: Samples, decoded: Samples, bitdepth: int) -> float:
    """Mean squared error of one plane, in [0, 1] units; 0 if it has no samples."""
    if not source.size:
        return 0.0
    maximum = (1 << bitdepth) - 1
    return float(np.mean((source.astype(np.float64) - decoded) ** 2)) / maximum**2


def psnr(mse: float) -> float:
    """Quality in dB; 100 if nothing is lost."""
    return -10.0 * math.log10(max(mse, 1e-10))
