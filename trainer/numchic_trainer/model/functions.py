# SPDX-License-Identifier: BSD-3-Clause
"""The kernels of upsampling and synthesis as functions of tensors that can be differentiated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from numchic_trainer.kernels.synthesis import Network, SynthesisSweep
from numchic_trainer.kernels.upsampling import Pyramid
from numchic_trainer.kernels.workers import Workers
from numchic_trainer.model.arrays import as_array

if TYPE_CHECKING:
    from numchic_trainer.model.encoder import CoolChicEncoder


def picture_parameters(model: CoolChicEncoder) -> list[nn.Parameter]:
    """Trained parameters between latents and picture, in the order of the kernels.

    Returns
    -------
    list of Parameter
        x2 filters and pre-concatenation filters, coarsest first, weight and bias of every layer of
        the trunk, and those of the stabiliser if there is one.
    """
    synthesis = model.synthesis
    layers: list[Any] = list(synthesis.trunk)
    layers += [] if synthesis.stabiliser is None else [synthesis.stabiliser]
    filters: list[Any] = [*model.upsampling.x2, *model.upsampling.preconcat]
    return [
        *(filter_.weight for filter_ in filters),
        *(parameter for layer in layers for parameter in (layer.weight, layer.bias)),
    ]


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


def synthesise(x: Tensor, n_seen: int, weights: Sequence[Tensor]) -> Tensor:
    """Run a synthesis of the usual form, differentiable once by every tensor.

    Parameters
    ----------
    x : Tensor, float32, shape (S, h, w)
    n_seen : int
        How many inputs the stabiliser sees.
    weights : sequence of Tensor, float32
        Weight and bias of every layer of the trunk and of the stabiliser, if there is one.

    Returns
    -------
    Tensor, float32, shape (3, h, w)
    """
    return cast("Tensor", _Synthesise.apply(n_seen, x, *weights))  # type: ignore[no-untyped-call]


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
    def forward(ctx: Any, n_seen: int, x: Tensor, *weights: Tensor) -> Tensor:
        """Arguments as for :func:`synthesise`."""
        n_hidden, n_inputs = weights[0].shape[:2]
        n_spatial = sum(weight.shape[-1] == 3 for weight in weights[4::2])
        has_stabiliser = len(weights) == 2 * n_spatial + 6
        network = Network(n_inputs, n_seen, n_hidden, n_spatial, has_stabiliser)
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
