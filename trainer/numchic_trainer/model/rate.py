# SPDX-License-Identifier: BSD-3-Clause
"""Bits of the latents under the ARM, differentiable (training, section 3.3).

Either of all latents of a picture, or of any symbols whose contexts are given. The gradients are
found in the same sweep as the bits, so that backward only multiplies by a scalar.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from numchic_bitstream.arrays import F32
from numchic_bitstream.kernels import kernel
from numchic_trainer.kernels.arm import (
    BLOCK,
    Arm,
    Shape,
    Sums,
    add_bits,
    add_weights,
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
from numchic_trainer.kernels.laplace import MAX_LOG_SCALE
from numchic_trainer.kernels.rate import RateSweep
from numchic_trainer.kernels.rows import copy_row
from numchic_trainer.model.arrays import as_array

Layer = tuple[Tensor, Tensor]

_ONE = np.float32(1.0)


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
    shape = Shape(len(hidden), context.shape[0], stabiliser is not None, fold_output_identity)
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        total = _ArmRate.apply(shape, *tensors)  # type: ignore[no-untyped-call]
        return cast("Tensor", total)
    bits = _evaluate(shape, tensors, np.empty((3, 0), np.float32))
    return torch.tensor(bits, dtype=torch.float32)


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
    shape = Shape(len(hidden), context.shape[0], stabiliser is not None, fold_output_identity)
    rows = np.empty((3, symbols.numel()), np.float32)
    _evaluate(shape, tensors, rows)
    bits, mu, scale = torch.from_numpy(rows)
    return ArmBits(bits, mu, scale)


class _ArmRate(torch.autograd.Function):
    """Value and gradients in forward; backward scales them."""

    @staticmethod
    def forward(ctx: Any, shape: Shape, *tensors: Tensor) -> Tensor:
        """Arguments: shape, context, symbols, weights and biases."""
        needs = ctx.needs_input_grad[1:]
        total, gradients = _differentiate(shape, tensors, needs[0], any(needs[2:]))
        ctx.needs = needs
        ctx.save_for_backward(*(g for g, need in zip(gradients, needs, strict=True) if need))
        return torch.tensor(total, dtype=torch.float32)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, incoming: Tensor) -> tuple[Tensor | None, ...]:
        """Multiply all gradients by the incoming scalar."""
        saved = iter(ctx.saved_tensors)
        return (None, *(next(saved) * incoming if need else None for need in ctx.needs))


def _check(tensors: Sequence[Tensor]) -> None:
    width, n = tensors[0].shape
    if any(tensor.dtype != torch.float32 for tensor in tensors):
        raise TypeError("the rate is computed from float32 tensors")
    if tensors[1].shape != (n,) or any(tensor.shape[-1] != width for tensor in tensors[2::2]):
        raise ValueError("sizes of context, symbols and weights do not match")


def _pack(shape: Shape, weights: Sequence[Tensor]) -> Arm:
    arm = make_arm(shape)
    pack(shape, np.concatenate([as_array(weight).reshape(-1) for weight in weights]), arm)
    return arm


def _evaluate(shape: Shape, tensors: Sequence[Tensor], details: F32) -> float:
    """Total bits; ``details`` float32[3, N] is filled with bits, mu and scale unless N is 0."""
    none = np.empty((0, 0), np.float32)
    arm, sums = _pack(shape, tensors[2:]), make_sums(shape)
    context, symbols = as_array(tensors[0]), as_array(tensors[1])
    _sweep(shape, arm, context, symbols, False, sums, none, none.reshape(-1), details)
    return float(sums.bits.sum())


def _differentiate(
    shape: Shape, tensors: Sequence[Tensor], for_context: bool, for_weights: bool
) -> tuple[float, list[Tensor]]:
    """Total and its derivative by every tensor; those not asked for are undefined."""
    arm, sums = _pack(shape, tensors[2:]), make_sums(shape)
    context, symbols = as_array(tensors[0]), as_array(tensors[1])
    d_context = torch.empty(context.shape if for_context else (0, 0))
    d_symbols = torch.empty(symbols.shape)
    none = np.empty((3, 0), np.float32)
    _sweep(
        shape,
        arm,
        context,
        symbols,
        for_weights,
        sums,
        d_context.numpy(),
        d_symbols.numpy(),
        none,
    )
    flat = np.empty(n_parameters(shape))
    unpack(shape, sums, flat)
    sizes = [weight.numel() for weight in tensors[2:]]
    parts = torch.split(torch.from_numpy(flat.astype(np.float32)), sizes)
    d_weights = [part.view(w.shape) for part, w in zip(parts, tensors[2:], strict=True)]
    return float(sums.bits.sum()), [d_context, d_symbols, *d_weights]


@kernel(allocates=True)
def _sweep(
    shape: Shape,
    arm: Arm,
    context: F32,
    symbols: F32,
    for_weights: bool,
    sums: Sums,
    d_context: F32,
    d_symbols: F32,
    details: F32,
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
    details : float32[3, N] or float32[3, 0]
        Bits, mu and scale.
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
        if details.shape[1] > 0:
            copy_row(block.bits[0, :n], details[0, start:end])
            copy_row(block.out[0, :n], details[1, start:end])
            for k in range(n):
                log_scale = min(max(block.out[1, k], -MAX_LOG_SCALE), MAX_LOG_SCALE)
                details[2, start + k] = np.exp(log_scale)


def latent_rate(sweep: RateSweep, symbols: Tensor, weights: Sequence[Tensor]) -> Tensor:
    """Bits of all latents of a picture, differentiable once by symbols and weights.

    Parameters
    ----------
    sweep : RateSweep
    symbols : Tensor, float32, shape (N,)
        All quantised grids, integer or soft.
    weights : sequence of Tensor, float32
        As :class:`RateSweep` wants them.

    Returns
    -------
    Tensor, float32, shape ()
    """
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (symbols, *weights)):
        return cast("Tensor", _LatentRate.apply(sweep, symbols, *weights))  # type: ignore[no-untyped-call]
    bits = sweep.bits(as_array(symbols), [as_array(weight) for weight in weights])
    return torch.tensor(bits, dtype=torch.float32)


class _LatentRate(torch.autograd.Function):
    """Value and gradients in forward; backward scales them."""

    @staticmethod
    def forward(ctx: Any, sweep: RateSweep, *tensors: Tensor) -> Tensor:
        """Arguments: sweep, symbols, weights."""
        symbols, *weights = [as_array(tensor) for tensor in tensors]
        gradients = [torch.empty(tensor.shape) for tensor in tensors]
        d_symbols, *d_weights = [gradient.numpy() for gradient in gradients]
        bits = sweep.differentiate(symbols, weights, 1.0, d_symbols, d_weights)
        ctx.save_for_backward(*gradients)
        return torch.tensor(bits, dtype=torch.float32)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, incoming: Tensor) -> tuple[Tensor | None, ...]:
        """Multiply all gradients by the incoming scalar."""
        return (None, *(gradient * incoming for gradient in ctx.saved_tensors))
