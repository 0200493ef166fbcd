# SPDX-License-Identifier: BSD-3-Clause
"""Bits of the latents under the ARM, and their gradient in the same sweep (training, section 3.3).

Model (training, section 2.4), with c the context of a symbol: x = c; x <- relu(W x + b + x) for
every hidden layer; o = Wo x + bo + Ws c + bs; mu = o[0], ln scale = clamp(o[1] - 4, -5, 5).

Columns are symbols. They are taken in blocks whose activations stay in the cache; a block is
evaluated, then differentiated at once, so that backward only multiplies by a scalar. Arithmetic is
float32 inside a block; sums over blocks are float64. Everything is in a fixed order.

Exponential and logarithm are polynomials (relative errors 1.2e-7 and 2.4e-7), since Numba does not
vectorise those of the mathematical library. Good for training only: decoders use integer tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from numchic_bitstream._jit import kernel

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Layer = tuple[Tensor, Tensor]

_BLOCK = 512  # columns of a block
_STRIPS = 4  # a row of a block is also seen as 4 strips of 128 columns ...
_STRIP = 128
_LANES = 16  # ... and sums over columns are kept in 16 parts until the end
_PARTS = 8  # _STRIP / _LANES
_SCALE_OFFSET = 4.0

_ZERO, _HALF, _ONE = np.float32(0.0), np.float32(0.5), np.float32(1.0)
_NAN = np.float32(np.nan)
_MAX_LOG_SCALE = np.float32(5.0)
_MIN_PROBABILITY = np.float32(2.0**-16)
_FAR = np.float32(65536.0)  # from here on a probability is at its floor
_MIN_EXPONENT = np.float32(-87.0)  # exp() of it is still a normal number
_LOG2_E = np.float32(np.log2(np.e))
_SQRT2 = np.float32(np.sqrt(2.0))
_LN2_HIGH = np.float32(0.693359375)  # few bits: times a small integer it is exact
_LN2_LOW = np.float32(np.log(2.0) - 0.693359375)
_ROUND = np.float32(1.5 * 2.0**23)  # adding it rounds to an integer, found in the low bits
_E2, _E3, _E4 = np.float32(1 / 2), np.float32(1 / 6), np.float32(1 / 24)
_E5, _E6, _E7 = np.float32(1 / 120), np.float32(1 / 720), np.float32(1 / 5040)
_L1 = np.float32(2.0 / np.log(2.0))
_L3, _L5, _L7, _L9 = np.float32(1 / 3), np.float32(1 / 5), np.float32(1 / 7), np.float32(1 / 9)


class _Parameters(NamedTuple):
    """Parameters of the ARM; P is the width, padded with zeros to a multiple of 4.

    ``hidden`` float32[L, P, P] with the identity added, ``transposed`` its transposes,
    ``hidden_bias`` float32[L, P], ``output`` float32[2, P], ``stabiliser`` float32[2, P] (zero if
    there is none), ``output_bias`` float32[2] (all constants of the two outputs).
    """

    hidden: F32
    transposed: F32
    hidden_bias: F32
    output: F32
    stabiliser: F32
    output_bias: F32


class _Sums(NamedTuple):
    """Derivatives of the total by the parameters, float64, each in ``_LANES`` parts.

    ``hidden`` float64[L, P, P, 16], ``hidden_bias`` float64[L, P, 16], ``output`` and
    ``stabiliser`` float64[2, P, 16], ``output_bias`` float64[2, 16].
    """

    hidden: F64
    hidden_bias: F64
    output: F64
    stabiliser: F64
    output_bias: F64


class _Scratch(NamedTuple):
    """Memory of one block of B columns.

    ``x`` float32[L + 1, P, B]: context and outputs of the hidden layers; ``out`` float32[2, B]: the
    two outputs; ``symbols`` and ``bits`` float32[1, B]; ``slope`` float32[2, B]: derivatives of the
    bits by the two outputs; ``g`` float32[2, P, B]: derivatives by activations; ``tile``
    float32[2, P, 128].
    """

    x: F32
    out: F32
    symbols: F32
    bits: F32
    slope: F32
    g: F32
    tile: F32


class ArmBits(NamedTuple):
    """Bits and distribution of every symbol, float32, shape (N,) each."""

    bits: Tensor
    mu: Tensor
    scale: Tensor


def arm_rate(
    context: Tensor,
    symbols: Tensor,
    hidden: Sequence[Layer],
    output: Layer,
    stabiliser: Layer | None,
    fold_output_identity: bool = False,
) -> Tensor:
    """Bits of all symbols, differentiable once by every tensor (training, section 3.3).

    Parameters
    ----------
    context : Tensor, float32, shape (D, N)
        Rows are context values, columns symbols.
    symbols : Tensor, float32, shape (N,)
        Quantised latents, integer or soft.
    hidden : sequence of (Tensor, Tensor), float32, shapes (D, D) and (D,)
        Weight and bias of the residual layers.
    output, stabiliser : (Tensor, Tensor), float32, shapes (2, D) and (2,)
        Weight and bias; the stabiliser may be None.
    fold_output_identity : bool
        Make the output layer residual too if D is 2.

    Returns
    -------
    Tensor, float32, shape ()

    Notes
    -----
    A symbol has at most 16 bits; one that does gives no gradient. A clamped scale gives none to
    its output. NaN in mu, scale or a symbol makes the total NaN.
    """
    layers = [*hidden, output] if stabiliser is None else [*hidden, output, stabiliser]
    tensors = [context, symbols, *(tensor for layer in layers for tensor in layer)]
    _check(tensors)
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        total = _ArmRate.apply(len(hidden), fold_output_identity, *tensors)  # type: ignore[no-untyped-call]
        return cast("Tensor", total)
    parameters = _pack(len(hidden), fold_output_identity, tensors[2:])
    return torch.tensor(
        _evaluate(parameters, _array(context), _array(symbols), np.empty((3, 0), np.float32)),
        dtype=torch.float32,
    )


def arm_bits(
    context: Tensor,
    symbols: Tensor,
    hidden: Sequence[Layer],
    output: Layer,
    stabiliser: Layer | None,
    fold_output_identity: bool = False,
) -> ArmBits:
    """Bits, mu and scale of every symbol, without gradient; arguments as for :func:`arm_rate`.

    Returns
    -------
    ArmBits
    """
    layers = [*hidden, output] if stabiliser is None else [*hidden, output, stabiliser]
    tensors = [context, symbols, *(tensor for layer in layers for tensor in layer)]
    _check(tensors)
    parameters = _pack(len(hidden), fold_output_identity, tensors[2:])
    rows = np.empty((3, symbols.numel()), np.float32)
    _evaluate(parameters, _array(context), _array(symbols), rows)
    bits, mu, scale = torch.from_numpy(rows)
    return ArmBits(bits, mu, scale)


class _ArmRate(torch.autograd.Function):
    """Value and gradients in forward; backward scales them."""

    @staticmethod
    def forward(ctx: Any, n_hidden: int, fold: bool, *tensors: Tensor) -> Tensor:
        """Arguments: number of hidden layers, flag, context, symbols, weights and biases."""
        needs = ctx.needs_input_grad[2:]
        total, gradients = _differentiate(n_hidden, fold, tensors, needs[0], any(needs[2:]))
        ctx.needs = needs
        ctx.save_for_backward(*(g for g, need in zip(gradients, needs, strict=True) if need))
        return torch.tensor(total, dtype=torch.float32)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, incoming: Tensor) -> tuple[Tensor | None, ...]:
        """Multiply all gradients by the incoming scalar."""
        saved = iter(ctx.saved_tensors)
        return (None, None, *(next(saved) * incoming if need else None for need in ctx.needs))


def _check(tensors: Sequence[Tensor]) -> None:
    width, n = tensors[0].shape
    if any(tensor.dtype != torch.float32 for tensor in tensors):
        raise TypeError("the rate is computed from float32 tensors")
    if tensors[1].shape != (n,) or any(tensor.shape[-1] != width for tensor in tensors[2::2]):
        raise ValueError("sizes of context, symbols and weights do not match")


def _array(tensor: Tensor) -> F32:
    array: F32 = tensor.detach().contiguous().numpy()
    return array


def _pack(n_hidden: int, fold: bool, tensors: Sequence[Tensor]) -> _Parameters:
    """Pad weights and biases, given layer by layer, and add identities and constants."""
    weights = [_array(tensor) for tensor in tensors[::2]]
    biases = [_array(tensor) for tensor in tensors[1::2]]
    width = weights[n_hidden].shape[1]
    padded = width + -width % 4
    hidden = np.zeros((n_hidden, padded, padded), np.float32)
    hidden_bias = np.zeros((n_hidden, padded), np.float32)
    for i in range(n_hidden):
        hidden[i, :width, :width] = weights[i] + np.eye(width, dtype=np.float32)
        hidden_bias[i, :width] = biases[i]
    direct = np.zeros((2, 2, padded), np.float32)  # output layer, stabiliser
    for i, weight in enumerate(weights[n_hidden:]):
        direct[i, :, :width] = weight
    if fold and width == 2:
        direct[0, :, :2] += np.eye(2, dtype=np.float32)
    constants = np.sum([*biases[n_hidden:], np.array([0.0, -_SCALE_OFFSET])], axis=0)
    transposed = np.ascontiguousarray(hidden.transpose(0, 2, 1))
    return _Parameters(
        hidden, transposed, hidden_bias, direct[0], direct[1], constants.astype(np.float32)
    )


def _differentiate(
    n_hidden: int, fold: bool, tensors: Sequence[Tensor], for_context: bool, for_weights: bool
) -> tuple[float, list[Tensor]]:
    """Total and its derivative by every tensor; those not asked for are undefined."""
    context, symbols = _array(tensors[0]), _array(tensors[1])
    parameters = _pack(n_hidden, fold, tensors[2:])
    padded = parameters.output.shape[1]
    sums = _Sums(
        np.zeros((n_hidden, padded, padded, _LANES)),
        np.zeros((n_hidden, padded, _LANES)),
        np.zeros((2, padded, _LANES)),
        np.zeros((2, padded, _LANES)),
        np.zeros((2, _LANES)),
    )
    d_context = torch.empty(context.shape if for_context else (0, 0))
    d_symbols = torch.empty(symbols.shape)
    total = _evaluate_and_differentiate(
        parameters, context, symbols, for_weights, sums, d_context.numpy(), d_symbols.numpy()
    )
    return total, [d_context, d_symbols, *_unpack(sums, tensors)]


def _unpack(sums: _Sums, tensors: Sequence[Tensor]) -> list[Tensor]:
    """Derivatives by weights and biases in the order of ``tensors``, which has context and symbols.

    Output layer and stabiliser have the same bias gradient.
    """
    width = tensors[0].shape[0]
    whole = [torch.from_numpy(part.sum(-1).astype(np.float32)) for part in sums]
    hidden, hidden_bias, output, stabiliser, output_bias = whole
    gradients: list[Tensor] = []
    for i in range(hidden.shape[0]):
        gradients += [hidden[i, :width, :width], hidden_bias[i, :width]]
    gradients += [output[:, :width], output_bias, stabiliser[:, :width], output_bias]
    return gradients[: len(tensors) - 2]


@kernel(inline=True)
def _exp_parts(x: np.float32) -> tuple[np.float32, np.float32]:
    """Return s = 2^n and q = exp(r) - 1 with exp(x) = s (1 + q), -87 <= x <= 87.

    Numba makes int64 of every integer operation; the casts bring it back.
    """
    shifted = np.float32(x * _LOG2_E + _ROUND)
    n = shifted - _ROUND
    r = x - n * _LN2_HIGH - n * _LN2_LOW
    q = _E7 * r + _E6
    q = q * r + _E5
    q = q * r + _E4
    q = q * r + _E3
    q = q * r + _E2
    q = (q * r + _ONE) * r
    low = np.int64(shifted.view(np.int32)) & 0x1FF
    s = np.int32(((low + 127) & 0xFF) << 23).view(np.float32)
    return s, q


@kernel(inline=True)
def _exp(x: np.float32) -> tuple[np.float32, np.float32]:
    """Return exp(x) and 1 - exp(x), neither with cancellation, x <= 87."""
    s, q = _exp_parts(x if x > _MIN_EXPONENT else _MIN_EXPONENT)
    return s * q + s, (_ONE - s) - s * q


@kernel(inline=True)
def _log2(x: np.float32) -> np.float32:
    """Logarithm of a positive normal number."""
    bits = np.int64(np.float32(x).view(np.int32))
    m = np.int32((bits & 0x7FFFFF) | 0x3F800000).view(np.float32)
    n = np.float32(np.int32(bits >> 23) - 127)
    large = m > _SQRT2
    n = n + _ONE if large else n
    m = m * _HALF if large else m
    s = (m - _ONE) / (m + _ONE)
    z = s * s
    q = _L9 * z + _L7
    q = q * z + _L5
    q = q * z + _L3
    q = q * z + _ONE
    return n + s * q * _L1


@kernel()
def _rate(out: F32, symbols: F32, n: int, bits: F32, slope: F32) -> None:
    """Bits of a block and their derivatives by the two outputs (training, section 3.3).

    With u = (d - 1/2) / b, v = (d + 1/2) / b and A = exp(-|u|) the closed form of the text is
    evaluated without differences of nearly equal numbers, also for large scales b:
    if d >= 1/2, E = 1 - exp(-1/b): A - B = A E and p = A E / 2;
    else: p = ((1 - A) + (1 - B)) / 2.

    Parameters
    ----------
    out : float32[2, B]
        mu and ln b before its clamp.
    symbols : float32[1, B]
    n : int
        Columns after the first n count nothing.
    bits : float32[1, B]
        Result.
    slope : float32[2, B]
        Result.
    """
    mean, log_scale, latent = out[0], out[1], symbols[0]
    value, by_mean, by_scale = bits[0], slope[0], slope[1]
    for k in range(_BLOCK):
        raw = log_scale[k]
        low = raw if raw > -_MAX_LOG_SCALE else -_MAX_LOG_SCALE
        clamped = low if low < _MAX_LOG_SCALE else _MAX_LOG_SCALE
        inverse, _ = _exp(-clamped)
        signed = latent[k] - mean[k]
        d = signed if signed > _ZERO else -signed
        d = d if d < _FAR else _FAR
        u, v = (d - _HALF) * inverse, (d + _HALF) * inverse
        tail = d >= _HALF
        a, not_a = _exp(-u if tail else u)
        b, not_b = _exp(-(inverse if tail else v))  # in the tail this is E
        total = a * not_b if tail else not_a + not_b  # 2 p
        near = a - b if a < _HALF else not_b - not_a
        difference = total if tail else near  # A - B
        dp_dscale = a * (not_b * v - inverse) if tail else a * u - b * v  # 2 dp/dln b
        p = total * _HALF
        counts = p > _MIN_PROBABILITY
        p = p if counts else _MIN_PROBABILITY
        value[k] = _NAN if np.isnan(signed) | np.isnan(raw) else -_log2(p)
        factor = (-_HALF * _HALF * _L1 if counts else _ZERO) / p  # -1 / (2 p ln 2)
        inside = factor if raw == clamped else _ZERO
        steep = difference * inverse * factor  # for d = 0 the difference is exactly 0
        by_mean[k] = steep if signed > _ZERO else -steep
        by_scale[k] = dp_dscale * inside
    for k in range(n, _BLOCK):
        value[k] = _ZERO
        by_mean[k] = _ZERO
        by_scale[k] = _ZERO


@kernel()
def _add_product(weight: F32, x: F32, y: F32) -> None:
    """Y += weight @ x; both sizes of weight are multiples of 4.

    Four rows times four columns at a time keep sixteen weights in registers for one pass over the
    symbols, against one load and store of y per row and four of x.
    """
    for o in range(0, weight.shape[0], 4):
        for i in range(0, weight.shape[1], 4):
            a0, a1, a2, a3 = weight[o, i], weight[o, i + 1], weight[o, i + 2], weight[o, i + 3]
            p = o + 1
            b0, b1, b2, b3 = weight[p, i], weight[p, i + 1], weight[p, i + 2], weight[p, i + 3]
            p = o + 2
            c0, c1, c2, c3 = weight[p, i], weight[p, i + 1], weight[p, i + 2], weight[p, i + 3]
            p = o + 3
            d0, d1, d2, d3 = weight[p, i], weight[p, i + 1], weight[p, i + 2], weight[p, i + 3]
            for k in range(_BLOCK):
                x0, x1, x2, x3 = x[i, k], x[i + 1, k], x[i + 2, k], x[i + 3, k]
                y[o, k] += a0 * x0 + a1 * x1 + a2 * x2 + a3 * x3
                y[o + 1, k] += b0 * x0 + b1 * x1 + b2 * x2 + b3 * x3
                y[o + 2, k] += c0 * x0 + c1 * x1 + c2 * x2 + c3 * x3
                y[o + 3, k] += d0 * x0 + d1 * x1 + d2 * x2 + d3 * x3


@kernel()
def _add_to_outputs(weight: F32, x: F32, y: F32) -> None:
    """Y += weight @ x for the two rows of float32[2, P]."""
    y0, y1 = y[0], y[1]
    for i in range(0, weight.shape[1], 4):
        a0, a1, a2, a3 = weight[0, i], weight[0, i + 1], weight[0, i + 2], weight[0, i + 3]
        b0, b1, b2, b3 = weight[1, i], weight[1, i + 1], weight[1, i + 2], weight[1, i + 3]
        x0, x1, x2, x3 = x[i], x[i + 1], x[i + 2], x[i + 3]
        for k in range(_BLOCK):
            y0[k] += a0 * x0[k] + a1 * x1[k] + a2 * x2[k] + a3 * x3[k]
            y1[k] += b0 * x0[k] + b1 * x1[k] + b2 * x2[k] + b3 * x3[k]


@kernel()
def _add_from_outputs(weight: F32, slope: F32, g: F32) -> None:
    """G += weight.T @ slope for the two rows of float32[2, P]."""
    slope0, slope1 = slope[0], slope[1]
    for i in range(weight.shape[1]):
        a, b, row = weight[0, i], weight[1, i], g[i]
        for k in range(_BLOCK):
            row[k] += a * slope0[k] + b * slope1[k]


@kernel()
def _add_outer(g: F32, x: F32, tile: F32, sums: F64) -> None:
    """Sums[o, i] += sum over columns of g[o] * x[i], in ``_LANES`` parts.

    Two rows times two rows: four strips of columns are multiplied and added side by side (a sum
    along a row could not be vectorised), later folded to the parts.

    Parameters
    ----------
    g, x : float32[even, B]
    tile : float32[2, rows of x, 128]
        Scratch.
    sums : float64[rows of g, rows of x, 16]
    """
    gs = g.reshape(g.shape[0], _STRIPS, _STRIP)
    xs = x.reshape(x.shape[0], _STRIPS, _STRIP)
    folded = tile.reshape(2, tile.shape[1], _PARTS, _LANES)
    for o in range(0, g.shape[0], 2):
        g0, g1 = gs[o], gs[o + 1]
        for i in range(0, x.shape[0], 2):
            x0, x1 = xs[i], xs[i + 1]
            t0, t1, t2, t3 = tile[0, i], tile[0, i + 1], tile[1, i], tile[1, i + 1]
            for k in range(_STRIP):
                p0, p1, p2, p3 = g0[0, k], g0[1, k], g0[2, k], g0[3, k]
                q0, q1, q2, q3 = g1[0, k], g1[1, k], g1[2, k], g1[3, k]
                u0, u1, u2, u3 = x0[0, k], x0[1, k], x0[2, k], x0[3, k]
                v0, v1, v2, v3 = x1[0, k], x1[1, k], x1[2, k], x1[3, k]
                t0[k] = p0 * u0 + p1 * u1 + p2 * u2 + p3 * u3
                t1[k] = p0 * v0 + p1 * v1 + p2 * v2 + p3 * v3
                t2[k] = q0 * u0 + q1 * u1 + q2 * u2 + q3 * u3
                t3[k] = q0 * v0 + q1 * v1 + q2 * v2 + q3 * v3
        _fold(folded[0], sums[o])
        _fold(folded[1], sums[o + 1])


@kernel()
def _add_rows(g: F32, tile: F32, sums: F64) -> None:
    """Sums[o] += sum over the columns of g[o], in ``_LANES`` parts; ``tile`` as above."""
    gs = g.reshape(g.shape[0], _STRIPS, _STRIP)
    for o in range(g.shape[0]):
        row, strip = gs[o], tile[0, o]
        for k in range(_STRIP):
            strip[k] = (row[0, k] + row[1, k]) + (row[2, k] + row[3, k])
    _fold(tile[0].reshape(tile.shape[1], _PARTS, _LANES), sums)


@kernel()
def _fold(strips: F32, sums: F64) -> None:
    """Add float32[>= rows, 8, 16] to the parts float64[rows, 16]."""
    for i in range(sums.shape[0]):
        s, parts = strips[i], sums[i]
        for k in range(_LANES):
            low = (s[0, k] + s[1, k]) + (s[2, k] + s[3, k])
            high = (s[4, k] + s[5, k]) + (s[6, k] + s[7, k])
            parts[k] += np.float64(low + high)


@kernel()
def _fill(y: F32, bias: F32) -> None:
    for o in range(y.shape[0]):
        value, row = bias[o], y[o]
        for k in range(_BLOCK):
            row[k] = value


@kernel()
def _clear(y: F32) -> None:
    for o in range(y.shape[0]):
        row = y[o]
        for k in range(_BLOCK):
            row[k] = _ZERO


@kernel()
def _relu(y: F32) -> None:
    for o in range(y.shape[0]):
        row = y[o]
        for k in range(_BLOCK):
            value = row[k]
            row[k] = value if value > _ZERO else _ZERO


@kernel()
def _relu_backward(y: F32, g: F32) -> None:
    """Clear the derivatives g where the result y of a ReLU is zero."""
    for o in range(y.shape[0]):
        result, row = y[o], g[o]
        for k in range(_BLOCK):
            value = row[k]
            row[k] = value if result[k] > _ZERO else _ZERO


@kernel()
def _copy(source: F32, start: int, n: int, target: F32) -> None:
    """Copy n columns from ``start`` to the front of a block, rows as in the source."""
    for i in range(source.shape[0]):
        row, block = source[i, start : start + n], target[i]
        for k in range(n):
            block[k] = row[k]


@kernel()
def _store(block: F32, start: int, n: int, target: F32) -> None:
    """Copy the first n columns of a block to the columns from ``start``."""
    for i in range(target.shape[0]):
        source, row = block[i], target[i, start : start + n]
        for k in range(n):
            row[k] = source[k]


@kernel()
def _forward(parameters: _Parameters, n: int, scratch: _Scratch) -> None:
    """Evaluate the block whose context and symbols are in the scratch memory."""
    n_hidden = parameters.hidden.shape[0]
    for i in range(n_hidden):
        y = scratch.x[i + 1]
        _fill(y, parameters.hidden_bias[i])
        _add_product(parameters.hidden[i], scratch.x[i], y)
        _relu(y)
    _fill(scratch.out, parameters.output_bias)
    _add_to_outputs(parameters.output, scratch.x[n_hidden], scratch.out)
    _add_to_outputs(parameters.stabiliser, scratch.x[0], scratch.out)
    _rate(scratch.out, scratch.symbols, n, scratch.bits, scratch.slope)


@kernel()
def _backward(
    parameters: _Parameters, for_weights: bool, for_context: bool, scratch: _Scratch, sums: _Sums
) -> int:
    """Differentiate the block evaluated last, adding to ``sums``.

    Returns
    -------
    int
        Which of the two parts of ``scratch.g`` holds the derivatives by the context.
    """
    n_hidden = parameters.hidden.shape[0]
    if for_weights:
        _add_outer(scratch.slope, scratch.x[n_hidden], scratch.tile, sums.output)
        _add_outer(scratch.slope, scratch.x[0], scratch.tile, sums.stabiliser)
        _add_rows(scratch.slope, scratch.tile, sums.output_bias)
    here = 0
    _clear(scratch.g[here])
    _add_from_outputs(parameters.output, scratch.slope, scratch.g[here])
    for i in range(n_hidden - 1, -1, -1):
        g, before = scratch.g[here], scratch.g[1 - here]
        _relu_backward(scratch.x[i + 1], g)
        if for_weights:
            _add_outer(g, scratch.x[i], scratch.tile, sums.hidden[i])
            _add_rows(g, scratch.tile, sums.hidden_bias[i])
        if i > 0 or for_context:
            _clear(before)
            _add_product(parameters.transposed[i], g, before)
        here = 1 - here
    if for_context:
        _add_from_outputs(parameters.stabiliser, scratch.slope, scratch.g[here])
    return here


@kernel()
def _allocate(n_hidden: int, width: int) -> _Scratch:
    """Scratch memory; zeros, so that columns never written are finite."""
    return _Scratch(
        np.zeros((n_hidden + 1, width, _BLOCK), np.float32),
        np.zeros((2, _BLOCK), np.float32),
        np.zeros((1, _BLOCK), np.float32),
        np.zeros((1, _BLOCK), np.float32),
        np.zeros((2, _BLOCK), np.float32),
        np.zeros((2, width, _BLOCK), np.float32),
        np.zeros((2, width, _STRIP), np.float32),
    )


@kernel()
def _evaluate(parameters: _Parameters, context: F32, symbols: F32, rows: F32) -> float:
    """Total bits.

    Parameters
    ----------
    parameters : _Parameters
    context : float32[D, N]
    symbols : float32[N]
    rows : float32[3, N] or float32[3, 0]
        Output: bits, mu and scale of every symbol, if wanted.
    """
    scratch = _allocate(parameters.hidden.shape[0], parameters.output.shape[1])
    latents = symbols.reshape(1, symbols.size)
    total = np.zeros((1, _LANES))
    for start in range(0, symbols.size, _BLOCK):
        n = min(_BLOCK, symbols.size - start)
        _copy(context, start, n, scratch.x[0])
        _copy(latents, start, n, scratch.symbols)
        _forward(parameters, n, scratch)
        _add_rows(scratch.bits, scratch.tile, total)
        if rows.shape[1] > 0:
            _store(scratch.bits, start, n, rows[0:1])
            _store(scratch.out, start, n, rows[1:3])
    for k in range(rows.shape[1]):
        rows[2, k] = np.exp(min(max(rows[2, k], -_MAX_LOG_SCALE), _MAX_LOG_SCALE))
    return float(total.sum())


@kernel()
def _evaluate_and_differentiate(
    parameters: _Parameters,
    context: F32,
    symbols: F32,
    for_weights: bool,
    sums: _Sums,
    d_context: F32,
    d_symbols: F32,
) -> float:
    """Total bits and all derivatives.

    Parameters
    ----------
    parameters : _Parameters
    context : float32[D, N]
    symbols : float32[N]
    for_weights : bool
        Whether ``sums`` is wanted.
    sums : _Sums
        Output, zero before.
    d_context : float32[D, N] or float32[0, 0]
        Output, if wanted.
    d_symbols : float32[N]
        Output.
    """
    scratch = _allocate(parameters.hidden.shape[0], parameters.output.shape[1])
    latents = symbols.reshape(1, symbols.size)
    for_context = d_context.size > 0
    total = np.zeros((1, _LANES))
    for start in range(0, symbols.size, _BLOCK):
        n = min(_BLOCK, symbols.size - start)
        _copy(context, start, n, scratch.x[0])
        _copy(latents, start, n, scratch.symbols)
        _forward(parameters, n, scratch)
        _add_rows(scratch.bits, scratch.tile, total)
        by_mean = scratch.slope[0]
        for k in range(n):
            d_symbols[start + k] = -by_mean[k]
        if for_weights or for_context:
            here = _backward(parameters, for_weights, for_context, scratch, sums)
            if for_context:
                _store(scratch.g[here], start, n, d_context)
    return float(total.sum())
