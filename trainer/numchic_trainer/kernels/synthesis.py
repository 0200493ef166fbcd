# SPDX-License-Identifier: BSD-3-Clause
"""Synthesis of the usual form, forward and backward (coolchic-5, section 11.1; training, 2.6).

The form is a hidden 1 x 1 layer with ReLU, a 1 x 1 layer to the outputs, any number of 3 x 3
residual layers and, beside all this, a linear 1 x 1 stabiliser. There may be a single 1 x 1 layer
instead, without hidden one, which is computed as a stabiliser that sees all inputs. The 1 x 1
layers are done for a block of pixels whose hidden activations stay in the cache; backward computes
them again. The 3 x 3 layers are done row by row, with the nine neighbours in all inputs for every
vector of pixels.

Planes are flat, those of the outputs one after another. Behind the last number of an array there is
room for ``ROOM`` more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from numchic_bitstream.arrays import F32, F64
from numchic_bitstream.kernels import kernel
from numchic_bitstream.v5.headers import SynthesisLayer
from numchic_trainer.kernels.lanes import (
    LANES,
    accumulate,
    first,
    fma,
    load,
    plus,
    save,
    spread,
    where_positive,
    zeros,
)
from numchic_trainer.kernels.products import (
    COLUMNS,
    LINEAR,
    MASK,
    RELU,
    add_folded,
    add_outer,
    multiply,
    padded,
)
from numchic_trainer.kernels.rows import ROOM, add, copy, row_size
from numchic_trainer.kernels.workers import Workers, partition

OUTPUTS = range(2, 6)
"""Numbers of outputs: of a picture, and of residue and motion of P and B frames."""

_BLOCK = 512  # pixels of the 1 x 1 layers
_LEAST_PIXELS = 8192  # of a part
_WINDOW_PIXELS = 8192  # that a 3 x 3 layer takes together
_NINE = 9
_HIDDEN, _LINEAR = (1, "linear", "relu"), (1, "linear", "none")


def is_usual(layers: Sequence[SynthesisLayer]) -> bool:
    """Whether the kernels can do these layers."""
    form = [(layer.k_size, layer.mode, layer.non_linearity) for layer in layers]
    middle, end = form[2:-1], form[2:][-1:]
    return (
        form[:2] in ([_LINEAR], [_HIDDEN, _LINEAR])
        and all(item == (3, "residual", "relu") for item in middle)
        and all(item == (3, "residual", "none") for item in end)
        and layers[-1].out_ft in OUTPUTS
        and len({layer.out_ft for layer in layers[1:]}) <= 1
    )


class Sizes(NamedTuple):
    """Sizes of the layers.

    ``n_seen`` of the ``n_inputs`` inputs are latents, which the stabiliser sees. ``n_hidden`` is 0
    if there is a single layer. ``n_spatial`` is the number of 3 x 3 layers, which have ``n_out``
    inputs and outputs.

    There are ``x_rows`` rows in memory: the inputs, ones and zeros. The ``h_rows`` hidden rows are
    the ``n_hidden`` activations, ones and zeros; the ``o_rows`` rows of outputs end with zeros. Of
    the ``g_rows`` rows of derivatives the last ``o_rows`` belong to the stabiliser.
    """

    n_inputs: int
    n_seen: int
    n_hidden: int
    n_out: int
    n_spatial: int
    x_rows: int
    h_rows: int
    o_rows: int
    g_rows: int


class Pointwise(NamedTuple):
    """Matrices of the 1 x 1 layers, flat; rows of weights and a bias, and their transposes.

    ``hidden`` (n_hidden, S + 1), ``trunk`` (o_rows, n_hidden + 1), ``stabiliser`` (o_rows, S + 1);
    ``to_hidden`` (n_hidden, n_out + 1): derivatives by hidden activations from those by the trunk;
    ``to_x`` (x_rows, g_rows + 1): derivatives by the inputs.
    """

    hidden: F32
    trunk: F32
    stabiliser: F32
    to_hidden: F32
    to_x: F32


@kernel(inline=True)
def _n_row(n_out: int) -> int:
    """Weights of an output of a 3 x 3 layer, and its bias."""
    return n_out * _NINE + 1


@kernel(inline=True)
def _n_layer(n_out: int) -> int:
    """Weights and biases of a 3 x 3 layer."""
    return n_out * _n_row(n_out)


class Network:
    """Weights of the synthesis as the kernels want them, and derivatives by them.

    Parameters
    ----------
    n_inputs, n_seen : int
        Number of input channels, and of those that the stabiliser sees.
    widths : sequence of int
        Outputs of every layer of the trunk.
    has_stabiliser : bool

    Attributes
    ----------
    sums : float64[n_parts, n]
        Derivatives: by ``[hidden; stabiliser]`` and the inputs and ones, shape (g_rows, x_rows);
        by the trunk and the hidden activations and ones, shape (o_rows, h_rows); by the weights and
        the bias of every 3 x 3 layer, shape (n_out, 9 n_out + 1).
    """

    def __init__(
        self, n_inputs: int, n_seen: int, widths: Sequence[int], has_stabiliser: bool
    ) -> None:
        self.n_hidden = widths[0] if len(widths) > 1 else 0
        self.n_spatial, self.has_stabiliser = max(len(widths) - 2, 0), has_stabiliser
        n_out, units = widths[-1], padded(self.n_hidden)
        x_rows, h_rows, o_rows = padded(n_inputs + 1), padded(units + 1), padded(n_out)
        g_rows = units + o_rows
        self.sizes = Sizes(
            n_inputs, n_seen, units, n_out, self.n_spatial, x_rows, h_rows, o_rows, g_rows
        )
        shapes = [
            (units, n_inputs + 1),
            (o_rows, units + 1),
            (o_rows, n_inputs + 1),
            (units, n_out + 1),
            (x_rows, g_rows + 1),
        ]
        self._matrices = [np.zeros(shape, np.float32) for shape in shapes]
        self.pointwise = Pointwise(*(matrix.reshape(-1) for matrix in self._matrices))
        self._spatial = np.zeros((self.n_spatial, n_out, _n_row(n_out)), np.float32)
        self._turned = np.zeros_like(self._spatial)
        self.spatial, self.turned = self._spatial.reshape(-1), self._turned.reshape(-1)
        self.spatial_sums = g_rows * x_rows + o_rows * h_rows
        self.make_sums(1)

    def make_sums(self, n_parts: int) -> None:
        """Make room for the sums of so many parts."""
        self.sums = np.zeros((n_parts, self.spatial_sums + self._spatial.size))

    def set_weights(self, weights: Sequence[F32]) -> None:
        """Take weight and bias of every trunk layer and then of the stabiliser, if there is one."""
        layers = list(zip(weights[::2], weights[1::2], strict=True))
        self._matrices[2][:], self._matrices[4][:] = 0.0, 0.0
        if self.has_stabiliser:
            self._add_linear(self.sizes.n_seen, *layers.pop())
        if self.n_hidden:
            self._set_hidden(*layers[0], *layers[1])
        else:
            self._add_linear(self.sizes.n_inputs, *layers[0])
        for i, (weight, bias) in enumerate(layers[2:]):
            self._set_spatial(i, weight, bias)

    def _add_linear(self, n_seen: int, weight: F32, bias: F32) -> None:
        """Add to what the outputs are of the first inputs, past the hidden layer."""
        _, _, stabiliser, _, to_x = self._matrices
        n_out, units = self.sizes.n_out, self.sizes.n_hidden
        matrix = weight.reshape(n_out, n_seen)
        stabiliser[:n_out, :n_seen] += matrix
        stabiliser[:n_out, -1] += bias
        to_x[:n_seen, units : units + n_out] += matrix.T

    def _set_hidden(self, weight: F32, bias: F32, above: F32, bias_above: F32) -> None:
        """Take the hidden layer and the one above it."""
        hidden, trunk, _, to_hidden, to_x = self._matrices
        n, n_inputs, n_out = self.n_hidden, self.sizes.n_inputs, self.sizes.n_out
        w1, w2 = weight.reshape(n, n_inputs), above.reshape(n_out, n)
        hidden[:n, :-1], hidden[:n, -1] = w1, bias
        trunk[:n_out, :n], trunk[:n_out, -1] = w2, bias_above
        to_hidden[:n, :n_out] = w2.T
        to_x[:n_inputs, :n] = w1.T

    def _set_spatial(self, i: int, weight: F32, bias: F32) -> None:
        n_out = self.sizes.n_out
        layer, turned = self._spatial[i], self._turned[i]
        nines = weight.reshape(n_out, n_out, _NINE).copy()
        for c in range(n_out):  # what a residual layer adds
            nines[c, c, _NINE // 2] += 1.0
        layer[:, :-1], layer[:, -1] = nines.reshape(n_out, -1), bias
        turned[:, :-1] = nines.transpose(1, 0, 2)[:, :, ::-1].reshape(n_out, -1)

    def get_d_weights(self, d_weights: Sequence[F32]) -> None:
        """Give the derivatives, in the order of :meth:`set_weights`."""
        n_inputs, n_seen, units, n_out = self.sizes[:4]
        g_rows, x_rows = self.sizes.g_rows, self.sizes.x_rows
        total = self.sums.sum(0)
        by_x = total[: g_rows * x_rows].reshape(g_rows, x_rows)
        by_hidden = total[g_rows * x_rows : self.spatial_sums].reshape(-1, self.sizes.h_rows)
        n, side = self.n_hidden, by_x[units : units + n_out]
        if n:
            found = [by_x[:n, :n_inputs], by_x[:n, n_inputs]]
            found += [by_hidden[:n_out, :n], by_hidden[:n_out, units]]
        else:
            found = [side[:, :n_inputs], side[:, n_inputs]]
        for layer in total[self.spatial_sums :].reshape(self._spatial.shape):
            found += [layer[:, :-1], layer[:, -1]]
        found += [side[:, :n_seen], side[:, n_inputs]] if self.has_stabiliser else []
        for target, source in zip(d_weights, found, strict=True):
            target[...] = source.reshape(target.shape)


class Planes:
    """What lies between the 1 x 1 layers and the picture, and the 3 x 3 layers.

    Parameters
    ----------
    network : Network
    height, width : int
    workers : Workers

    Attributes
    ----------
    trunk : float32[n]
        Inputs of all 3 x 3 layers, the first one first.
    side : float32[n]
        Output of the stabiliser; once ``raw`` is made, derivatives by the inputs of every second
        3 x 3 layer.
    raw : float32[n_out, height, width]

    Without 3 x 3 layers ``trunk`` and ``side`` are ``raw``, to which the 1 x 1 layers add both.
    """

    def __init__(self, network: Network, height: int, width: int, workers: Workers) -> None:
        self.network, self.height, self.width = network, height, width
        self.workers = workers
        self.raw = np.zeros((network.sizes.n_out, height, width), np.float32)
        self._parts = partition(height, _LEAST_PIXELS // width + 1)
        if network.n_spatial == 0:
            self.trunk = self.side = self._d_trunk = self.raw.reshape(-1)
            return
        n = self.raw.size
        self.trunk = np.zeros(n * network.n_spatial + ROOM, np.float32)
        self._d_trunk = np.zeros(n + ROOM, np.float32)
        self.side = np.zeros(n + ROOM, np.float32)

    @property
    def n_parts(self) -> int:
        """Number of parts of a layer."""
        return len(self._parts)

    def forward(self) -> None:
        """Fill ``raw`` from ``side`` and the first planes of ``trunk``."""
        for i in range(self.network.n_spatial):
            self._layer(i)

    def _layer(self, i: int) -> None:
        is_last = i == self.network.n_spatial - 1
        y = self.raw.reshape(-1) if is_last else self.trunk

        def work(p: int) -> None:
            sizes = (self.network.sizes.n_out, self.height, self.width, *self._parts[p])
            _spatial(self.network.spatial, i, *sizes, self.trunk, y, self.side, is_last)

        self.workers.run(work, len(self._parts))

    def backward(self, d_raw: F32) -> F32:
        """Fill the sums of the network from the derivatives by ``raw``.

        Returns
        -------
        float32[n]
            Derivatives by the output of the 1 x 1 layers of the trunk.
        """
        d_y = d_raw.reshape(-1)
        for i in range(self.network.n_spatial - 1, -1, -1):
            d_x = self.side if i % 2 else self._d_trunk
            self._layer_backward(i, d_y, d_x)
            d_y = d_x
        return d_y

    def _layer_backward(self, i: int, d_y: F32, d_x: F32) -> None:
        is_last = i == self.network.n_spatial - 1
        n_out = self.network.sizes.n_out
        place = self.network.spatial_sums + _n_layer(n_out) * i

        def work(p: int) -> None:
            sizes = (n_out, self.height, self.width, *self._parts[p])
            sums = self.network.sums[p, place : place + _n_layer(n_out)]
            _spatial_backward(self.network.turned, i, *sizes, self.trunk, d_y, is_last, d_x, sums)

        self.workers.run(work, len(self._parts))


class Scratch(NamedTuple):
    """Memory for a block of pixels: rows of ``size`` pixels for the inputs, others for a block."""

    x: F32
    hidden: F32
    out: F32
    d_x: F32
    d_hidden: F32


@kernel(allocates=True)
def make_scratch(sizes: Sizes, size: int) -> Scratch:
    """Make room for inputs of ``size`` pixels, a multiple of 32; a row of ones is already there."""
    scratch = Scratch(
        np.zeros(sizes.x_rows * size + ROOM, np.float32),
        np.zeros(sizes.h_rows * _BLOCK, np.float32),
        np.zeros(sizes.o_rows * _BLOCK, np.float32),
        np.zeros(sizes.x_rows * size + 2 * ROOM, np.float32),
        np.zeros(sizes.g_rows * _BLOCK, np.float32),
    )
    ones = scratch.x[sizes.n_inputs * size : (sizes.n_inputs + 1) * size]
    for k in range(size):
        ones[k] = 1.0
    ones = scratch.hidden[sizes.n_hidden * _BLOCK : (sizes.n_hidden + 1) * _BLOCK]
    for k in range(_BLOCK):
        ones[k] = 1.0
    return scratch


@kernel()
def pointwise_forward(
    sizes: Sizes,
    layers: Pointwise,
    scratch: Scratch,
    size: int,
    n: int,
    trunk: F32,
    side: F32,
    at: int,
    plane: int,
) -> None:
    """Evaluate the 1 x 1 layers for the first n pixels of ``scratch.x``.

    Results go to place ``at`` of the planes of ``trunk`` and ``side``.
    """
    x, h, out = scratch.x, scratch.hidden, scratch.out
    for start in range(0, n, _BLOCK):
        n_block = min(_BLOCK, n - start)
        if sizes.n_hidden > 0:
            _evaluate_hidden(sizes, layers, scratch, size, start, n_block)
            multiply(
                layers.trunk,
                sizes.o_rows,
                sizes.n_hidden,
                h,
                0,
                _BLOCK,
                out,
                _BLOCK,
                n_block,
                LINEAR,
                out,
            )
            _store(sizes.n_out, out, n_block, trunk, at + start, plane, False)
        multiply(
            layers.stabiliser,
            sizes.o_rows,
            sizes.n_inputs,
            x,
            start,
            size,
            out,
            _BLOCK,
            n_block,
            LINEAR,
            out,
        )
        adds = sizes.n_spatial == 0 and sizes.n_hidden > 0
        _store(sizes.n_out, out, n_block, side, at + start, plane, adds)


@kernel()
def _evaluate_hidden(
    sizes: Sizes, layers: Pointwise, scratch: Scratch, size: int, start: int, n: int
) -> None:
    h = scratch.hidden
    multiply(
        layers.hidden, sizes.n_hidden, sizes.n_inputs, scratch.x, start, size, h, _BLOCK, n, RELU, h
    )


@kernel()
def _store(n_out: int, block: F32, n: int, planes: F32, at: int, plane: int, adds: bool) -> None:
    for c in range(n_out):
        if adds:
            add(block, c * _BLOCK, n, planes, at + c * plane)
        else:
            copy(block, c * _BLOCK, n, planes, at + c * plane)


@kernel()
def _fetch(n_out: int, planes: F32, at: int, plane: int, n: int, block: F32, block_at: int) -> None:
    """Undo :func:`_store`; up to a multiple of 32 columns there follow zeros."""
    for c in range(n_out):
        place = block_at + c * _BLOCK
        copy(planes, at + c * plane, n, block, place)
        for k in range(n, n + -n % COLUMNS):
            block[place + k] = np.float32(0.0)


@kernel()
def pointwise_backward(
    sizes: Sizes,
    layers: Pointwise,
    scratch: Scratch,
    size: int,
    n: int,
    d_trunk: F32,
    d_side: F32,
    at: int,
    plane: int,
    lanes: F64,
) -> None:
    """Fill ``scratch.d_x`` for the first n pixels and add to the derivatives by all weights.

    Parameters are those of :func:`pointwise_forward`, and

    lanes : float64[(g_rows * x_rows + o_rows * h_rows) * 16]
        Derivatives by the weights, as in :class:`Network`.
    """
    x, h, g, d_out = scratch.x, scratch.hidden, scratch.d_hidden, scratch.out
    for start in range(0, n, _BLOCK):
        n_block = min(_BLOCK, n - start)
        columns = n_block + -n_block % COLUMNS
        _fetch(sizes.n_out, d_side, at + start, plane, n_block, g, sizes.n_hidden * _BLOCK)
        if sizes.n_hidden > 0:
            _fetch(sizes.n_out, d_trunk, at + start, plane, n_block, d_out, 0)
            _evaluate_hidden(sizes, layers, scratch, size, start, n_block)
            multiply(
                layers.to_hidden,
                sizes.n_hidden,
                sizes.n_out,
                d_out,
                0,
                _BLOCK,
                g,
                _BLOCK,
                n_block,
                MASK,
                h,
            )
            place = sizes.g_rows * sizes.x_rows * LANES
            add_outer(
                d_out, _BLOCK, sizes.o_rows, h, 0, _BLOCK, sizes.h_rows, columns, lanes, place
            )
        add_outer(g, _BLOCK, sizes.g_rows, x, start, size, sizes.x_rows, columns, lanes, 0)
        d_x = scratch.d_x[start:]
        multiply(
            layers.to_x, sizes.x_rows, sizes.g_rows, g, 0, _BLOCK, d_x, size, n_block, LINEAR, d_x
        )


@kernel()
def _fill_window(
    planes: F32,
    at: int,
    n_out: int,
    height: int,
    width: int,
    start: int,
    n_rows: int,
    replicates: bool,
    window: F32,
) -> None:
    """Copy rows of all planes between margins; what is outside is replicated or zero."""
    size = row_size(width)
    for c in range(n_out):
        for i in range(n_rows):
            m, row = start + i, (c * n_rows + i) * size + LANES
            if replicates:
                m = min(max(m, 0), height - 1)
            if 0 <= m < height:
                copy(planes, at + (c * height + m) * width, width, window, row)
            else:
                for k in range(0, width, LANES):
                    save(zeros(), window, row + k)
            if replicates:
                window[row - 1], window[row + width] = window[row], window[row + width - 1]


@kernel(inline=True)
def _add_nine(x: F32, p: int, size: int, weight: F32, w: int, y: F32) -> F32:
    """Add what nine neighbours in three rows, the first one at place p, give."""
    y = fma(spread(weight, w), load(x, p - 1), y)
    y = fma(spread(weight, w + 1), load(x, p), y)
    y = fma(spread(weight, w + 2), load(x, p + 1), y)
    y = fma(spread(weight, w + 3), load(x, p + size - 1), y)
    y = fma(spread(weight, w + 4), load(x, p + size), y)
    y = fma(spread(weight, w + 5), load(x, p + size + 1), y)
    y = fma(spread(weight, w + 6), load(x, p + 2 * size - 1), y)
    y = fma(spread(weight, w + 7), load(x, p + 2 * size), y)
    return fma(spread(weight, w + 8), load(x, p + 2 * size + 1), y)


@kernel(inline=True)
def _convolve(
    n_out: int,
    window: F32,
    p: int,
    size: int,
    plane: int,
    weight: F32,
    w: int,
    rows: F32,
    start: int,
    end: int,
) -> None:
    """Set columns of a row of all outputs, in twos and at most one three."""
    n_row = _n_row(n_out)
    if n_out % 2 == 1:
        w1, w2 = w + n_row, w + 2 * n_row
        for k in range(LANES + start, LANES + end, LANES):
            y0, y1 = spread(weight, w1 - 1), spread(weight, w2 - 1)
            y2 = spread(weight, w2 + n_row - 1)
            for c in range(n_out):
                q, v = p + c * plane + k, c * _NINE
                y0 = _add_nine(window, q, size, weight, w + v, y0)
                y1 = _add_nine(window, q, size, weight, w1 + v, y1)
                y2 = _add_nine(window, q, size, weight, w2 + v, y2)
            save(y0, rows, k)
            save(y1, rows, size + k)
            save(y2, rows, 2 * size + k)
    for o in range(3 * (n_out % 2), n_out, 2):
        w0, w1 = w + o * n_row, w + (o + 1) * n_row
        for k in range(LANES + start, LANES + end, LANES):
            y0, y1 = spread(weight, w1 - 1), spread(weight, w1 + n_row - 1)
            for c in range(n_out):
                q, v = p + c * plane + k, c * _NINE
                y0 = _add_nine(window, q, size, weight, w0 + v, y0)
                y1 = _add_nine(window, q, size, weight, w1 + v, y1)
            save(y0, rows, o * size + k)
            save(y1, rows, (o + 1) * size + k)


@kernel()
def _convolve_row(
    n_out: int,
    window: F32,
    p: int,
    size: int,
    plane: int,
    weight: F32,
    w: int,
    rows: F32,
    start: int,
    end: int,
) -> None:
    """Set columns ``start`` to ``end`` of a row of all outputs.

    The first of the three rows of inputs begins at place p.
    """
    if n_out == 3:  # a number that the compiler knows is a tenth quicker
        _convolve(3, window, p, size, plane, weight, w, rows, start, end)
    else:
        _convolve(n_out, window, p, size, plane, weight, w, rows, start, end)


@kernel(allocates=True)
def _spatial(
    weights: F32,
    layer: int,
    n_out: int,
    height: int,
    width: int,
    start: int,
    end: int,
    x: F32,
    y: F32,
    side: F32,
    is_last: bool,
) -> None:
    """Evaluate rows of a 3 x 3 layer; the last one adds ``side``, others clear what is negative."""
    size, n = row_size(width), n_out * height * width
    n_window = max(_WINDOW_PIXELS // width, 4)
    window = np.zeros(n_out * (n_window + 2) * size, np.float32)
    rows = np.zeros(n_out * size, np.float32)
    y_at = 0 if is_last else (layer + 1) * n
    w = layer * _n_layer(n_out)
    for chunk in range(start, end, n_window):
        n_rows = min(n_window, end - chunk)
        plane = (n_rows + 2) * size
        _fill_window(x, layer * n, n_out, height, width, chunk - 1, n_rows + 2, True, window)
        for i in range(n_rows):
            _convolve_row(n_out, window, i * size, size, plane, weights, w, rows, 0, width)
            for c in range(n_out):
                place = (c * height + chunk + i) * width
                for k in range(0, width, LANES):
                    p = c * size + LANES + k
                    found = load(rows, p)
                    if is_last:
                        save(plus(found, load(side, place + k)), rows, p)
                    else:
                        save(where_positive(found, found), rows, p)
                copy(rows, c * size + LANES, width, y, y_at + place)


@kernel(allocates=True)
def _spatial_backward(
    turned: F32,
    layer: int,
    n_out: int,
    height: int,
    width: int,
    start: int,
    end: int,
    x: F32,
    d_y: F32,
    is_last: bool,
    d_x: F32,
    sums: F64,
) -> None:
    """Differentiate rows of a 3 x 3 layer: fill those of ``d_x`` and add to ``sums``."""
    size, n = row_size(width), n_out * height * width
    n_window = max(_WINDOW_PIXELS // width, 4)
    window = np.zeros(n_out * (n_window + 2) * size, np.float32)
    d_window = np.zeros(n_out * (n_window + 4) * size, np.float32)
    lanes = np.zeros(_n_layer(n_out) * LANES)
    rows = np.zeros(n_out * size, np.float32)
    total = np.zeros(n_out * size, np.float32)
    w = layer * _n_layer(n_out)
    for chunk in range(start, end, n_window):
        n_rows = min(n_window, end - chunk)
        plane, d_plane = (n_rows + 2) * size, (n_rows + 4) * size
        _fill_window(d_y, 0, n_out, height, width, chunk - 2, n_rows + 4, False, d_window)
        if not is_last:  # inputs of the next layer are results of the ReLU of this one
            _mask_window(x, (layer + 1) * n, n_out, height, width, chunk - 2, n_rows + 4, d_window)
        _fill_window(x, layer * n, n_out, height, width, chunk - 1, n_rows + 2, True, window)
        _add_nines(n_out, window, plane, d_window, d_plane, size, width, n_rows, lanes)
        for i in range(n_rows):
            m = chunk + i
            for k in range(0, n_out * size, LANES):
                save(zeros(), total, k)
            # A row at the border also stands for the one outside, and so does a column.
            for j in range(i - 1 if m == 0 else i, i + 2 if m == height - 1 else i + 1):
                p = (j + 1) * size
                _convolve_row(n_out, d_window, p, size, d_plane, turned, w, rows, -1, width + 1)
                for k in range(0, n_out * size, LANES):
                    save(plus(load(total, k), load(rows, k)), total, k)
            for c in range(n_out):
                row = c * size + LANES
                total[row] += total[row - 1]
                total[row + width - 1] += total[row + width]
                copy(total, row, width, d_x, (c * height + m) * width)
    add_folded(lanes, sums)


@kernel()
def _mask_window(
    y: F32, at: int, n_out: int, height: int, width: int, start: int, n_rows: int, window: F32
) -> None:
    """Clear derivatives where the result y of a ReLU is zero."""
    size = row_size(width)
    for c in range(n_out):
        for i in range(n_rows):
            m, row = start + i, (c * n_rows + i) * size + LANES
            if 0 <= m < height:
                place = at + (c * height + m) * width
                for k in range(0, width, LANES):
                    kept = where_positive(load(y, place + k), load(window, row + k))
                    save(first(kept, width - k), window, row + k)


@kernel()
def _add_nines(
    n_out: int,
    window: F32,
    plane: int,
    d_window: F32,
    d_plane: int,
    size: int,
    width: int,
    n_rows: int,
    lanes: F64,
) -> None:
    """Add the derivatives by the weights and biases of a 3 x 3 layer."""
    for o in range(n_out):
        place = o * _n_row(n_out) * LANES
        bias = zeros()
        for c in range(n_out):
            a0 = a1 = a2 = b0 = b1 = b2 = c0 = c1 = c2 = zeros()
            for i in range(n_rows):
                p, q = c * plane + i * size, o * d_plane + (i + 2) * size
                for k in range(LANES, LANES + width, LANES):
                    d = load(d_window, q + k)
                    r = p + k
                    a0, a1 = fma(d, load(window, r - 1), a0), fma(d, load(window, r), a1)
                    a2 = fma(d, load(window, r + 1), a2)
                    r += size
                    b0, b1 = fma(d, load(window, r - 1), b0), fma(d, load(window, r), b1)
                    b2 = fma(d, load(window, r + 1), b2)
                    r += size
                    c0, c1 = fma(d, load(window, r - 1), c0), fma(d, load(window, r), c1)
                    c2 = fma(d, load(window, r + 1), c2)
                    if c == 0:
                        bias = plus(bias, d)
            accumulate(a0, lanes, place)
            accumulate(a1, lanes, place + LANES)
            accumulate(a2, lanes, place + 2 * LANES)
            accumulate(b0, lanes, place + 3 * LANES)
            accumulate(b1, lanes, place + 4 * LANES)
            accumulate(b2, lanes, place + 5 * LANES)
            accumulate(c0, lanes, place + 6 * LANES)
            accumulate(c1, lanes, place + 7 * LANES)
            accumulate(c2, lanes, place + 8 * LANES)
            place += _NINE * LANES
        accumulate(bias, lanes, place)


class SynthesisSweep:
    """Synthesis of a given input, forward and backward.

    Parameters
    ----------
    network : Network
    height, width : int
    workers : Workers

    Attributes
    ----------
    planes : Planes
    """

    def __init__(self, network: Network, height: int, width: int, workers: Workers) -> None:
        self.network, self.workers = network, workers
        self.planes = Planes(network, height, width, workers)
        self._parts = partition(height * width, _LEAST_PIXELS)
        network.make_sums(max(len(self._parts), self.planes.n_parts))

    def forward(self, x: F32) -> F32:
        """Evaluate an input of shape (S, height, width); the result is a buffer that is reused."""
        planes, network = self.planes, self.network

        def work(p: int) -> None:
            layers = (network.sizes, network.pointwise)
            _pointwise(*layers, x.reshape(-1), *self._parts[p], planes.trunk, planes.side)

        self.workers.run(work, len(self._parts))
        planes.forward()
        return planes.raw

    def backward(self, x: F32, d_raw: F32, d_x: F32) -> None:
        """Fill ``d_x`` and the sums of the network."""
        planes, network = self.planes, self.network
        network.sums[:] = 0.0
        d_trunk = planes.backward(d_raw)

        def work(p: int) -> None:
            _pointwise_backward(
                network.sizes,
                network.pointwise,
                x.reshape(-1),
                *self._parts[p],
                d_trunk,
                d_raw.reshape(-1),
                d_x.reshape(-1),
                network.sums[p, : network.spatial_sums],
            )

        self.workers.run(work, len(self._parts))


@kernel(allocates=True)
def _pointwise(
    sizes: Sizes, layers: Pointwise, x: F32, start: int, end: int, trunk: F32, side: F32
) -> None:
    """Evaluate the 1 x 1 layers for some pixels."""
    plane = x.size // sizes.n_inputs
    scratch = make_scratch(sizes, _BLOCK)
    for at in range(start, end, _BLOCK):
        n = min(_BLOCK, end - at)
        for c in range(sizes.n_inputs):
            copy(x, c * plane + at, n, scratch.x, c * _BLOCK)
        pointwise_forward(sizes, layers, scratch, _BLOCK, n, trunk, side, at, plane)


@kernel(allocates=True)
def _pointwise_backward(
    sizes: Sizes,
    layers: Pointwise,
    x: F32,
    start: int,
    end: int,
    d_trunk: F32,
    d_side: F32,
    d_x: F32,
    sums: F64,
) -> None:
    """Differentiate the 1 x 1 layers for some pixels."""
    plane = x.size // sizes.n_inputs
    scratch = make_scratch(sizes, _BLOCK)
    lanes = np.zeros(sums.size * LANES)
    for at in range(start, end, _BLOCK):
        n = min(_BLOCK, end - at)
        for c in range(sizes.n_inputs):
            copy(x, c * plane + at, n, scratch.x, c * _BLOCK)
        pointwise_backward(sizes, layers, scratch, _BLOCK, n, d_trunk, d_side, at, plane, lanes)
        for c in range(sizes.n_inputs):
            copy(scratch.d_x, c * _BLOCK, n, d_x, c * plane + at)
    add_folded(lanes, sums)
