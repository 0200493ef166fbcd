# SPDX-License-Identifier: BSD-3-Clause
"""Upsampling of latents, level by level and row by row (coolchic-5, section 9; training, 2.5).

Both filters are separable and are applied to columns first, so that a row of the result needs only
some rows of what is coarser; what is between the two is a row in the cache. Along a row there are
always eight taps, shorter filters have zeros outside:

    doubled[2 k]     = w0 x[k - 2] + w2 x[k - 1] + w3 x[k] + w1 x[k + 1]
    doubled[2 k + 1] = w1 x[k - 1] + w3 x[k] + w2 x[k + 1] + w0 x[k + 2]

Planes are flat: row m of channel c is at ``at + (c * height + m) * width``. Behind the last number
of an array there is room for ``ROOM`` more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from numchic_bitstream.arrays import F32, F64
from numchic_bitstream.kernels import kernel
from numchic_trainer.kernels.lanes import (
    LANES,
    accumulate,
    first,
    fma,
    interleave,
    load,
    plus,
    save,
    save_first,
    separate,
    spread,
    zeros,
)
from numchic_trainer.kernels.products import add_folded
from numchic_trainer.kernels.rows import ROOM, add, copy, row_size
from numchic_trainer.kernels.workers import Part, Workers, partition

HALF = 4  # taps that a filter can have on one side, its centre included
MAX_X2_SIZE, MAX_PRECONCAT_SIZE = 2 * HALF, 2 * HALF - 1
STEP = 2 * HALF  # taps of the two filters of a step, x2 first

_LEAST_PIXELS = 8192  # of a part
_WINDOW = 16  # rows that are filtered together
_REACH = HALF - 1


class Level(NamedTuple):
    """Sizes of a level of the pyramid, and places of what belongs to it in flat arrays.

    ``channels`` is the number of dense channels. ``taps`` belongs to the step to this level, and
    so does ``columns``: derivatives by the coarser channels when only their columns are doubled,
    shape (channels - 1, height, coarser width), and a row of zeros.
    """

    height: int
    width: int
    channels: int
    symbols: int
    dense: int
    columns: int
    taps: int


NOTHING = Level(0, 0, 0, 0, 0, 0, 0)
"""Stands for a level that is not there."""


class Pyramid:
    """Upsampling of latents of several resolutions.

    Parameters
    ----------
    grids : sequence of (int, int, int)
        Height and width of every latent, finest first, and its place among all symbols.
    is_whole : bool
        Whether the dense latents are wanted; otherwise only the first channel of the finest level
        is made, and somebody else makes the others where they are needed.
    workers : Workers

    Attributes
    ----------
    levels : list of Level
        Finest first.
    dense, d_dense : float32[n]
        Dense latents of all levels, and derivatives by them.
    columns : float32[n]
        See :class:`Level`.
    taps : float32[8 * number of steps, at least 8]
        Finest step first.
    sums : float64[number of parts, size of the taps]
        Derivatives by the taps.
    """

    def __init__(
        self, grids: Sequence[tuple[int, int, int]], is_whole: bool, workers: Workers
    ) -> None:
        self.is_whole = is_whole
        self.workers = workers
        self.levels: list[Level] = []
        n_dense, n_columns = 0, 0
        for i, (height, width, symbols) in enumerate(grids):
            channels = len(grids) - i
            place = (symbols, n_dense, n_columns, STEP * i)
            self.levels.append(Level(height, width, channels, *place))
            n_dense += height * width * (channels if i or is_whole else 1)
            half = (width + 1) // 2
            n_columns += ((channels - 1) * height + 1) * half
        self.dense = np.zeros(n_dense + ROOM, np.float32)
        self.d_dense = np.zeros(n_dense + ROOM, np.float32)
        self.columns = np.zeros(n_columns + ROOM, np.float32)
        n_taps = STEP * max(len(grids) - 1, 1)  # kernels look at taps even if there is no step
        self.taps = np.zeros(n_taps, np.float32)
        self.sums = np.zeros((len(self.parts(0)), n_taps))

    def parts(self, i: int) -> list[Part]:
        """Parts of a level, counted in pairs of rows."""
        level = self.levels[i]
        return partition((level.height + 1) // 2, _LEAST_PIXELS // (2 * level.width) + 1)

    def set_taps(self, x2: Sequence[F32], preconcat: Sequence[F32]) -> None:
        """Take the filters, those of the coarsest step first."""
        for step, (double, single) in enumerate(zip(x2, preconcat, strict=True)):
            end = self.taps.size - STEP * step
            self.taps[end - HALF - double.size : end - HALF] = double
            self.taps[end - single.size : end] = single

    def get_d_taps(self, d_x2: Sequence[F32], d_preconcat: Sequence[F32]) -> None:
        """Give the derivatives by the filters."""
        total = self.sums.sum(0)
        for step, (double, single) in enumerate(zip(d_x2, d_preconcat, strict=True)):
            end = total.size - STEP * step
            double[:] = total[end - HALF - double.size : end - HALF]
            single[:] = total[end - single.size : end]

    def upsample(self, symbols: F32) -> None:
        """Fill ``dense``."""
        coarsest = self.levels[-1]
        n = coarsest.height * coarsest.width
        self.dense[coarsest.dense : coarsest.dense + n] = symbols[coarsest.symbols :][:n]
        for i in range(len(self.levels) - 2, -1, -1):
            self._upsample_level(i, symbols)

    def _upsample_level(self, i: int, symbols: F32) -> None:
        fine, coarse, parts = self.levels[i], self.levels[i + 1], self.parts(i)
        doubles = i > 0 or self.is_whole

        def work(p: int) -> None:
            _upsample(fine, coarse, self.taps, symbols, self.dense, *parts[p], doubles)

        self.workers.run(work, len(parts))

    def begin_backward(self) -> None:
        """Clear the sums and, if the pyramid is whole, fill ``columns`` of the finest level."""
        self.sums[:] = 0.0
        if self.is_whole and len(self.levels) > 1:
            fine, coarse, parts = self.levels[0], self.levels[1], self.parts(0)

            def work(p: int) -> None:
                arrays = (self.taps, self.dense, self.d_dense, self.columns)
                _halve(fine, coarse, *arrays, *parts[p], self.sums[p])

            self.workers.run(work, len(parts))

    def backward(self, symbols: F32, d_symbols: F32) -> None:
        """Add to ``d_symbols`` and the sums.

        Before, ``columns`` and the first channel of ``d_dense`` are filled at the finest level.
        """
        for i in range(len(self.levels) - 1):
            self._backward_level(i, symbols, d_symbols)
        coarsest = self.levels[-1]
        n = coarsest.height * coarsest.width
        d_symbols[coarsest.symbols :][:n] += self.d_dense[coarsest.dense :][:n]

    def _backward_level(self, i: int, symbols: F32, d_symbols: F32) -> None:
        fine, coarse, coarser = (*self.levels, NOTHING)[i : i + 3]
        parts = self.parts(i)

        def work(p: int) -> None:
            arrays = (self.taps, symbols, self.dense, self.d_dense, self.columns)
            _backward(fine, coarse, coarser, *arrays, *parts[p], d_symbols, self.sums[p])

        self.workers.run(work, len(parts))


@kernel(allocates=True)
def _upsample(
    fine: Level,
    coarse: Level,
    taps: F32,
    symbols: F32,
    dense: F32,
    start: int,
    end: int,
    doubles: bool,
) -> None:
    """Fill pairs of rows: the first channel and, if wanted, the doubled ones."""
    first_row, last_row = 2 * start, min(2 * end, fine.height)
    _filter(symbols, fine.symbols, fine, taps, first_row, last_row, dense, fine.dense, False)
    if doubles:
        row = np.zeros(row_size(coarse.width), np.float32)
        plane = fine.height * fine.width
        for r in range(first_row, last_row):
            place = fine.dense + plane + r * fine.width
            double_row(fine, coarse, taps, dense, r, row, dense, place, plane)


@kernel(allocates=True)
def _halve(
    fine: Level,
    coarse: Level,
    taps: F32,
    dense: F32,
    d_dense: F32,
    columns: F32,
    start: int,
    end: int,
    sums: F64,
) -> None:
    """Fill ``columns`` from the derivatives by the doubled channels, pairs of rows."""
    lanes = np.zeros(STEP * LANES)
    scratch = np.zeros(N_ROWS * row_size(coarse.width), np.float32)
    plane = fine.height * fine.width
    for r in range(2 * start, min(2 * end, fine.height)):
        place = fine.dense + plane + r * fine.width
        halve_row(fine, coarse, taps, dense, r, scratch, d_dense, place, plane, columns, lanes)
    add_folded(lanes, sums[fine.taps : fine.taps + STEP])


@kernel(allocates=True)
def _backward(
    fine: Level,
    coarse: Level,
    coarser: Level,
    taps: F32,
    symbols: F32,
    dense: F32,
    d_dense: F32,
    columns: F32,
    start: int,
    end: int,
    d_symbols: F32,
    sums: F64,
) -> None:
    """Differentiate the step to the level ``fine``; ``start`` and ``end`` are rows of ``coarse``.

    Derivatives by its latent go to ``d_symbols``, those by the coarser channels to ``d_dense`` and,
    if there is a step to them, to ``columns``.
    """
    lanes = np.zeros(STEP * LANES)
    first_row, last_row = 2 * start, min(2 * end, fine.height)
    _filter(d_dense, fine.dense, fine, taps, first_row, last_row, d_symbols, fine.symbols, True)
    _filter_sums(symbols, fine, taps, first_row, last_row, d_dense, lanes)
    row = np.zeros(row_size(coarse.width), np.float32)
    for c in range(coarse.channels):
        for m in range(start, end):
            _gather_row(fine, coarse, taps, c, m, columns, row, d_dense)
            _column_sums(fine, coarse, dense, c, m, columns, lanes)
    add_folded(lanes, sums[fine.taps : fine.taps + STEP])
    if coarse.channels > 1:
        lanes = np.zeros(STEP * LANES)
        scratch = np.zeros(N_ROWS * row_size(coarser.width), np.float32)
        plane = coarse.height * coarse.width
        for m in range(start, end):
            place = coarse.dense + plane + m * coarse.width
            halve_row(
                coarse, coarser, taps, dense, m, scratch, d_dense, place, plane, columns, lanes
            )
        add_folded(lanes, sums[coarse.taps : coarse.taps + STEP])


@kernel()
def _fill_window(
    x: F32, at: int, level: Level, start: int, n_rows: int, window: F32, size: int
) -> None:
    """Copy rows between margins that are and stay zero; rows outside are zero."""
    for i in range(n_rows):
        m, row = start + i, i * size + LANES
        if 0 <= m < level.height:
            copy(x, at + m * level.width, level.width, window, row)
        else:
            for k in range(0, level.width, LANES):
                save(zeros(), window, row + k)


@kernel(inline=True)
def _filter_column(window: F32, p: int, size: int, taps: F32, t: int) -> F32:
    """Filter across rows, whose first one is at place p."""
    y = fma(load(window, p + 3 * size), spread(taps, t + 3), zeros())
    y = fma(plus(load(window, p + 2 * size), load(window, p + 4 * size)), spread(taps, t + 2), y)
    y = fma(plus(load(window, p + size), load(window, p + 5 * size)), spread(taps, t + 1), y)
    return fma(plus(load(window, p), load(window, p + 6 * size)), spread(taps, t), y)


@kernel(inline=True)
def _filter_row(row: F32, p: int, taps: F32, t: int) -> F32:
    """Filter along a row around place p."""
    return _filter_column(row, p - _REACH, 1, taps, t)


@kernel(allocates=True)
def _filter(
    x: F32,
    x_at: int,
    level: Level,
    taps: F32,
    start: int,
    end: int,
    y: F32,
    y_at: int,
    adds: bool,
) -> None:
    """Filter rows of a plane with zeros around it, and add the plane; add the result to y or not.

    The filter is its own transpose.
    """
    width, t = level.width, level.taps + HALF
    size = row_size(width)
    window = np.zeros((_WINDOW + 2 * _REACH) * size, np.float32)
    row, result = np.zeros(size, np.float32), np.zeros(size, np.float32)
    for chunk in range(start, end, _WINDOW):
        n = min(_WINDOW, end - chunk)
        _fill_window(x, x_at, level, chunk - _REACH, n + 2 * _REACH, window, size)
        for i in range(n):
            for k in range(LANES, LANES + width, LANES):
                save(_filter_column(window, i * size + k, size, taps, t), row, k)
            center = (i + _REACH) * size
            for k in range(LANES, LANES + width, LANES):
                filtered = plus(_filter_row(row, k, taps, t), load(window, center + k))
                save(filtered, result, k)
            place = y_at + (chunk + i) * width
            if adds:
                add(result, LANES, width, y, place)
            else:
                copy(result, LANES, width, y, place)


@kernel(allocates=True)
def _filter_sums(
    symbols: F32, level: Level, taps: F32, start: int, end: int, d_dense: F32, lanes: F64
) -> None:
    """Add the derivatives by the taps of the filter of a latent."""
    width, t = level.width, level.taps + HALF
    size = row_size(width)
    window = np.zeros((_WINDOW + 2 * _REACH) * size, np.float32)
    row, d_row = np.zeros(size, np.float32), np.zeros(size, np.float32)
    for chunk in range(start, end, _WINDOW):
        n = min(_WINDOW, end - chunk)
        _fill_window(symbols, level.symbols, level, chunk - _REACH, n + 2 * _REACH, window, size)
        s0 = s1 = s2 = s3 = zeros()
        for i in range(n):
            copy(d_dense, level.dense + (chunk + i) * width, width, d_row, LANES)
            for k in range(LANES, LANES + width, LANES):
                save(_filter_column(window, i * size + k, size, taps, t), row, k)
            for k in range(LANES, LANES + width, LANES):
                # Along the row, then across rows, where what came in has been filtered along it.
                d, x, p = load(d_row, k), row, k - _REACH
                s0 = fma(d, plus(load(x, p), load(x, p + 6)), s0)
                s1 = fma(d, plus(load(x, p + 1), load(x, p + 5)), s1)
                s2 = fma(d, plus(load(x, p + 2), load(x, p + 4)), s2)
                s3 = fma(d, load(x, p + 3), s3)
                d, x, p = _filter_row(d_row, k, taps, t), window, i * size + k
                s0 = fma(d, plus(load(x, p), load(x, p + 6 * size)), s0)
                s1 = fma(d, plus(load(x, p + size), load(x, p + 5 * size)), s1)
                s2 = fma(d, plus(load(x, p + 2 * size), load(x, p + 4 * size)), s2)
                s3 = fma(d, load(x, p + 3 * size), s3)
        _add_sums(s0, s1, s2, s3, lanes, HALF)


@kernel(inline=True)
def _add_sums(s0: F32, s1: F32, s2: F32, s3: F32, lanes: F64, at: int) -> None:
    accumulate(s0, lanes, at * LANES)
    accumulate(s1, lanes, (at + 1) * LANES)
    accumulate(s2, lanes, (at + 2) * LANES)
    accumulate(s3, lanes, (at + 3) * LANES)


@kernel(inline=True)
def _source(coarse: Level, c: int, m: int) -> int:
    """Place of row m of a coarse channel; rows outside replicate those at the border."""
    inside = min(max(m, 0), coarse.height - 1)
    return coarse.dense + (c * coarse.height + inside) * coarse.width


@kernel(inline=True)
def _double_column(
    coarse: Level, taps: F32, t: int, dense: F32, c: int, r: int, row: F32, at: int
) -> None:
    """Make row r of a channel whose columns are doubled, with replicated margins."""
    m, e, width = r // 2, r % 2, coarse.width
    p0, p1 = _source(coarse, c, m - 2 + e), _source(coarse, c, m - 1 + e)
    p2, p3 = _source(coarse, c, m + e), _source(coarse, c, m + 1 + e)
    even = e == 0
    w0, w1 = spread(taps, t if even else t + 1), spread(taps, t + 2 if even else t + 3)
    w2, w3 = spread(taps, t + 3 if even else t + 2), spread(taps, t + 1 if even else t)
    for k in range(0, width, LANES):
        y = fma(w0, load(dense, p0 + k), zeros())
        y = fma(w1, load(dense, p1 + k), y)
        y = fma(w2, load(dense, p2 + k), y)
        save(fma(w3, load(dense, p3 + k), y), row, at + k)
    row[at - 2] = row[at - 1] = row[at]
    row[at + width] = row[at + width + 1] = row[at + width - 1]


@kernel()
def double_row(
    fine: Level,
    coarse: Level,
    taps: F32,
    dense: F32,
    r: int,
    row: F32,
    y: F32,
    y_at: int,
    y_plane: int,
) -> None:
    """Double all channels of a level, and keep row r.

    Parameters
    ----------
    fine, coarse : Level
    taps, dense : float32[n]
    r : int
    row : float32[row_size(coarse.width)]
        Scratch.
    y : float32[n]
        Output: channel c is at ``y_at + c * y_plane``.
    """
    t = fine.taps
    w0, w1, w2, w3 = spread(taps, t), spread(taps, t + 1), spread(taps, t + 2), spread(taps, t + 3)
    for c in range(coarse.channels):
        _double_column(coarse, taps, t, dense, c, r, row, LANES)
        place = y_at + c * y_plane
        for k in range(0, coarse.width, LANES):
            p = LANES + k
            x0, x1, x2 = load(row, p - 2), load(row, p - 1), load(row, p)
            x3, x4 = load(row, p + 1), load(row, p + 2)
            even = fma(w0, x0, fma(w2, x1, fma(w3, x2, fma(w1, x3, zeros()))))
            odd = fma(w1, x1, fma(w3, x2, fma(w2, x3, fma(w0, x4, zeros()))))
            low, high = interleave(even, odd)
            save_first(low, y, place + 2 * k, fine.width - 2 * k)
            save_first(high, y, place + 2 * k + LANES, fine.width - 2 * k - LANES)


N_ROWS = 4
"""Rows of scratch for :func:`halve_row`."""


@kernel()
def halve_row(
    fine: Level,
    coarse: Level,
    taps: F32,
    dense: F32,
    r: int,
    scratch: F32,
    d_y: F32,
    d_at: int,
    d_plane: int,
    columns: F32,
    lanes: F64,
) -> None:
    """Differentiate :func:`double_row` as far as to the channels whose columns are doubled.

    Parameters
    ----------
    fine, coarse : Level
    taps, dense : float32[n]
    r : int
    scratch : float32[N_ROWS * row_size(coarse.width)]
        Zero before the first call; kept between calls.
    d_y : float32[n]
        Derivatives by row r of channel c are at ``d_at + c * d_plane``.
    columns : float32[n]
        Output.
    lanes : float64[8 * 16]
        Derivatives by the taps are added to the first half.
    """
    t, width, size = fine.taps, coarse.width, row_size(coarse.width)
    w0, w1, w2, w3 = spread(taps, t), spread(taps, t + 1), spread(taps, t + 2), spread(taps, t + 3)
    n_even, n_odd = (fine.width + 1) // 2, fine.width // 2
    x_at, even_at, odd_at, q_at = LANES, LANES + size, LANES + 2 * size, LANES + 3 * size
    s0 = s1 = s2 = s3 = zeros()
    for c in range(coarse.channels):
        _double_column(coarse, taps, t, dense, c, r, scratch, x_at)
        place = d_at + c * d_plane
        for k in range(0, width, LANES):
            d0, d1 = separate(load(d_y, place + 2 * k), load(d_y, place + 2 * k + LANES))
            d0, d1 = first(d0, n_even - k), first(d1, n_odd - k)
            save(d0, scratch, even_at + k)
            save(d1, scratch, odd_at + k)
            p = x_at + k
            x0, x1, x2 = load(scratch, p - 2), load(scratch, p - 1), load(scratch, p)
            x3, x4 = load(scratch, p + 1), load(scratch, p + 2)
            s0 = fma(d0, x0, fma(d1, x4, s0))
            s1 = fma(d0, x3, fma(d1, x1, s1))
            s2 = fma(d0, x1, fma(d1, x3, s2))
            s3 = fma(plus(d0, d1), x2, s3)
        for k in range(-2, width + 2, LANES):
            p = even_at + k
            q = fma(w0, load(scratch, p + 2), fma(w2, load(scratch, p + 1), zeros()))
            q = fma(w3, load(scratch, p), fma(w1, load(scratch, p - 1), q))
            p = odd_at + k
            q = fma(w1, load(scratch, p + 1), fma(w3, load(scratch, p), q))
            q = fma(w2, load(scratch, p - 1), fma(w0, load(scratch, p - 2), q))
            save(q, scratch, q_at + k)
        scratch[q_at] += scratch[q_at - 2] + scratch[q_at - 1]
        scratch[q_at + width - 1] += scratch[q_at + width] + scratch[q_at + width + 1]
        copy(scratch, q_at, width, columns, _column(fine, coarse, c, r))
    _add_sums(s0, s1, s2, s3, lanes, 0)


@kernel(inline=True)
def _column(fine: Level, coarse: Level, c: int, r: int) -> int:
    """Place of row r in ``columns``; rows outside are zero."""
    row = c * fine.height + r if 0 <= r < fine.height else coarse.channels * fine.height
    return fine.columns + row * coarse.width


@kernel()
def _gather_row(
    fine: Level,
    coarse: Level,
    taps: F32,
    c: int,
    m: int,
    columns: F32,
    row: F32,
    d_dense: F32,
) -> None:
    """Set the derivatives by row m of a coarse channel."""
    t, height, width = fine.taps, coarse.height, coarse.width
    w0, w1, w2, w3 = spread(taps, t), spread(taps, t + 1), spread(taps, t + 2), spread(taps, t + 3)
    for k in range(0, width, LANES):
        save(zeros(), row, k)
    # A row at the border also stands for the two outside.
    for j in range(m - 2 if m == 0 else m, m + 3 if m == height - 1 else m + 1):
        p0, p1 = _column(fine, coarse, c, 2 * j - 3), _column(fine, coarse, c, 2 * j - 2)
        p2, p3 = _column(fine, coarse, c, 2 * j - 1), _column(fine, coarse, c, 2 * j)
        p4, p5 = _column(fine, coarse, c, 2 * j + 1), _column(fine, coarse, c, 2 * j + 2)
        p6, p7 = _column(fine, coarse, c, 2 * j + 3), _column(fine, coarse, c, 2 * j + 4)
        for k in range(0, width, LANES):
            y = fma(w0, plus(load(columns, p0 + k), load(columns, p7 + k)), load(row, k))
            y = fma(w1, plus(load(columns, p1 + k), load(columns, p6 + k)), y)
            y = fma(w2, plus(load(columns, p2 + k), load(columns, p5 + k)), y)
            y = fma(w3, plus(load(columns, p3 + k), load(columns, p4 + k)), y)
            save(y, row, k)
    copy(row, 0, width, d_dense, coarse.dense + (c * height + m) * width)


@kernel()
def _column_sums(
    fine: Level, coarse: Level, dense: F32, c: int, m: int, columns: F32, lanes: F64
) -> None:
    """Add the derivatives by the taps, as far as they double the columns of row m."""
    p0, p1, p2 = _source(coarse, c, m - 2), _source(coarse, c, m - 1), _source(coarse, c, m)
    p3, p4 = _source(coarse, c, m + 1), _source(coarse, c, m + 2)
    even, odd = _column(fine, coarse, c, 2 * m), _column(fine, coarse, c, 2 * m + 1)
    s0 = s1 = s2 = s3 = zeros()
    for k in range(0, coarse.width, LANES):
        n = coarse.width - k
        d0, d1 = first(load(columns, even + k), n), first(load(columns, odd + k), n)
        s0 = fma(d0, load(dense, p0 + k), fma(d1, load(dense, p4 + k), s0))
        s1 = fma(d0, load(dense, p3 + k), fma(d1, load(dense, p1 + k), s1))
        s2 = fma(d0, load(dense, p1 + k), fma(d1, load(dense, p3 + k), s2))
        s3 = fma(plus(d0, d1), load(dense, p2 + k), s3)
    _add_sums(s0, s1, s2, s3, lanes, 0)
