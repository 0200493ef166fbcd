# SPDX-License-Identifier: BSD-3-Clause
"""The 1 x 1 layers of the synthesis in one sweep, with their own gradient (training, 2.6 and 13).

A pixel of the input x, with S channels, gives two results: the trunk W2 relu(W1 x + b1) + b2 and
the stabiliser Ws x + bs. The H hidden activations of a block of pixels stay in the cache; backward
computes them again instead of storing 4 H bytes per pixel.
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


class _Layers(NamedTuple):
    """Weights, with every size padded by zeros to a multiple of 4, and their transposes.

    ``hidden`` float32[H, S], ``trunk`` float32[O, H], ``stabiliser`` float32[O, S].
    """

    hidden: F32
    hidden_bias: F32
    trunk: F32
    trunk_bias: F32
    stabiliser: F32
    stabiliser_bias: F32
    hidden_t: F32
    trunk_t: F32
    stabiliser_t: F32


class _Sums(NamedTuple):
    """Derivatives by the padded weights and biases, float64, each in ``LANES`` parts."""

    hidden: F64
    hidden_bias: F64
    trunk: F64
    trunk_bias: F64
    stabiliser: F64
    stabiliser_bias: F64


def pointwise(x: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
    """Trunk and stabiliser of all pixels, differentiable once by every tensor.

    Parameters
    ----------
    x : Tensor, float32, shape (S, N)
    weights : Tensor, float32
        Weights and biases of the hidden layer, shapes (H, S) and (H,), of the trunk's output layer,
        (O, H) and (O,), and of the stabiliser, (O, S) and (O,).

    Returns
    -------
    trunk, stabiliser : Tensor, float32, shape (O, N)
    """
    tensors = (x, *weights)
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        result = _Pointwise.apply(*tensors)  # type: ignore[no-untyped-call]
        return cast("tuple[Tensor, Tensor]", result)
    return _run_forward(tensors)


class _Pointwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        """Arguments as for :func:`pointwise`."""
        ctx.save_for_backward(*tensors)
        return _run_forward(tensors)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_trunk: Tensor, d_stabiliser: Tensor) -> tuple[Tensor | None, ...]:
        """Derivatives by all arguments."""
        tensors = ctx.saved_tensors
        for_x = ctx.needs_input_grad[0]
        layers = _pack(tensors[1:])
        sums = _Sums(*(np.zeros((*weight.shape, LANES)) for weight in layers[:6]))
        d_x = torch.empty_like(tensors[0]) if for_x else torch.empty((0, 0))
        incoming = (as_array(d_trunk), as_array(d_stabiliser))
        _backward(layers, as_array(tensors[0]), *incoming, sums, d_x.numpy())
        gradients = [
            torch.from_numpy(part.sum(-1).astype(np.float32))[tuple(slice(n) for n in like.shape)]
            for part, like in zip(sums, tensors[1:], strict=True)
        ]
        return (d_x if for_x else None, *gradients)


def _pack(weights: Sequence[Tensor]) -> _Layers:
    padded = []
    for weight in weights:
        array = np.zeros([padded_size(n) for n in weight.shape], np.float32)
        array[tuple(slice(n) for n in weight.shape)] = as_array(weight)
        padded.append(array)
    return _Layers(*padded, *(np.ascontiguousarray(array.T) for array in padded[::2]))


def _run_forward(tensors: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    x, trunk_bias = tensors[0], tensors[4]
    results = torch.empty((2, trunk_bias.numel(), x.shape[1]))
    trunk, stabiliser = results.unbind()
    _forward(_pack(tensors[1:]), as_array(x), trunk.numpy(), stabiliser.numpy())
    return trunk, stabiliser


@kernel(allocates=True)
def _forward(layers: _Layers, x: F32, trunk: F32, stabiliser: F32) -> None:
    block = np.zeros((layers.hidden.shape[1], BLOCK), np.float32)
    hidden = np.empty((layers.hidden.shape[0], BLOCK), np.float32)
    out = np.empty((layers.trunk.shape[0], BLOCK), np.float32)
    for start in range(0, x.shape[1], BLOCK):
        n = min(BLOCK, x.shape[1] - start)
        copy(x, start, n, block)
        fill(hidden, layers.hidden_bias)
        add_product(layers.hidden, block, hidden)
        relu(hidden)
        fill(out, layers.trunk_bias)
        add_product(layers.trunk, hidden, out)
        store(out, start, n, trunk)
        fill(out, layers.stabiliser_bias)
        add_product(layers.stabiliser, block, out)
        store(out, start, n, stabiliser)


@kernel(allocates=True)
def _backward(
    layers: _Layers, x: F32, d_trunk: F32, d_stabiliser: F32, sums: _Sums, d_x: F32
) -> None:
    """Add to the sums and, unless it is empty, fill d_x."""
    n_inputs, n_hidden = layers.hidden.shape[1], layers.hidden.shape[0]
    block = np.zeros((n_inputs, BLOCK), np.float32)
    hidden = np.empty((n_hidden, BLOCK), np.float32)
    d_hidden = np.empty((n_hidden, BLOCK), np.float32)
    d_block = np.empty((n_inputs, BLOCK), np.float32)
    d_out = np.zeros((layers.trunk.shape[0], BLOCK), np.float32)
    d_side = np.zeros((layers.trunk.shape[0], BLOCK), np.float32)
    tile = np.empty((2, max(n_inputs, n_hidden), STRIP), np.float32)
    for start in range(0, x.shape[1], BLOCK):
        n = min(BLOCK, x.shape[1] - start)
        if n < BLOCK:  # columns of the block before must not count
            clear(d_out)
            clear(d_side)
        copy(x, start, n, block)
        copy(d_trunk, start, n, d_out)
        copy(d_stabiliser, start, n, d_side)
        fill(hidden, layers.hidden_bias)
        add_product(layers.hidden, block, hidden)
        relu(hidden)
        clear(d_hidden)
        add_product(layers.trunk_t, d_out, d_hidden)
        relu_backward(hidden, d_hidden)
        add_outer(d_out, hidden, tile, sums.trunk)
        add_rows(d_out, tile, sums.trunk_bias)
        add_outer(d_side, block, tile, sums.stabiliser)
        add_rows(d_side, tile, sums.stabiliser_bias)
        add_outer(d_hidden, block, tile, sums.hidden)
        add_rows(d_hidden, tile, sums.hidden_bias)
        if d_x.size > 0:
            clear(d_block)
            add_product(layers.hidden_t, d_hidden, d_block)
            add_product(layers.stabiliser_t, d_side, d_block)
            store(d_block, start, n, d_x)
