# SPDX-License-Identifier: BSD-3-Clause
"""Synthesis of 4.x: planes -> signal (coolchic-4.2, section 12). Float.

Order of operations, every product and sum rounded to float32: a filter starts from its bias; a
residual layer adds its input; then come the taps of the first input channel row by row, then those
of the second one; then negative values become 0 with ReLU.

Layers without neighbourhood are computed together, a tile of :data:`_TILE` samples at a time, so
that their many channels stay in the cache.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from numchic_bitstream.arrays import F32, F32_1D, F32_2D, F32_3D, I64_2D
from numchic_bitstream.kernels import kernel
from numchic_bitstream.v4.headers import CoolChicHeader
from numchic_bitstream.v4.parameters import SynLayer

MARGIN = 1
"""Columns on each side of planes, for the neighbourhood of a layer."""

_TILE = 256
_OUTPUTS = 4  # computed together; numbers of outputs are padded to multiples of this
_MACS_PER_CALL = 1 << 28  # some 50 ms


class _Layer(NamedTuple):
    """One layer; weights float32[n_outputs_padded // 4, n_inputs, ks * ks, 4], see _pack."""

    weight: F32
    bias: F32
    n_inputs: int
    n_outputs: int
    k_size: int
    residual: bool
    relu: bool


class _Group(NamedTuple):
    """Layers computed together: one with a neighbourhood, or any number without.

    ``table`` has a row for every layer: inputs, outputs, residual, ReLU, and where its weights and
    biases start.
    """

    table: I64_2D
    weights: F32_1D
    biases: F32_1D
    reach: int
    n_outputs: int
    macs: int


class Synthesiser:
    """Runs the synthesis of one decoder on a range of rows at a time.

    Parameters
    ----------
    header : CoolChicHeader
    layers : sequence of SynLayer
    """

    def __init__(self, header: CoolChicHeader, layers: tuple[SynLayer, ...]) -> None:
        self.n_inputs = header.n_inputs
        self.reach = header.derived.reach
        self._groups: list[_Group] = []
        pending: list[_Layer] = []
        for layer, form in zip(layers, header.topology.syn, strict=True):
            packed = _pack(layer, form.residual, form.relu)
            if pending and not pending[-1].k_size == packed.k_size == 1:
                self._groups.append(_group(pending))
                pending = []
            pending.append(packed)
        self._groups.append(_group(pending))
        self.n_outputs = self._groups[-1].n_outputs
        self._widest = max(self.n_inputs, *(layer.n_outputs for layer in header.topology.syn))

    def input_rows(self, height: int, first: int, n_rows: int) -> tuple[int, int]:
        """First input row that some output rows need, and the number of input rows."""
        start, stop = max(0, first - self.reach), min(height, first + n_rows + self.reach)
        return start, stop - start

    def run(
        self,
        planes: F32,
        height: int,
        first: int,
        n_rows: int,
        pause: Callable[[], None] | None = None,
    ) -> F32:
        """Compute output rows first .. first + n_rows - 1.

        Parameters
        ----------
        planes : float32[nL + nN, rows, MARGIN + w + MARGIN]
            Rows as :meth:`input_rows` says; margins need not be filled in.
        height : int
            Height of the whole picture.
        first, n_rows : int
        pause : callable, optional
            Called now and then; an exception it raises ends the work.

        Returns
        -------
        float32[O, n_rows, w]
        """
        start, reach = max(0, first - self.reach), self.reach
        width = planes.shape[2] - 2 * MARGIN
        tiles = np.empty((2, (self._widest + _OUTPUTS) * _TILE), np.float32)
        for group in self._groups:
            reach -= group.reach
            top, bottom = max(0, first - reach), min(height, first + n_rows + reach)
            margin = 0 if group is self._groups[-1] else MARGIN
            result = np.empty((group.n_outputs, bottom - top, width + 2 * margin), np.float32)
            step = max(1, _MACS_PER_CALL // (group.macs * planes.shape[2]))
            if group.reach:
                pad_columns(planes)
            for y in range(top, bottom, step):
                if pause is not None:
                    pause()
                stop = min(y + step, bottom)
                if group.reach:
                    filter_rows(planes, start, height, y, stop, group, tiles, top, result)
                else:
                    combine_rows(planes, start, y, stop, group, tiles, top, result)
            planes, start = result, top
        return planes


def _pack(layer: SynLayer, residual: bool, relu: bool) -> _Layer:
    """Order weights as the kernels read them: groups of four outputs, innermost."""
    n_outputs, n_inputs, k_size, _ = layer.weight.shape
    missing = -n_outputs % _OUTPUTS
    weight = np.pad(layer.weight.reshape(n_outputs, -1), ((0, missing), (0, 0)))
    weight = weight.reshape(-1, _OUTPUTS, weight.shape[1]).transpose(0, 2, 1)
    bias = np.pad(layer.bias, (0, missing))
    return _Layer(weight, bias, n_inputs, n_outputs, k_size, residual, relu)


def _group(layers: list[_Layer]) -> _Group:
    rows, weight_start, bias_start = [], 0, 0
    for layer in layers:
        flags = int(layer.residual), int(layer.relu)
        rows.append((layer.n_inputs, layer.n_outputs, *flags, weight_start, bias_start))
        weight_start += layer.weight.size
        bias_start += layer.bias.size
    return _Group(
        np.array(rows, np.int64),
        np.concatenate([layer.weight.reshape(-1) for layer in layers]),
        np.concatenate([layer.bias for layer in layers]),
        layers[0].k_size // 2,
        layers[-1].n_outputs,
        weight_start,
    )


@kernel(entry=True)
def pad_columns(planes: F32_3D) -> None:
    """Repeat the first and last sample of every row into its margins."""
    for c in range(planes.shape[0]):
        for y in range(planes.shape[1]):
            row = planes[c, y]
            row[0] = row[1]
            row[row.size - 1] = row[row.size - 2]


@kernel()
def _add_four(x: F32, weights: F32, n: int, y: F32) -> None:
    """Add four inputs to four outputs; rows of x and y are _TILE long."""
    a0, b0, c0, d0 = weights[0], weights[1], weights[2], weights[3]
    a1, b1, c1, d1 = weights[4], weights[5], weights[6], weights[7]
    a2, b2, c2, d2 = weights[8], weights[9], weights[10], weights[11]
    a3, b3, c3, d3 = weights[12], weights[13], weights[14], weights[15]
    for k in range(n):
        x0, x1, x2, x3 = x[k], x[k + _TILE], x[k + 2 * _TILE], x[k + 3 * _TILE]
        y[k] = (((y[k] + x0 * a0) + x1 * a1) + x2 * a2) + x3 * a3
        i = k + _TILE
        y[i] = (((y[i] + x0 * b0) + x1 * b1) + x2 * b2) + x3 * b3
        i = k + 2 * _TILE
        y[i] = (((y[i] + x0 * c0) + x1 * c1) + x2 * c2) + x3 * c3
        i = k + 3 * _TILE
        y[i] = (((y[i] + x0 * d0) + x1 * d1) + x2 * d2) + x3 * d3


@kernel()
def _add_one(x: F32, weights: F32, n: int, y: F32) -> None:
    """Add one input to four outputs."""
    a, b, c, d = weights[0], weights[1], weights[2], weights[3]
    for k in range(n):
        x0 = x[k]
        y[k] += x0 * a
        y[k + _TILE] += x0 * b
        y[k + 2 * _TILE] += x0 * c
        y[k + 3 * _TILE] += x0 * d


@kernel()
def _add_row(x: F32, weights: F32, n: int, y: F32) -> None:
    """Add three neighbours, the first of which is at x[0], to four outputs."""
    a0, b0, c0, d0 = weights[0], weights[1], weights[2], weights[3]
    a1, b1, c1, d1 = weights[4], weights[5], weights[6], weights[7]
    a2, b2, c2, d2 = weights[8], weights[9], weights[10], weights[11]
    for k in range(n):
        x0, x1, x2 = x[k], x[k + 1], x[k + 2]
        y[k] = ((y[k] + x0 * a0) + x1 * a1) + x2 * a2
        i = k + _TILE
        y[i] = ((y[i] + x0 * b0) + x1 * b1) + x2 * b2
        i = k + 2 * _TILE
        y[i] = ((y[i] + x0 * c0) + x1 * c1) + x2 * c2
        i = k + 3 * _TILE
        y[i] = ((y[i] + x0 * d0) + x1 * d1) + x2 * d2


@kernel(inline=True)
def _finish(y: F32, n: int, relu: int, out: F32) -> None:
    """Copy a row, with ReLU or without."""
    if relu != 0:
        for k in range(n):
            out[k] = np.float32(0.0) if y[k] < 0.0 else y[k]
    else:
        for k in range(n):
            out[k] = y[k]


@kernel(entry=True)
def combine_rows(
    planes: F32_3D,
    start: int,
    first: int,
    stop: int,
    group: _Group,
    tiles: F32_2D,
    top: int,
    out: F32_3D,
) -> None:
    """Run layers without neighbourhood.

    Parameters
    ----------
    planes : float32[n_inputs, rows, MARGIN + w + MARGIN]
    start : int
        First row of ``planes``.
    first, stop : int
        Output rows first .. stop - 1 are computed.
    group : _Group
    tiles : float32[2, >= (widest + 4) * 256]
        Scratch for the layer with most channels.
    top : int
        First row of ``out``.
    out : float32[n_outputs, rows, w + margins]
        Output, without its margins.
    """
    table, weights, biases = group.table, group.weights, group.biases
    width = planes.shape[2] - 2 * MARGIN
    margin = (out.shape[2] - width) // 2
    for row in range(first, stop):
        for left in range(0, width, _TILE):
            n = min(_TILE, width - left)
            x, y = tiles[0], tiles[1]
            for i in range(planes.shape[0]):
                tile = x[i * _TILE : (i + 1) * _TILE]
                source = planes[i, row - start, MARGIN + left :]
                for k in range(n):
                    tile[k] = source[k]
            for layer in range(table.shape[0]):
                n_inputs, n_outputs, residual = table[layer, 0], table[layer, 1], table[layer, 2]
                w, b = table[layer, 4], table[layer, 5]
                for o in range(0, n_outputs, _OUTPUTS):
                    four = y[o * _TILE : (o + _OUTPUTS) * _TILE]
                    for p in range(_OUTPUTS):
                        tile = four[p * _TILE : (p + 1) * _TILE]
                        bias = biases[b + o + p]
                        if residual != 0 and o + p < n_outputs:
                            source = x[(o + p) * _TILE :]
                            for k in range(n):
                                tile[k] = bias + source[k]
                        else:
                            for k in range(n):
                                tile[k] = bias
                    n_fours = n_inputs - n_inputs % 4
                    for i in range(0, n_fours, 4):
                        _add_four(x[i * _TILE : (i + 4) * _TILE], weights[w : w + 16], n, four)
                        w += 16
                    for i in range(n_fours, n_inputs):
                        _add_one(x[i * _TILE : (i + 1) * _TILE], weights[w : w + 4], n, four)
                        w += 4
                if layer < table.shape[0] - 1:
                    for o in range(n_outputs):
                        tile = y[o * _TILE : (o + 1) * _TILE]
                        _finish(tile, n, table[layer, 3], tile)
                    x, y = y, x
            last = table.shape[0] - 1
            for o in range(out.shape[0]):
                tile = y[o * _TILE : (o + 1) * _TILE]
                _finish(tile, n, table[last, 3], out[o, row - top, margin + left :])


@kernel(entry=True)
def filter_rows(
    planes: F32_3D,
    start: int,
    height: int,
    first: int,
    stop: int,
    group: _Group,
    tiles: F32_2D,
    top: int,
    out: F32_3D,
) -> None:
    """Run a layer with 3 x 3 neighbourhoods.

    Parameters
    ----------
    planes : float32[n_inputs, rows, MARGIN + w + MARGIN]
        With margins filled in.
    start, height : int
        First row of ``planes``; rows of the whole picture.
    first, stop, group, tiles, top, out
        See :func:`combine_rows`.
    """
    layer, weights, biases = group.table[0], group.weights, group.biases
    width = planes.shape[2] - 2 * MARGIN
    margin = (out.shape[2] - width) // 2
    n_inputs, n_outputs, residual, relu = layer[0], layer[1], layer[2], layer[3]
    buffer = tiles[0]
    for y in range(first, stop):
        for left in range(0, width, _TILE):
            n = min(_TILE, width - left)
            for o in range(0, n_outputs, _OUTPUTS):
                for p in range(_OUTPUTS):
                    tile = buffer[p * _TILE : (p + 1) * _TILE]
                    bias = biases[o + p]
                    if residual != 0 and o + p < n_outputs:
                        source = planes[o + p, y - start, MARGIN + left :]
                        for k in range(n):
                            tile[k] = bias + source[k]
                    else:
                        for k in range(n):
                            tile[k] = bias
                w = o * n_inputs * 9
                for i in range(n_inputs):
                    for dy in range(-1, 2):
                        other = min(max(y + dy, 0), height - 1) - start
                        _add_row(planes[i, other, left:], weights[w : w + 12], n, buffer)
                        w += 12
                for p in range(min(_OUTPUTS, n_outputs - o)):
                    tile = buffer[p * _TILE : (p + 1) * _TILE]
                    _finish(tile, n, relu, out[o + p, y - top, margin + left :])
