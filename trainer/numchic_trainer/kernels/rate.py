# SPDX-License-Identifier: BSD-3-Clause
"""Bits of all latents and their derivatives in one sweep over the grids (training, section 3).

The rows of every grid are split into bands, and bands are put together to parts that threads share.
A band is swept in sheets, a few rows that fit the cache, and a sheet in blocks of symbols whose
contexts are gathered, evaluated, differentiated and scattered at once, so that contexts are never
stored. What a band adds to the derivatives by symbols of others, which are the four rows above and
those of coarser grids below its features, goes to a memory of its own and is added at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from numchic_bitstream.arrays import F32, F64, I64
from numchic_bitstream.kernels import kernel
from numchic_bitstream.v5.derived import Grid
from numchic_bitstream.v5.headers import CoolChicHeader
from numchic_trainer.kernels.arm import (
    BLOCK,
    Arm,
    Block,
    Shape,
    Sums,
    add_bits,
    add_weights,
    blank,
    bottom,
    differentiate,
    differentiate_contexts,
    evaluate,
    make_arm,
    make_block,
    make_sums,
    n_parameters,
    pack,
    unpack,
)
from numchic_trainer.kernels.contexts import (
    REACH,
    fill_sheet,
    gather,
    scatter,
    sheet_size,
    sheet_start,
)
from numchic_trainer.kernels.ifce import (
    Level,
    add_part,
    add_part_to_grid,
    add_part_to_weight,
    add_repeated,
    add_to_bias,
    double,
    fill,
    halve,
    level,
    repeat,
)
from numchic_trainer.kernels.lanes import LANES
from numchic_trainer.kernels.laplace import MAX_LOG_SCALE
from numchic_trainer.kernels.products import COLUMNS, folded
from numchic_trainer.kernels.rows import add_row, clear_row, copy_row
from numchic_trainer.kernels.workers import Workers, partition

_SHEET = 16384  # symbols of a sheet, about
_LEAST = 8192  # symbols of a part, about
_MOST_PARTS = 48  # beside those that rounding makes


class _Tables(NamedTuple):
    """Numbers that follow from the sizes of the grids, int64.

    ``grids`` [G, 6]: first symbol, height, width, number of halvings of the size up to this grid,
    position of its IFCE among the weights, and number of inputs of that, 0 if there is none.
    ``bands`` [B, 3]: grid, first row, end. ``spilled`` [B, G]: where a band keeps derivatives by
    symbols of other bands of its grid and by those of coarser grids; -1 if it has none.
    ``sizes`` [5]: numbers of spatial contexts and features, symbols of a sheet, samples of all rows
    of a sheet of features, samples of these before they are doubled.
    """

    grids: I64
    bands: I64
    spilled: I64
    sizes: I64


class _Memory(NamedTuple):
    """Memory of a sheet: itself, its features with rows like its own, features at two resolutions.

    ``sheet`` and ``d_sheet`` float32[n]; ``features`` and ``d_features`` float32[F, n]; ``levels``
    float32[2, F, n]; ``d_weight`` float64[C + 1, F, 16] derivatives by the weights of the IFCE, and
    by its bias.
    """

    sheet: F32
    d_sheet: F32
    features: F32
    d_features: F32
    levels: F32
    d_weight: F64


class _Rows(NamedTuple):
    """Rows of a grid, an even number of them except at its end: ``first`` is even."""

    grid: int
    first: int
    n: int


@kernel(inline=True)
def _extent(tables: _Tables, k: int) -> tuple[int, int, tuple[int, int]]:
    """First symbol of a grid, end and shape."""
    start, height, width = tables.grids[k, 0], tables.grids[k, 1], tables.grids[k, 2]
    return start, start + height * width, (height, width)


@kernel(inline=True)
def _weights(tables: _Tables, k: int) -> tuple[int, int, tuple[int, int]]:
    """Where the weight of an IFCE begins and ends among all, and its shape; its bias follows."""
    shape = tables.sizes[1], tables.grids[k, 5]
    return tables.grids[k, 4], tables.grids[k, 4] + shape[0] * shape[1], shape


@kernel(inline=True)
def _level(tables: _Tables, rows: _Rows, shift: int) -> Level:
    """Where the features of rows are at a resolution."""
    half = (tables.grids[rows.grid, 2] + 1) // 2
    return level(rows.first // 2, (rows.n + 1) // 2, half, shift)


@kernel(inline=True)
def _shift(tables: _Tables, k: int, j: int) -> int:
    """Halvings of the size from the features of grid k, which are like grid k + 1, to grid j."""
    return tables.grids[j, 3] - tables.grids[k + 1, 3]  # type: ignore[no-any-return]


@kernel()
def _features(tables: _Tables, rows: _Rows, flat: F32, symbols: F32, memory: _Memory) -> None:
    """Features of some rows of a grid that has an IFCE."""
    k, last = rows.grid, tables.grids.shape[0] - 1
    here, shift = 0, _shift(tables, k, last) if k < last else 0
    start, end, sizes = _weights(tables, k)
    weight, bias = flat[start:end].reshape(sizes), flat[end : end + sizes[0]]
    fill(bias, _level(tables, rows, shift), memory.levels[here])
    for j in range(last, k, -1):
        if _shift(tables, k, j) < shift:
            above = _level(tables, rows, shift)
            shift -= 1
            own = _level(tables, rows, shift)
            double(memory.levels[here], above, own, memory.levels[1 - here])
            here = 1 - here
        start, end, sizes = _extent(tables, j)
        grid, own = symbols[start:end].reshape(sizes), _level(tables, rows, shift)
        add_part(weight, j - k - 1, grid, own, memory.levels[here])
    width = tables.grids[k, 2]
    pitch, own = width + REACH, _level(tables, rows, 0)
    for f in range(tables.sizes[1]):
        for r in range(own.n_rows):
            source = memory.levels[here, f, r * own.width : (r + 1) * own.width]
            row = memory.features[f, r * pitch : (r + 1) * pitch]
            repeat(source, row[:width])
            clear_row(row[width:])


@kernel()
def _features_backward(
    tables: _Tables,
    rows: _Rows,
    flat: F32,
    symbols: F32,
    memory: _Memory,
    band: int,
    spilled: F32,
) -> None:
    """Derivatives by weights and by the coarser grids from those by the features."""
    k, last = rows.grid, tables.grids.shape[0] - 1
    width = tables.grids[k, 2]
    pitch, own = width + REACH, _level(tables, rows, 0)
    here, shift = 0, 0
    for f in range(tables.sizes[1]):
        clear_row(memory.levels[here, f, : own.n_rows * own.width])
        for r in range(own.n_rows):
            row = memory.d_features[f, r * pitch : r * pitch + width]
            target = memory.levels[here, f, r * own.width : (r + 1) * own.width]
            add_repeated(row, target)
    add_to_bias(own, memory.levels[here], memory.d_weight[tables.grids[k, 5]])
    start, end, sizes = _weights(tables, k)
    weight = flat[start:end].reshape(sizes)
    whole = _Rows(k, tables.bands[band, 1], tables.bands[band, 2] - tables.bands[band, 1])
    for j in range(k + 1, last + 1):
        if _shift(tables, k, j) > shift:
            below = _level(tables, rows, shift)
            shift += 1
            own = _level(tables, rows, shift)
            halve(memory.levels[here], below, own, memory.levels[1 - here])
            here = 1 - here
        own = _level(tables, rows, shift)
        start, end, sizes = _extent(tables, j)
        d_features, grid = memory.levels[here], symbols[start:end].reshape(sizes)
        add_part_to_weight(own, d_features, grid, memory.d_weight[j - k - 1])
        kept = _level(tables, whole, shift)
        start = tables.spilled[band, j]
        d_grid = spilled[start : start + kept.n_rows * kept.width].reshape(kept.n_rows, kept.width)
        add_part_to_grid(weight, j - k - 1, own, d_features, kept.first, d_grid)


@kernel()
def _fold_ifce(tables: _Tables, k: int, d_weight: F64, d_flat: F64) -> None:
    """Add the derivatives of one IFCE to those by all weights, and forget them."""
    n_features, n_inputs, start = tables.sizes[1], tables.grids[k, 5], tables.grids[k, 4]
    for f in range(n_features):
        for c in range(n_inputs):
            d_flat[start + f * n_inputs + c] += folded(d_weight[c, f], 0)
        d_flat[start + n_features * n_inputs + f] += folded(d_weight[n_inputs, f], 0)
        for c in range(n_inputs + 1):
            for lane in range(LANES):
                d_weight[c, f, lane] = 0.0


@kernel()
def _copy_features(
    features: F32, pitch: int, position: int, n: int, first: int, contexts: F32
) -> None:
    """Features of n symbols of a sheet from ``position`` on, to the rows from ``first`` on."""
    for r in range(position // pitch, (position + n - 1) // pitch + 1):
        start, end = max(position, r * pitch), min(position + n, (r + 1) * pitch)
        shift = (r // 2 - r) * pitch
        for f in range(features.shape[0]):
            source = features[f, start + shift : end + shift]
            copy_row(source, contexts[first + f, start - position : end - position])


@kernel()
def _add_features(
    d_contexts: F32, pitch: int, position: int, n: int, first: int, d_features: F32
) -> None:
    """Add the derivatives by what :func:`_copy_features` has copied."""
    for r in range(position // pitch, (position + n - 1) // pitch + 1):
        start, end = max(position, r * pitch), min(position + n, (r + 1) * pitch)
        shift = (r // 2 - r) * pitch
        for f in range(d_features.shape[0]):
            target = d_features[f, start + shift : end + shift]
            add_row(d_contexts[first + f, start - position : end - position], target)


@kernel()
def _blank_margins(shape: Shape, width: int, position: int, n: int, block: Block) -> None:
    """Let the zeros between the rows of a sheet count nothing."""
    slope, pitch = block.g[bottom(shape) :], width + REACH
    for r in range(position // pitch, (position + n - 1) // pitch + 1):
        start = max(position, r * pitch + width) - position
        blank(block.bits[0], slope, start, min(position + n, (r + 1) * pitch) - position)


@kernel()
def _keep_details(
    grid: _Rows, width: int, position: int, n: int, block: Block, start: int, details: F32
) -> None:
    """Bits, mu and scale of the symbols of a block; the grid starts at symbol ``start``."""
    pitch = width + REACH
    for k in range(n):
        r, x = (position + k) // pitch, (position + k) % pitch
        if x < width:
            symbol = start + (grid.first + r) * width + x
            log_scale = min(max(block.out[1, k], -MAX_LOG_SCALE), MAX_LOG_SCALE)
            details[0, symbol] = block.bits[0, k]
            details[1, symbol] = block.out[0, k]
            details[2, symbol] = np.exp(log_scale)


@kernel()
def _add_back(
    tables: _Tables, rows: _Rows, band: int, d_sheet: F32, d_symbols: F32, spilled: F32
) -> None:
    """Take the derivatives by the symbols of a sheet: its own rows, and the rows above."""
    start, end, sizes = _extent(tables, rows.grid)
    d_grid, width = d_symbols[start:end].reshape(sizes), sizes[1]
    pitch, top = width + REACH, tables.bands[band, 1]
    for r in range(rows.n + REACH):
        y = rows.first - REACH + r
        source = d_sheet[r * pitch + REACH : (r + 1) * pitch]
        if r >= REACH:
            copy_row(source, d_grid[y])
        elif y >= top:
            add_row(source, d_grid[y])
        elif y >= 0:
            start = tables.spilled[band, rows.grid] + (y - top + REACH) * width
            add_row(source, spilled[start : start + width])


@kernel()
def _sheet(
    shape: Shape,
    arm: Arm,
    tables: _Tables,
    rows: _Rows,
    scale: np.float32,
    differentiated: bool,
    has_features: bool,
    memory: _Memory,
    block: Block,
    sums: Sums,
    details: F32,
) -> None:
    """Evaluate the symbols of a sheet, whose features are there, and differentiate them."""
    n_spatial, width = tables.sizes[0], tables.grids[rows.grid, 2]
    pitch, start = width + REACH, sheet_start(width)
    contexts = block.x[bottom(shape) :]
    by_mean = block.g[bottom(shape)]
    n_symbols = rows.n * pitch - REACH
    for position in range(0, n_symbols, BLOCK):
        n = min(BLOCK, n_symbols - position)
        here = start + position
        gather(
            memory.sheet, width, here, (n + COLUMNS - 1) // COLUMNS * COLUMNS, n_spatial, contexts
        )
        copy_row(memory.sheet[here : here + n], block.symbols[0, :n])
        if has_features:
            _copy_features(memory.features, pitch, position, n, n_spatial, contexts)
        evaluate(shape, arm, n, scale, block)
        _blank_margins(shape, width, position, n, block)
        add_bits(n, block, sums)
        if details.shape[1] > 0:
            _keep_details(rows, width, position, n, block, tables.grids[rows.grid, 0], details)
        if differentiated:
            differentiate(shape, arm, n, block)
            differentiate_contexts(shape, arm, n, block)
            add_weights(shape, n, block, sums)
            scatter(block.d_context, width, here, n, n_spatial, memory.d_sheet)
            own = memory.d_sheet[here : here + n]
            for k in range(n):
                own[k] -= by_mean[k]
            if has_features:
                _add_features(block.d_context, pitch, position, n, n_spatial, memory.d_features)


@kernel(allocates=True)
def _allocate(tables: _Tables) -> _Memory:
    n_features = tables.sizes[1]
    return _Memory(
        np.empty(tables.sizes[2], np.float32),
        np.empty(tables.sizes[2], np.float32),
        np.empty((n_features, tables.sizes[3]), np.float32),
        np.empty((n_features, tables.sizes[3]), np.float32),
        np.empty((2, n_features, tables.sizes[4]), np.float32),
        np.zeros((tables.grids.shape[0] + 1, n_features, LANES)),
    )


@kernel(allocates=True)
def _sweep(
    shape: Shape,
    arm: Arm,
    tables: _Tables,
    first_band: int,
    end_band: int,
    scale: np.float32,
    flat: F32,
    symbols: F32,
    d_symbols: F32,
    spilled: F32,
    d_flat: F64,
    details: F32,
) -> float:
    """Sweep over some bands.

    Parameters
    ----------
    shape : Shape
    arm : Arm
    tables : _Tables
    first_band, end_band : int
    scale : float
        Factor of derivatives.
    flat : float32[n]
        All weights.
    symbols : float32[N]
    d_symbols : float32[N] or float32[0]
        Derivatives by the symbols of the bands; nothing is differentiated if it is empty.
    spilled : float32[n]
        Those by the symbols of others.
    d_flat : float64[n]
        Derivatives by the weights; zero before.
    details : float32[3, N] or float32[3, 0]
        Bits, mu and scale of every symbol, if wanted.

    Returns
    -------
    float
        Bits.
    """
    block, sums, memory = make_block(shape), make_sums(shape), _allocate(tables)
    differentiated = d_symbols.size > 0
    for band in range(first_band, end_band):
        k, first, end = tables.bands[band, 0], tables.bands[band, 1], tables.bands[band, 2]
        start, end_symbol, sizes = _extent(tables, k)
        grid, width, has_features = (
            symbols[start:end_symbol].reshape(sizes),
            sizes[1],
            tables.grids[k, 5] > 0,
        )
        if not has_features:
            for i in range(bottom(shape) + tables.sizes[0], block.x.shape[0]):
                clear_row(block.x[i])
        n_rows = _sheet_rows(width)
        for y in range(first, end, n_rows):
            rows = _Rows(k, y, min(n_rows, end - y))
            fill_sheet(grid, y, rows.n, memory.sheet)
            clear_row(memory.d_sheet[: sheet_size(rows.n, width)])
            if has_features:
                _features(tables, rows, flat, symbols, memory)
                for f in range(memory.d_features.shape[0]):
                    clear_row(memory.d_features[f, : (rows.n + 1) // 2 * (width + REACH)])
            _sheet(
                shape,
                arm,
                tables,
                rows,
                scale,
                differentiated,
                has_features,
                memory,
                block,
                sums,
                details,
            )
            if differentiated:
                _add_back(tables, rows, band, memory.d_sheet, d_symbols, spilled)
                if has_features:
                    _features_backward(tables, rows, flat, symbols, memory, band, spilled)
        if differentiated and has_features:
            _fold_ifce(tables, k, memory.d_weight, d_flat)
    if differentiated:
        unpack(shape, sums, d_flat)
    return folded(sums.bits[0], 0)


@kernel(inline=True)
def _sheet_rows(width: int) -> int:
    """Rows of a sheet, an even number."""
    return max(_SHEET // (width + REACH) // 2, 1) * 2


@kernel()
def _add_spilled(tables: _Tables, spilled: F32, d_symbols: F32) -> None:
    """Add what bands have kept for each other, in the order of bands."""
    for band in range(tables.bands.shape[0]):
        k, first, end = tables.bands[band, 0], tables.bands[band, 1], tables.bands[band, 2]
        for j in range(k, tables.grids.shape[0]):
            start = tables.spilled[band, j]
            if start < 0:
                continue
            if j == k:
                kept = Level(first - REACH, REACH, tables.grids[k, 2])
            else:
                kept = _level(tables, _Rows(k, first, end - first), _shift(tables, k, j))
            begin, end_symbol, sizes = _extent(tables, j)
            d_grid = d_symbols[begin:end_symbol].reshape(sizes)
            for r in range(max(-kept.first, 0), kept.n_rows):
                source = spilled[start + r * kept.width : start + (r + 1) * kept.width]
                add_row(source, d_grid[kept.first + r, : kept.width])


def _bands(grids: Sequence[Grid]) -> tuple[list[tuple[int, int, int]], list[tuple[int, int]]]:
    """Bands of rows, which begin at even rows, and the parts that they are put together to."""
    least = max(_LEAST, sum(grid.n_samples for grid in grids) // _MOST_PARTS)
    bands: list[tuple[int, int, int]] = []
    parts: list[tuple[int, int]] = []
    first, size = 0, 0
    for k, grid in enumerate(grids):
        for start, end in partition((grid.height + 1) // 2, -(-least // (2 * grid.width))):
            bands.append((k, 2 * start, min(2 * end, grid.height)))
            size += (bands[-1][2] - bands[-1][1]) * grid.width
            if size >= least:
                parts.append((first, len(bands)))
                first, size = len(bands), 0
    if size:
        parts.append((first, len(bands)))
    return bands, parts


def _tables(header: CoolChicHeader, bands: Sequence[tuple[int, int, int]]) -> tuple[_Tables, int]:
    """Tables for some bands, and the size of what they keep for each other."""
    grids, inputs = header.derived.grids, header.derived.ifce_inputs
    n_features = header.output_feature_ifce
    table = np.zeros((len(grids), 6), np.int64)
    start, weights = 0, n_parameters(_shape(header))
    for k, (grid, n_inputs) in enumerate(zip(grids, inputs, strict=True)):
        halvings = 0 if k == 0 else table[k - 1, 3] + (grid.shape != grids[k - 1].shape)
        table[k] = start, grid.height, grid.width, halvings, weights, n_inputs
        start += grid.n_samples
        weights += n_features * (n_inputs + 1) if n_inputs else 0
    sheets = [(min(_sheet_rows(grid.width), grid.height), grid.width) for grid in grids]
    sizes = [
        header.spatial_context_arm,
        n_features,
        max(sheet_size(n_rows, width) for n_rows, width in sheets),
        max((n_rows + 1) // 2 * (width + REACH) for n_rows, width in sheets),
        max((n_rows + 1) // 2 * ((width + 1) // 2) for n_rows, width in sheets),
    ]
    tables = _Tables(
        table,
        np.array(bands, np.int64),
        np.full((len(bands), len(grids)), -1, np.int64),
        np.array(sizes, np.int64),
    )
    kept = 0
    for band, (k, first, end) in enumerate(bands):
        if first > 0:
            tables.spilled[band, k] = kept
            kept += REACH * grids[k].width
        for j in range(k + 1, len(grids) if inputs[k] else 0):
            coarse = _level(tables, _Rows(k, first, end - first), _shift(tables, k, j))
            tables.spilled[band, j] = kept
            kept += coarse.n_rows * coarse.width
    return tables, kept


def _shape(header: CoolChicHeader) -> Shape:
    width = header.derived.arm_width
    return Shape(header.n_hidden_layers_arm, width, bool(header.linear_stabiliser_arm), width == 2)


class RateSweep:
    """Bits of all latents of a picture, and their derivatives.

    Arrays of symbols are float32[N]: the quantised grids of a header one after the other, finest
    first, with hyperlatents. Weights are weight and bias, float32, of every hidden layer of the
    ARM, of its output layer, of its stabiliser if there is one, and of the IFCE of every grid that
    has one, finest first. Results are the same for every number of threads.

    Parameters
    ----------
    header : CoolChicHeader
    workers : Workers
    """

    def __init__(self, header: CoolChicHeader, workers: Workers) -> None:
        bands, self._parts = _bands(header.derived.grids)
        self._shape = _shape(header)
        self._tables, n_spilled = _tables(header, bands)
        self._workers = workers
        last = self._tables.grids[-1]
        n_features = header.output_feature_ifce
        n_weights = int(last[4]) + (n_features * (int(last[5]) + 1) if last[5] else 0)
        self._flat = np.empty(n_weights, np.float32)
        self._arm = make_arm(self._shape)
        self._spilled = np.empty(n_spilled, np.float32)
        self._d_flat = np.empty((len(self._parts), n_weights))
        self._no_symbols = np.empty(0, np.float32)
        self._no_details = np.empty((3, 0), np.float32)

    def bits(self, symbols: F32, weights: Sequence[F32]) -> float:
        """Bits of all symbols."""
        return self._run(symbols, weights, 0.0, self._no_symbols, self._no_details)

    def details(self, symbols: F32, weights: Sequence[F32]) -> tuple[F32, F32, F32]:
        """Bits, mu and scale of every symbol, float32[N] each."""
        rows = np.empty((3, symbols.size), np.float32)
        self._run(symbols, weights, 0.0, self._no_symbols, rows)
        return rows[0], rows[1], rows[2]

    def differentiate(
        self,
        symbols: F32,
        weights: Sequence[F32],
        scale: float,
        d_symbols: F32,
        d_weights: Sequence[F32],
    ) -> float:
        """Bits of all symbols, and ``scale`` times their derivatives.

        Parameters
        ----------
        symbols : float32[N]
        weights : sequence of float32 arrays
        scale : float
        d_symbols, d_weights
            Overwritten with the derivatives; shaped like ``symbols`` and ``weights``.

        Returns
        -------
        float
            Bits, not scaled.
        """
        self._spilled.fill(0.0)
        bits = self._run(symbols, weights, scale, d_symbols, self._no_details)
        _add_spilled(self._tables, self._spilled, d_symbols)
        flat, start = self._d_flat.sum(0), 0
        for array in d_weights:
            array[...] = flat[start : start + array.size].reshape(array.shape)
            start += array.size
        return bits

    def _run(
        self, symbols: F32, weights: Sequence[F32], scale: float, d_symbols: F32, details: F32
    ) -> float:
        self._d_flat.fill(0.0)
        np.concatenate([weight.reshape(-1) for weight in weights], out=self._flat)
        pack(self._shape, self._flat, self._arm)
        totals = [0.0] * len(self._parts)

        def sweep(part: int) -> None:
            totals[part] = _sweep(
                self._shape,
                self._arm,
                self._tables,
                *self._parts[part],
                np.float32(scale),
                self._flat,
                symbols,
                d_symbols,
                self._spilled,
                self._d_flat[part],
                details,
            )

        self._workers.run(sweep, len(self._parts))
        return sum(totals)
