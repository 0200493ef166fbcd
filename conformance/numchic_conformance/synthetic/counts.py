# SPDX-License-Identifier: BSD-3-Clause
"""Counts of the Laplace model as the specification writes them (coolchic-5, sections 8.1, 8.2)."""

from __future__ import annotations

import math

import numpy as np

from numchic_bitstream.v5.laplace import scale_table

ONE_ULP_SMALLER = (87, 489, 809, 923, 1003, 1049, 1530, 1573, 2240, 2276, 2323, 2337)
ONE_ULP_LARGER = (198, 442, 901, 1070, 1310, 1644, 1719, 1906, 2039, 2096, 2300)
CORRECTED_SCALES = tuple(sorted(ONE_ULP_SMALLER + ONE_ULP_LARGER))
"""Entries of the scale table that are one unit in the last place off the correct rounding."""


def left(symbol: int, mu_index: int, scale: float) -> int:
    """Lower cumulative count of a symbol in -64 .. 64."""
    if symbol == -64:
        return 0
    if symbol == 64:
        return 1 << 24
    distance = symbol - 0.5 - (mu_index - 16384) / 256
    if distance <= 0:
        f = 0.5 * math.exp(distance / scale)
    else:
        f = 1.0 - 0.5 * math.exp(-distance / scale)
    return math.trunc(16777088.0 * f) + symbol + 64


def correction_matters(symbol: int, mu_index: int, scale_index: int) -> bool:
    """Whether a decoder that rounds the scale correctly would give a symbol other counts."""
    wanted = float(scale_table()[scale_index])
    rounded = float(np.float32(math.exp((scale_index - 1280) / 256)))
    bounds = (symbol, symbol + 1)
    return any(left(s, mu_index, wanted) != left(s, mu_index, rounded) for s in bounds)
