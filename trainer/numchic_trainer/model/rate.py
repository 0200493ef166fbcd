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
from torch import Tensor
from torch.autograd.function import once_differentiable

from numchic_bitstream.arrays import F32, F64
from numchic_bitstream.kernels import kernel
from numchic_trainer.kernels.blocks import (
    BLOCK,
    LANES,
    STRIP,
    add_outer,
    add_product,
    add_rows,
    clear,
    copy,
    fill,
    padded_size,
    relu,
    relu_backward,
    store,
)
from numchic_trainer.model.arrays import as_array

Layer = tuple[Tensor, Tensor]

_SCALE_OFFSET = 4.0

_ZERO, _HALF, _ONE = np.float32(0.0), np.float32(0.5), np.float32(1.0)
_NAN = np.float32(np.nan)
_MAX_LOG_SCALE = np.float32(5.0)
_MIN_PROBABILITY = np.float32(2.0**-16)
_FAR = np.float32(65536.0)  # from here on a probability is at its floor
_MIN_EXPONENT = np.float32(-87.0)  # exp() of it is still a normal number
_LOG2_E = np.float32(1.0 / np.log(2.0))
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
    """Derivatives of the total by the parameters, float64, each in ``LANES`` parts.

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
        _evaluate(parameters, as_array(context), as_array(symbols), np.empty((3, 0), np.float32)),
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
    _evaluate(parameters, as_array(context), as_array(symbols), rows)
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


def _pack(n_hidden: int, fold: bool, tensors: Sequence[Tensor]) -> _Parameters:
    """Pad weights and biases, given layer by layer, and add identities and constants."""
    weights = [as_array(tensor) for tensor in tensors[::2]]
    biases = [as_array(tensor) for tensor in tensors[1::2]]
    width = weights[n_hidden].shape[1]
    padded = padded_size(width)
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
    context, symbols = as_array(tensors[0]), as_array(tensors[1])
    parameters = _pack(n_hidden, fold, tensors[2:])
    padded = parameters.output.shape[1]
    sums = _Sums(
        np.zeros((n_hidden, padded, padded, LANES)),
        np.zeros((n_hidden, padded, LANES)),
        np.zeros((2, padded, LANES)),
        np.zeros((2, padded, LANES)),
        np.zeros((2, LANES)),
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
    for k in range(BLOCK):
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
    for k in range(n, BLOCK):
        value[k] = _ZERO
        by_mean[k] = _ZERO
        by_scale[k] = _ZERO


@kernel()
def _add_to_outputs(weight: F32, x: F32, y: F32) -> None:
    """Y += weight @ x for the two rows of float32[2, P]."""
    y0, y1 = y[0], y[1]
    for i in range(0, weight.shape[1], 4):
        a0, a1, a2, a3 = weight[0, i], weight[0, i + 1], weight[0, i + 2], weight[0, i + 3]
        b0, b1, b2, b3 = weight[1, i], weight[1, i + 1], weight[1, i + 2], weight[1, i + 3]
        x0, x1, x2, x3 = x[i], x[i + 1], x[i + 2], x[i + 3]
        for k in range(BLOCK):
            y0[k] += a0 * x0[k] + a1 * x1[k] + a2 * x2[k] + a3 * x3[k]
            y1[k] += b0 * x0[k] + b1 * x1[k] + b2 * x2[k] + b3 * x3[k]


@kernel()
def _add_from_outputs(weight: F32, slope: F32, g: F32) -> None:
    """G += weight.T @ slope for the two rows of float32[2, P]."""
    slope0, slope1 = slope[0], slope[1]
    for i in range(weight.shape[1]):
        a, b, row = weight[0, i], weight[1, i], g[i]
        for k in range(BLOCK):
            row[k] += a * slope0[k] + b * slope1[k]


@kernel()
def _forward(parameters: _Parameters, n: int, scratch: _Scratch) -> None:
    """Evaluate the block whose context and symbols are in the scratch memory."""
    n_hidden = parameters.hidden.shape[0]
    for i in range(n_hidden):
        y = scratch.x[i + 1]
        fill(y, parameters.hidden_bias[i])
        add_product(parameters.hidden[i], scratch.x[i], y)
        relu(y)
    fill(scratch.out, parameters.output_bias)
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
        add_outer(scratch.slope, scratch.x[n_hidden], scratch.tile, sums.output)
        add_outer(scratch.slope, scratch.x[0], scratch.tile, sums.stabiliser)
        add_rows(scratch.slope, scratch.tile, sums.output_bias)
    here = 0
    clear(scratch.g[here])
    _add_from_outputs(parameters.output, scratch.slope, scratch.g[here])
    for i in range(n_hidden - 1, -1, -1):
        g, before = scratch.g[here], scratch.g[1 - here]
        relu_backward(scratch.x[i + 1], g)
        if for_weights:
            add_outer(g, scratch.x[i], scratch.tile, sums.hidden[i])
            add_rows(g, scratch.tile, sums.hidden_bias[i])
        if i > 0 or for_context:
            clear(before)
            add_product(parameters.transposed[i], g, before)
        here = 1 - here
    if for_context:
        _add_from_outputs(parameters.stabiliser, scratch.slope, scratch.g[here])
    return here


@kernel(allocates=True)
def _allocate(n_hidden: int, width: int) -> _Scratch:
    """Scratch memory; zeros, so that columns never written are finite."""
    return _Scratch(
        np.zeros((n_hidden + 1, width, BLOCK), np.float32),
        np.zeros((2, BLOCK), np.float32),
        np.zeros((1, BLOCK), np.float32),
        np.zeros((1, BLOCK), np.float32),
        np.zeros((2, BLOCK), np.float32),
        np.zeros((2, width, BLOCK), np.float32),
        np.zeros((2, width, STRIP), np.float32),
    )


@kernel(allocates=True)
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
    total = np.zeros((1, LANES))
    for start in range(0, symbols.size, BLOCK):
        n = min(BLOCK, symbols.size - start)
        copy(context, start, n, scratch.x[0])
        copy(latents, start, n, scratch.symbols)
        _forward(parameters, n, scratch)
        add_rows(scratch.bits, scratch.tile, total)
        if rows.shape[1] > 0:
            store(scratch.bits, start, n, rows[0:1])
            store(scratch.out, start, n, rows[1:3])
    for k in range(rows.shape[1]):
        rows[2, k] = np.exp(min(max(rows[2, k], -_MAX_LOG_SCALE), _MAX_LOG_SCALE))
    return float(total.sum())


@kernel(allocates=True)
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
    total = np.zeros((1, LANES))
    for start in range(0, symbols.size, BLOCK):
        n = min(BLOCK, symbols.size - start)
        copy(context, start, n, scratch.x[0])
        copy(latents, start, n, scratch.symbols)
        _forward(parameters, n, scratch)
        add_rows(scratch.bits, scratch.tile, total)
        by_mean = scratch.slope[0]
        for k in range(n):
            d_symbols[start + k] = -by_mean[k]
        if for_weights or for_context:
            here = _backward(parameters, for_weights, for_context, scratch, sums)
            if for_context:
                store(scratch.g[here], start, n, d_context)
    return float(total.sum())
