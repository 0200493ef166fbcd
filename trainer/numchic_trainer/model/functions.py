# SPDX-License-Identifier: BSD-3-Clause
"""The kernels as functions of tensors that can be differentiated once.

Rates, of all latents of a picture or of symbols whose contexts are given, have a gradient that is
found in the same sweep as the bits, so that backward only multiplies by a scalar.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from numchic_trainer.kernels.arm import (
    Arm,
    Shape,
    make_arm,
    make_sums,
    n_parameters,
    pack,
    sweep_contexts,
    unpack,
)
from numchic_trainer.kernels.rate import RateSweep
from numchic_trainer.kernels.synthesis import Network, SynthesisSweep
from numchic_trainer.kernels.upsampling import Pyramid
from numchic_trainer.kernels.workers import Workers
from numchic_trainer.model.arrays import as_array

Layer = tuple[Tensor, Tensor]
"""Weight and bias."""


def upsample(latents: Sequence[Tensor], x2: Sequence[Tensor], single: Sequence[Tensor]) -> Tensor:
    """Upsample latents, differentiable once by every tensor.

    Parameters
    ----------
    latents : sequence of Tensor, float32, shape (h_i, w_i)
        Finest first.
    x2, single : sequence of Tensor, float32, shape (at most 4,)
        First halves of the x2 and pre-concatenation filters of every step, coarsest first.

    Returns
    -------
    Tensor, float32, shape (number of latents, h, w)
    """
    return cast("Tensor", _Upsample.apply(len(latents), *latents, *x2, *single))  # type: ignore[no-untyped-call]


def synthesise(x: Tensor, trunk: Sequence[Layer], stabiliser: Layer | None = None) -> Tensor:
    """Run a synthesis of the usual form, differentiable once by every tensor.

    Parameters
    ----------
    x : Tensor, float32, shape (S, h, w)
    trunk : sequence of (Tensor, Tensor), float32, shapes (C_i, C_{i-1}, k, k) and (C_i,)
        Weight and bias of every layer.
    stabiliser : (Tensor, Tensor), float32, shapes (C, n, 1, 1) and (C,)
        Weight and bias, for the first n inputs.

    Returns
    -------
    Tensor, float32, shape (C, h, w)
    """
    layers = trunk if stabiliser is None else [*trunk, stabiliser]
    tensors = [tensor for layer in layers for tensor in layer]
    return cast("Tensor", _Synthesise.apply(len(trunk), x, *tensors))  # type: ignore[no-untyped-call]


class _Upsample(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, n_latents: int, *tensors: Tensor) -> Tensor:
        """Arguments as for :func:`upsample`, one after another."""
        latents, filters = tensors[:n_latents], [as_array(t) for t in tensors[n_latents:]]
        symbols = torch.cat([latent.detach().flatten() for latent in latents]).numpy()
        grids, place = [], 0
        for latent in latents:
            grids.append((*latent.shape, place))
            place += latent.numel()
        pyramid = Pyramid(cast("list[tuple[int, int, int]]", grids), True, Workers())
        pyramid.set_taps(filters[: n_latents - 1], filters[n_latents - 1 :])
        pyramid.upsample(symbols)
        ctx.pyramid, ctx.symbols = pyramid, symbols
        ctx.shapes = [tensor.shape for tensor in tensors]
        n_numbers = n_latents * latents[0].numel()
        return torch.from_numpy(pyramid.dense[:n_numbers]).view(n_latents, *latents[0].shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_result: Tensor) -> tuple[Tensor | None, ...]:
        """Derivatives by all arguments."""
        pyramid, n_latents = ctx.pyramid, len(ctx.pyramid.levels)
        pyramid.d_dense[: d_result.numel()] = as_array(d_result).reshape(-1)
        pyramid.begin_backward()
        d_symbols = torch.zeros(ctx.symbols.size)
        pyramid.backward(ctx.symbols, d_symbols.numpy())
        d_filters = [torch.empty(shape) for shape in ctx.shapes[n_latents:]]
        arrays = [gradient.numpy() for gradient in d_filters]
        pyramid.get_d_taps(arrays[: n_latents - 1], arrays[n_latents - 1 :])
        shapes = ctx.shapes[:n_latents]
        parts = torch.split(d_symbols, [shape.numel() for shape in shapes])
        d_latents = [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]
        return None, *d_latents, *d_filters


class _Synthesise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, n_layers: int, x: Tensor, *weights: Tensor) -> Tensor:
        """Arguments: layers of the trunk, x, and weights and biases of all layers."""
        widths = [len(bias) for bias in weights[1 : 2 * n_layers : 2]]
        has_stabiliser = len(weights) > 2 * n_layers
        n_seen = weights[-2].shape[1] if has_stabiliser else len(x)
        network = Network(len(x), n_seen, widths, has_stabiliser)
        network.set_weights([as_array(weight) for weight in weights])
        sweep = SynthesisSweep(network, x.shape[1], x.shape[2], Workers())
        ctx.save_for_backward(x, *weights)
        ctx.sweep = sweep
        return torch.from_numpy(sweep.forward(as_array(x)))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_raw: Tensor) -> tuple[Tensor | None, ...]:
        """Derivatives by all arguments."""
        x, *weights = ctx.saved_tensors
        d_x, d_weights = torch.empty(x.shape), [torch.empty(weight.shape) for weight in weights]
        ctx.sweep.backward(as_array(x), as_array(d_raw), d_x.numpy())
        ctx.sweep.network.get_d_weights([gradient.numpy() for gradient in d_weights])
        return None, d_x, *d_weights


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
    return torch.tensor(_evaluate(shape, tensors), dtype=torch.float32)


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


def _evaluate(shape: Shape, tensors: Sequence[Tensor]) -> float:
    """Total bits."""
    none = np.empty((0, 0), np.float32)
    arm, sums = _pack(shape, tensors[2:]), make_sums(shape)
    context, symbols = as_array(tensors[0]), as_array(tensors[1])
    sweep_contexts(shape, arm, context, symbols, False, sums, none, none.reshape(-1))
    return float(sums.bits.sum())


def _differentiate(
    shape: Shape, tensors: Sequence[Tensor], for_context: bool, for_weights: bool
) -> tuple[float, list[Tensor]]:
    """Total and its derivative by every tensor; those not asked for are undefined."""
    arm, sums = _pack(shape, tensors[2:]), make_sums(shape)
    context, symbols = as_array(tensors[0]), as_array(tensors[1])
    d_context = torch.empty(context.shape if for_context else (0, 0))
    d_symbols = torch.empty(symbols.shape)
    sweep_contexts(
        shape,
        arm,
        context,
        symbols,
        for_weights,
        sums,
        d_context.numpy(),
        d_symbols.numpy(),
    )
    flat = np.empty(n_parameters(shape))
    unpack(shape, sums, flat)
    sizes = [weight.numel() for weight in tensors[2:]]
    parts = torch.split(torch.from_numpy(flat.astype(np.float32)), sizes)
    d_weights = [part.view(w.shape) for part, w in zip(parts, tensors[2:], strict=True)]
    return float(sums.bits.sum()), [d_context, d_symbols, *d_weights]


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
