# SPDX-License-Identifier: BSD-3-Clause
"""The ARM on blocks of symbols: bits, and derivatives in the same sweep (training, section 3.3).

Model (training, section 2.4), with c the context of a symbol: x = c; x <- relu(W x + b + x) for
every hidden layer; o = Wo x + bo + Ws c + bs; mu = o[0], ln scale = clamp(o[1] - 4, -5, 5).

Columns are symbols, in blocks whose activations stay in the cache; a block is evaluated, then
differentiated at once. Arithmetic is float32 inside a block; sums over blocks are float64.

L is the number of hidden layers, D the width, P the width padded to a multiple of 4.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from numchic_bitstream.arrays import F32, F64
from numchic_bitstream.kernels import kernel
from numchic_trainer.kernels.lanes import LANES, accumulate, load, plus, zeros
from numchic_trainer.kernels.laplace import laplace
from numchic_trainer.kernels.products import (
    COLUMNS,
    LINEAR,
    MASK,
    RELU,
    ROWS,
    add_outer,
    folded,
    multiply,
)
from numchic_trainer.kernels.rows import copy_row

BLOCK = 512  # symbols of a block
STRIDE = BLOCK + LANES  # rows a power of two apart would fight for the same lines of the cache
_OUTPUTS = 4  # two, padded

_ZERO, _ONE = np.float32(0.0), np.float32(1.0)
_SCALE_OFFSET = np.float32(4.0)


class Shape(NamedTuple):
    """What an ARM is made of.

    ``n_hidden`` L, ``width`` D, whether there is a ``stabiliser``, and whether the output layer is
    residual too (``fold``), which only makes sense if D is 2.
    """

    n_hidden: int
    width: int
    stabiliser: bool
    fold: bool


class Arm(NamedTuple):
    """Parameters, arranged for products: rows are padded with zeros, and end with a bias.

    ``hidden`` float32[L, P, D + 1] with the identity added; ``output`` float32[4, K + 1] gives the
    outputs, offset included, from the last hidden layer and the context below it. ``top``
    float32[P, 3], ``backward`` float32[L, P, D + 1] and ``context`` float32[P, Q + 1] give
    derivatives: by the last hidden layer from those by the outputs, by the other ones from those by
    the next layer, and by the context from those by the first hidden layer and the outputs below.
    K is P + D and Q is P + 2, but D and 2 without hidden layers.
    """

    hidden: F32
    output: F32
    top: F32
    backward: F32
    context: F32


class Sums(NamedTuple):
    """Sums over columns, in 16 parts each: derivatives by the parameters, and the bits.

    ``hidden`` float64[L, P * P, 16], ``hidden_bias`` float64[L, P, 16], ``output`` float64[4 * R,
    16] with R the rows of hidden layer and context, ``output_bias`` float64[4, 16], ``bits``
    float64[1, 16].
    """

    hidden: F64
    hidden_bias: F64
    output: F64
    output_bias: F64
    bits: F64


class Block(NamedTuple):
    """Memory of one block of at most 512 columns, in rows of 528.

    ``x`` float32[(L + 1) P, 528]: outputs of the hidden layers, first to last, then the contexts;
    ``out`` float32[4, 528]; ``symbols`` and ``bits`` float32[1, 528]; ``g`` float32[L P + 4, 528]:
    derivatives by the outputs of the hidden layers, last to first, then by the two outputs;
    ``d_context`` float32[P, 528].
    """

    x: F32
    out: F32
    symbols: F32
    bits: F32
    g: F32
    d_context: F32


@kernel(inline=True)
def n_rows(shape: Shape) -> int:
    """Width, padded."""
    return (shape.width + ROWS - 1) // ROWS * ROWS


@kernel(allocates=True)
def make_arm(shape: Shape) -> Arm:
    """Memory for parameters, zero."""
    n_hidden, width, rows = shape.n_hidden, shape.width, n_rows(shape)
    above = rows if n_hidden > 0 else 0
    return Arm(
        np.zeros((n_hidden, rows, width + 1), np.float32),
        np.zeros((_OUTPUTS, above + width + 1), np.float32),
        np.zeros((rows, 3), np.float32),
        np.zeros((n_hidden, rows, width + 1), np.float32),
        np.zeros((rows, above + 3), np.float32),
    )


@kernel(allocates=True)
def make_sums(shape: Shape) -> Sums:
    """Sums, zero."""
    rows = n_rows(shape)
    both = 2 * rows if shape.n_hidden > 0 else rows
    return Sums(
        np.zeros((shape.n_hidden, rows * rows, LANES)),
        np.zeros((shape.n_hidden, rows, LANES)),
        np.zeros((_OUTPUTS * both, LANES)),
        np.zeros((_OUTPUTS, LANES)),
        np.zeros((1, LANES)),
    )


@kernel(allocates=True)
def make_block(shape: Shape) -> Block:
    """Memory of a block; zeros, so that what is never written is finite."""
    rows = n_rows(shape)
    return Block(
        np.zeros(((shape.n_hidden + 1) * rows, STRIDE), np.float32),
        np.zeros((_OUTPUTS, STRIDE), np.float32),
        np.zeros((1, STRIDE), np.float32),
        np.zeros((1, STRIDE), np.float32),
        np.zeros((shape.n_hidden * rows + _OUTPUTS, STRIDE), np.float32),
        np.zeros((rows, STRIDE), np.float32),
    )


@kernel()
def n_parameters(shape: Shape) -> int:
    """Number of weights and biases."""
    width = shape.width
    outputs = 2 if shape.stabiliser else 1
    return shape.n_hidden * width * (width + 1) + outputs * 2 * (width + 1)


@kernel()
def pack(shape: Shape, flat: F32, arm: Arm) -> None:
    """Arrange parameters.

    Parameters
    ----------
    shape : Shape
    flat : float32[n_parameters]
        Weight and bias of every hidden layer, of the output layer, of the stabiliser if any.
    arm : Arm
        Result. It is zero or was the result before.
    """
    n_hidden, width = shape.n_hidden, shape.width
    at = 0
    for layer in range(n_hidden):
        for o in range(width):
            for i in range(width):
                value = flat[at + o * width + i] + (_ONE if o == i else _ZERO)
                arm.hidden[layer, o, i] = value
                arm.backward[layer, i, o] = value
                if layer == 0:
                    arm.context[i, o] = value
        at += width * width
        for o in range(width):
            arm.hidden[layer, o, width] = flat[at + o]
        at += width
    below_output, below_g = arm.output.shape[1] - 1 - width, arm.context.shape[1] - 3
    side = at + 2 * (width + 1)
    for o in range(2):
        for i in range(width):
            value = flat[at + o * width + i]
            if shape.fold and width == 2 and o == i:
                value += _ONE
            across = flat[side + o * width + i] if shape.stabiliser else _ZERO
            if n_hidden > 0:
                arm.output[o, i], arm.top[i, o] = value, value
            else:
                across += value
            arm.output[o, below_output + i] = across
            arm.context[i, below_g + o] = across
        bias = flat[at + 2 * width + o]
        if shape.stabiliser:
            bias += flat[side + 2 * width + o]
        arm.output[o, below_output + width] = bias - (_SCALE_OFFSET if o == 1 else _ZERO)


@kernel()
def unpack(shape: Shape, sums: Sums, flat: F64) -> None:
    """Set the derivatives by all parameters, in the order of :func:`pack`."""
    n_hidden, width = shape.n_hidden, shape.width
    rows = n_rows(shape)
    at = 0
    for layer in range(n_hidden):
        for o in range(width):
            for i in range(width):
                flat[at + o * width + i] = folded(sums.hidden[layer, o * rows + i], 0)
            flat[at + width * width + o] = folded(sums.hidden_bias[layer, o], 0)
        at += width * (width + 1)
    both = sums.output.shape[0] // _OUTPUTS
    for part in range(2 if shape.stabiliser else 1):
        first = both - rows if part == 1 else 0
        for o in range(2):
            for i in range(width):
                flat[at + o * width + i] = folded(sums.output[o * both + first + i], 0)
            flat[at + 2 * width + o] = folded(sums.output_bias[o], 0)
        at += 2 * (width + 1)


@kernel(inline=True)
def bottom(shape: Shape) -> int:
    """Row of ``Block.x`` where the contexts begin, and of ``Block.g`` where the slopes do."""
    return shape.n_hidden * n_rows(shape)


@kernel(inline=True)
def _multiply(weight: F32, x: F32, n: int, y: F32, form: int, mask: F32) -> None:
    """Set y to ``weight`` float32[O, I + 1] times n columns of x; see :func:`multiply`."""
    multiply(
        weight.reshape(-1),
        weight.shape[0],
        weight.shape[1] - 1,
        x.reshape(-1),
        0,
        STRIDE,
        y.reshape(-1),
        STRIDE,
        n,
        form,
        mask.reshape(-1),
    )


@kernel(inline=True)
def _add_outer(g: F32, x: F32, n: int, sums: F64) -> None:
    """Add products of rows of g and rows of x to ``sums`` float64[rows of g * rows of x, 16]."""
    rows = x.shape[0]
    add_outer(
        g.reshape(-1), STRIDE, g.shape[0], x.reshape(-1), 0, STRIDE, rows, n, sums.reshape(-1), 0
    )


@kernel()
def _add_rows(g: F32, n: int, sums: F64) -> None:
    """Add the sums of rows of g to ``sums`` float64[rows, 16]; four are independent of another."""
    for o in range(0, g.shape[0], ROWS):
        a = b = c = d = zeros()
        for k in range(0, n, LANES):
            a, b = plus(a, load(g[o], k)), plus(b, load(g[o + 1], k))
            c, d = plus(c, load(g[o + 2], k)), plus(d, load(g[o + 3], k))
        accumulate(a, sums[o], 0)
        accumulate(b, sums[o + 1], 0)
        accumulate(c, sums[o + 2], 0)
        accumulate(d, sums[o + 3], 0)


@kernel()
def evaluate(shape: Shape, arm: Arm, n: int, scale: np.float32, block: Block) -> None:
    """Bits of n symbols, whose contexts and values are in the block.

    They are put into ``block.bits``, mu and ln scale into ``block.out``, and ``scale`` times the
    derivatives by these into the last rows of ``block.g``.
    """
    n_hidden, rows = shape.n_hidden, n_rows(shape)
    source = block.x[bottom(shape) :]
    for layer in range(n_hidden):
        target = block.x[layer * rows : (layer + 1) * rows]
        _multiply(arm.hidden[layer], source, n, target, RELU, target)
        source = target
    last = block.x[max(n_hidden - 1, 0) * rows :]
    _multiply(arm.output, last, n, block.out, LINEAR, block.out)
    slope = block.g[bottom(shape) :]
    laplace(block.out, block.symbols[0], n, scale, block.bits[0], slope)
    end = (n + COLUMNS - 1) // COLUMNS * COLUMNS
    blank(block.bits[0], slope, n, end)


@kernel()
def blank(bits: F32, slope: F32, start: int, end: int) -> None:
    """Let columns count nothing."""
    for k in range(start, end):
        bits[k] = _ZERO
        slope[0, k] = _ZERO
        slope[1, k] = _ZERO


@kernel()
def add_bits(n: int, block: Block, sums: Sums) -> None:
    """Add the bits of the block."""
    for k in range(0, n, LANES):
        accumulate(load(block.bits[0], k), sums.bits[0], 0)


@kernel()
def add_weights(shape: Shape, n: int, block: Block, sums: Sums) -> None:
    """Add the derivatives by the parameters, for a block that was differentiated."""
    n_hidden, rows = shape.n_hidden, n_rows(shape)
    source = block.x[bottom(shape) :]
    for layer in range(n_hidden):
        first = (n_hidden - 1 - layer) * rows
        g = block.g[first : first + rows]
        _add_outer(g, source, n, sums.hidden[layer])
        _add_rows(g, n, sums.hidden_bias[layer])
        source = block.x[layer * rows : (layer + 1) * rows]
    slope = block.g[bottom(shape) :]
    _add_outer(slope, block.x[max(n_hidden - 1, 0) * rows :], n, sums.output)
    _add_rows(slope, n, sums.output_bias)


@kernel()
def differentiate(shape: Shape, arm: Arm, n: int, block: Block) -> None:
    """Derivatives by the outputs of the hidden layers, in ``block.g``."""
    n_hidden, rows = shape.n_hidden, n_rows(shape)
    slope = block.g[bottom(shape) :]
    if n_hidden > 0:
        x = block.x[(n_hidden - 1) * rows : n_hidden * rows]
        _multiply(arm.top, slope, n, block.g[:rows], MASK, x)
    for layer in range(n_hidden - 1, 0, -1):
        first = (n_hidden - 1 - layer) * rows
        g, below = block.g[first : first + rows], block.g[first + rows : first + 2 * rows]
        x = block.x[(layer - 1) * rows : layer * rows]
        _multiply(arm.backward[layer], g, n, below, MASK, x)


@kernel()
def differentiate_contexts(shape: Shape, arm: Arm, n: int, block: Block) -> None:
    """Derivatives by the contexts, in ``block.d_context``, after those by the hidden layers."""
    g = block.g[max(shape.n_hidden - 1, 0) * n_rows(shape) :]
    _multiply(arm.context, g, n, block.d_context, LINEAR, block.d_context)


@kernel(allocates=True)
def sweep_contexts(
    shape: Shape,
    arm: Arm,
    context: F32,
    symbols: F32,
    for_weights: bool,
    sums: Sums,
    d_context: F32,
    d_symbols: F32,
) -> None:
    """Evaluate symbols with given contexts, and differentiate them.

    Parameters
    ----------
    shape : Shape
    arm : Arm
    context : float32[D, N]
    symbols : float32[N]
    for_weights : bool
        Whether derivatives by the weights are wanted.
    sums : Sums
        Those and the bits are added to it.
    d_context : float32[D, N] or float32[0, 0]
    d_symbols : float32[N] or float32[0]
    """
    block = make_block(shape)
    first = bottom(shape)
    for_context = d_context.size > 0
    for start in range(0, symbols.size, BLOCK):
        n = min(BLOCK, symbols.size - start)
        end = start + n
        for i in range(shape.width):
            copy_row(context[i, start:end], block.x[first + i, :n])
        copy_row(symbols[start:end], block.symbols[0, :n])
        evaluate(shape, arm, n, _ONE, block)
        add_bits(n, block, sums)
        by_mean = block.g[first]
        for k in range(min(n, d_symbols.size)):
            d_symbols[start + k] = -by_mean[k]
        if for_weights or for_context:
            differentiate(shape, arm, n, block)
        if for_weights:
            add_weights(shape, n, block, sums)
        if for_context:
            differentiate_contexts(shape, arm, n, block)
            for i in range(shape.width):
                copy_row(block.d_context[i, :n], d_context[i, start:end])
