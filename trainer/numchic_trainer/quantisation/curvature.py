# SPDX-License-Identifier: BSD-3-Clause
"""Second derivatives of the loss by all parameters of a module, from a small sample.

The loss is a sum over symbols or pixels. Where the networks predict well, its second derivatives
are sums of products of first derivatives of single terms: for the bits of a symbol this is the
Fisher information, for a squared error the Gauss-Newton matrix. Of a pixel, whose output has
several channels, a combination with random signs is taken, which has the same expectation.

Another distortion is taken for a squared error here: the matrices only shape proposals, which are
then judged by the loss itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from numchic_trainer.model.arm import ArmLinear
from numchic_trainer.model.encoder import CoolChicEncoder
from numchic_trainer.model.laplace import laplace_bits
from numchic_trainer.model.synthesis import SynthesisConv2d
from numchic_trainer.quantisation.sample import Part, RateSample

_MAX_LOG_SCALE = 5.0
_COLUMNS = 192  # in one matrix product


def rate_curvature(model: CoolChicEncoder, sample: RateSample) -> Tensor:
    """Second derivatives of the bits by weights and biases of ARM and IFCE.

    Returns
    -------
    Tensor, shape (P, P)
        Parameters in the order of ``network_parameters``: weights of the ARM, its biases, then
        those of the IFCE.
    """
    total = None
    for part, contexts in zip(sample.parts, sample.contexts(), strict=True):
        rows = _rate_rows(model, part, contexts)
        product = part.weight * _gram(rows)
        total = product if total is None else total + product
    assert total is not None
    return total * math.log(2.0)


def _rate_rows(model: CoolChicEncoder, part: Part, contexts: Tensor) -> Tensor:
    """Derivatives of the bits of every symbol of a part, shape (n, P)."""
    arm = model.arm
    with torch.enable_grad():
        first = contexts.t().detach().requires_grad_()
        inputs, outputs = [first], []
        for layer in cast("list[ArmLinear]", [*arm.hidden]):
            outputs.append(layer(inputs[-1]))
            inputs.append(torch.relu(outputs[-1]))
        last = arm.output(inputs[-1])
        if arm.dim_arm == 2:
            last = last + inputs[-1]
        outputs.append(last if arm.stabiliser is None else last + arm.stabiliser(first))
        mu, raw_scale = outputs[-1].unbind(1)
        log_scale = torch.clamp(raw_scale - 4.0, -_MAX_LOG_SCALE, _MAX_LOG_SCALE)
        bits = laplace_bits(part.symbols, mu, torch.exp(log_scale))
        *slopes, by_context = torch.autograd.grad(bits.sum(), [*outputs, first])
    if arm.stabiliser is not None:
        inputs.append(first)
        slopes.append(slopes[-1])
    weights = [_products(g, x) for g, x in zip(slopes, inputs, strict=True)]
    columns = [*weights, *slopes]
    if model.ifce is not None:
        columns += _ifce_rows(by_context[:, -model.ifce.n_features :], part.stacks)
    return torch.cat(columns, 1).detach()


def _ifce_rows(by_features: Tensor, stacks: Sequence[Tensor]) -> list[Tensor]:
    """Weights, then biases, of the layers of the IFCE; each belongs to the symbols of one grid."""
    weights, biases, start = [], [], 0
    for stack in stacks:
        end = start + stack.shape[1]
        if len(stack):
            margin = (0, 0, start, len(by_features) - end)
            weights.append(F.pad(_products(by_features[start:end], stack.t()), margin))
            biases.append(F.pad(by_features[start:end], margin))
        start = end
    return [*weights, *biases]


def _products(slopes: Tensor, inputs: Tensor) -> Tensor:
    """Derivatives by the weights of a linear layer: (n, O) and (n, I) to (n, O I)."""
    return (slopes[:, :, None] * inputs[:, None, :]).flatten(1)


def synthesis_curvature(
    model: CoolChicEncoder,
    dense: Tensor,
    n_pixels: int,
    generator: torch.Generator,
    gains: Tensor | None = None,
) -> Tensor:
    """Second derivatives of the mean squared error by weights and biases of the synthesis.

    Parameters
    ----------
    model : CoolChicEncoder
    dense : Tensor, shape (1, S, h, w)
        Input of the synthesis.
    n_pixels : int
        Pixels that are looked at, each with the surroundings that its output depends on.
    generator : torch.Generator
        Source of random signs.
    gains : Tensor, shape (C,), optional
        Square roots of what the squared changes of every output add to the mean squared error; not
        given if the outputs are the picture.

    Returns
    -------
    Tensor, shape (P, P)
        Parameters in the order of ``network_parameters``, without the output transform.
    """
    patches = _patches(dense, n_pixels, model.header.derived.reach)
    rows = synthesis_rows(model, patches, generator, gains)
    n_channels = 1 if gains is not None else model.synthesis.output_transform.bias.numel()
    return _gram(rows) * (2.0 / (len(rows) * n_channels))


def _patches(dense: Tensor, n: int, reach: int) -> Tensor:
    """Surroundings of n pixels, evenly spread in raster order, shape (n, S, k, k)."""
    height, width = dense.shape[2:]
    padded = F.pad(dense, (reach,) * 4, mode="replicate")[0]
    places = torch.arange(min(n, height * width)) * (height * width) // min(n, height * width)
    y, x = places // width, places % width
    offsets = torch.arange(2 * reach + 1)
    rows = (y[:, None] + offsets)[:, :, None]
    columns = (x[:, None] + offsets)[:, None, :]
    return padded[:, rows, columns].transpose(0, 1).contiguous()


def synthesis_rows(
    model: CoolChicEncoder,
    patches: Tensor,
    generator: torch.Generator,
    gains: Tensor | None = None,
) -> Tensor:
    """Derivatives of random combinations of the outputs of every pixel, shape (n, P)."""
    synthesis, reach = model.synthesis, model.header.derived.reach
    layers = cast("list[SynthesisConv2d]", [*synthesis.trunk])
    with torch.enable_grad():
        y = patches.detach().requires_grad_()
        inputs, outputs = [], []
        for layer, form in zip(layers, synthesis.layer_forms, strict=True):
            inputs.append(_windows(y, form.k_size))
            weight = layer.weight.flatten(1)
            out = torch.matmul(weight, inputs[-1]) + layer.bias[:, None]
            outputs.append(out)
            size = y.shape[-1] - form.k_size + 1
            out = out.view(len(out), -1, size, size)
            if layer.residual:
                margin = form.k_size // 2
                out = out + y[..., margin : margin + size, margin : margin + size]
            y = torch.relu(out) if form.non_linearity == "relu" else out
        if synthesis.stabiliser is not None:
            centre = patches[:, : synthesis.n_latents, reach, reach, None]
            inputs.insert(0, centre)
            outputs.insert(0, synthesis.stabiliser(centre[..., None])[..., 0])
            y = y + outputs[0][..., None]
        final = synthesis.output_transform(y)
        final = final.clamp(0.0, 1.0) if gains is None else final * gains[:, None, None]
        signs = 2.0 * torch.randint(0, 2, final.shape, generator=generator) - 1.0
        slopes = torch.autograd.grad(final, outputs, signs)
    weights = [
        torch.matmul(g, x.transpose(1, 2)).flatten(1).detach()
        for g, x in zip(slopes, inputs, strict=True)
    ]
    return torch.cat([*weights, *(g.sum(2) for g in slopes)], 1)


def _gram(rows: Tensor) -> Tensor:
    """Sums over rows of the products of every two columns; half of them are mirrored."""
    n_columns = rows.shape[1]
    product = rows.new_empty(n_columns, n_columns)
    for start in range(0, n_columns, _COLUMNS):
        end = start + _COLUMNS
        part = rows[:, start:end].t() @ rows[:, start:]
        product[start:end, start:] = part
        product[start:, start:end] = part.t()
    return product


def _windows(x: Tensor, size: int) -> Tensor:
    """Inputs of every output of a layer, shape (n, I k k, number of outputs)."""
    return F.unfold(x, size) if size > 1 else x.flatten(2)
