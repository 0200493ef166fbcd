# SPDX-License-Identifier: BSD-3-Clause
"""Inter-feature contexts of some rows of a grid (coolchic-5, section 6.3), and their derivatives.

The layer is linear, so the part of every coarser grid can be computed at the resolution of that
grid: from the coarsest to the finest, features are doubled by repetition where the size of the
grids changes, and the part of the next grid is added. Backward, derivatives are added up where
features were repeated.

A level is float32[F, n]: features of rows one after the other.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from numchic_bitstream.arrays import F32, F64
from numchic_bitstream.kernels import kernel
from numchic_trainer.kernels.lanes import LANES, accumulate, fma, load, plus, zeros
from numchic_trainer.kernels.rows import add_scaled, clear_row


class Level(NamedTuple):
    """Where features are at some resolution: ``n_rows`` rows from ``first`` on, ``width`` each."""

    first: int
    n_rows: int
    width: int


@kernel(inline=True)
def level(first: int, n_rows: int, width: int, shift: int) -> Level:
    """What rows and columns are needed after so many halvings of the size."""
    above = first >> shift
    return Level(above, ((first + n_rows - 1) >> shift) - above + 1, ((width - 1) >> shift) + 1)


@kernel()
def fill(bias: F32, own: Level, features: F32) -> None:
    """Start with the bias."""
    for f in range(bias.size):
        row = features[f, : own.n_rows * own.width]
        for k in range(row.size):
            row[k] = bias[f]


@kernel()
def double(source: F32, half: Level, own: Level, features: F32) -> None:
    """Repeat features in both directions."""
    for f in range(features.shape[0]):
        for r in range(own.n_rows):
            above = ((own.first + r) >> 1) - half.first
            row = features[f, r * own.width : (r + 1) * own.width]
            from_row = source[f, above * half.width : (above + 1) * half.width]
            repeat(from_row, row)


@kernel()
def repeat(source: F32, row: F32) -> None:
    """Repeat every sample, as far as the row goes."""
    for k in range(row.size // 2):
        row[2 * k] = source[k]
        row[2 * k + 1] = source[k]
    if row.size % 2 == 1:
        row[row.size - 1] = source[row.size // 2]


@kernel()
def add_part(weight: F32, channel: int, grid: F32, own: Level, features: F32) -> None:
    """Add the part of one grid, channel ``channel`` of ``weight`` float32[F, C]."""
    for f in range(weight.shape[0]):
        factor = weight[f, channel]
        for r in range(own.n_rows):
            row = features[f, r * own.width : (r + 1) * own.width]
            add_scaled(factor, grid[own.first + r], row)


@kernel()
def halve(d_features: F32, own: Level, half: Level, d_source: F32) -> None:
    """Add up what every feature was repeated to."""
    for f in range(d_features.shape[0]):
        clear_row(d_source[f, : half.n_rows * half.width])
        for r in range(own.n_rows):
            above = ((own.first + r) >> 1) - half.first
            row = d_features[f, r * own.width : (r + 1) * own.width]
            add_repeated(row, d_source[f, above * half.width : (above + 1) * half.width])


@kernel()
def add_repeated(row: F32, d_source: F32) -> None:
    """Add pairs of a row."""
    for k in range(row.size // 2):
        d_source[k] += row[2 * k] + row[2 * k + 1]
    if row.size % 2 == 1:
        d_source[row.size // 2] += row[row.size - 1]


@kernel()
def add_part_to_grid(
    weight: F32, channel: int, own: Level, d_features: F32, first: int, d_grid: F32
) -> None:
    """Add the derivatives by the samples of one grid; row 0 of ``d_grid`` is row ``first``."""
    for f in range(weight.shape[0]):
        factor = weight[f, channel]
        for r in range(own.n_rows):
            row = d_features[f, r * own.width : (r + 1) * own.width]
            add_scaled(factor, row, d_grid[own.first + r - first])


@kernel()
def add_part_to_weight(own: Level, d_features: F32, grid: F32, sums: F64) -> None:
    """Add the derivatives by the weights of one grid to ``sums`` float64[F, 16]."""
    whole = own.width - own.width % LANES
    for f in range(d_features.shape[0]):
        for r in range(own.n_rows):
            row = d_features[f, r * own.width : (r + 1) * own.width]
            samples, total = grid[own.first + r], zeros()
            for k in range(0, whole, LANES):
                total = fma(load(row, k), load(samples, k), total)
            accumulate(total, sums[f], 0)
            for k in range(whole, own.width):
                sums[f, k - whole] += np.float64(row[k] * samples[k])


@kernel()
def add_to_bias(own: Level, d_features: F32, sums: F64) -> None:
    """Add the derivatives by the bias to ``sums`` float64[F, 16]."""
    size = own.n_rows * own.width
    whole = size - size % LANES
    for f in range(d_features.shape[0]):
        total = zeros()
        for k in range(0, whole, LANES):
            total = plus(total, load(d_features[f], k))
        accumulate(total, sums[f], 0)
        for k in range(whole, size):
            sums[f, k - whole] += np.float64(d_features[f, k])
