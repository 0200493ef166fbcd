# SPDX-License-Identifier: BSD-3-Clause
"""k x k layers between few channels, with their own gradient (coolchic-5, section 11.1).

y[o] = b[o] + sum over c, dy, dx of w[o, c, dy, dx] x[c, row + dy - r, column + dx - r], with
replicated borders. General convolutions are made for many channels; with three of them they spend
their time on everything but arithmetic. Here rows are added up, tile by tile of columns.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from numchic_bitstream.arrays import F32, F64
from numchic_bitstream.kernels import kernel
from numchic_trainer.kernels.rows import add_multiplied, add_scaled, total
from numchic_trainer.model.arrays import as_array

MAX_CHANNELS = 8
_TILE = 512  # columns


def spatial(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Convolve with replicated borders, differentiable once by every tensor.

    Parameters
    ----------
    x : Tensor, float32, shape (I, H, W)
    weight : Tensor, float32, shape (O, I, k, k)
        k is odd.
    bias : Tensor, float32, shape (O,)

    Returns
    -------
    Tensor, float32, shape (O, H, W)
    """
    if torch.is_grad_enabled() and any(t.requires_grad for t in (x, weight, bias)):
        return cast("Tensor", _Spatial.apply(x, weight, bias))  # type: ignore[no-untyped-call]
    return _run_forward(_pad(x, weight), weight, bias)


class _Spatial(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Arguments as for :func:`spatial`."""
        padded = _pad(x, weight)
        ctx.save_for_backward(padded, weight)
        return _run_forward(padded, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_y: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        """Derivatives by all arguments."""
        padded, weight = ctx.saved_tensors
        size, incoming = weight.shape[-1], as_array(d_y)
        d_weight = np.zeros(weight.shape)
        _weight_sums(as_array(padded), incoming, d_weight)
        d_x = None
        if ctx.needs_input_grad[0]:
            d_x = _backward_input(incoming, as_array(weight), size // 2)
        d_bias = torch.from_numpy(incoming).sum((1, 2), dtype=torch.float64).float()
        return d_x, torch.from_numpy(d_weight.astype(np.float32)), d_bias


def _pad(x: Tensor, weight: Tensor) -> Tensor:
    return F.pad(x.detach()[None], (weight.shape[-1] // 2,) * 4, mode="replicate")[0]


def _run_forward(padded: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    margin = weight.shape[-1] - 1
    y = torch.empty((weight.shape[0], padded.shape[1] - margin, padded.shape[2] - margin))
    _convolve(as_array(padded), as_array(weight), as_array(bias), y.numpy())
    return y


def _backward_input(d_y: F32, weight: F32, reach: int) -> Tensor:
    """Correlate with the turned kernel and add what the replicated borders have received."""
    turned = np.ascontiguousarray(weight.transpose(1, 0, 2, 3)[:, :, ::-1, ::-1])
    surrounded = F.pad(torch.from_numpy(d_y), (2 * reach,) * 4)
    n_inputs, height, width = turned.shape[0], d_y.shape[1], d_y.shape[2]
    d_padded = torch.empty((n_inputs, height + 2 * reach, width + 2 * reach))
    _convolve(as_array(surrounded), turned, np.zeros(n_inputs, np.float32), d_padded.numpy())
    inner = d_padded[:, reach : reach + height]
    inner[:, 0] += d_padded[:, :reach].sum(1)
    inner[:, -1] += d_padded[:, reach + height :].sum(1)
    d_x = inner[:, :, reach : reach + width]
    d_x[:, :, 0] += inner[:, :, :reach].sum(2)
    d_x[:, :, -1] += inner[:, :, reach + width :].sum(2)
    return d_x


@kernel()
def _convolve(padded: F32, weight: F32, bias: F32, y: F32) -> None:
    """Convolve without padding: y is smaller than its input by k - 1."""
    n_outputs, n_inputs, size, _ = weight.shape
    for row in range(y.shape[1]):
        for start in range(0, y.shape[2], _TILE):
            n = min(_TILE, y.shape[2] - start)
            for o in range(n_outputs):
                result = y[o, row, start : start + n]
                first = bias[o]
                for k in range(n):
                    result[k] = first
                for c in range(n_inputs):
                    for dy in range(size):
                        source = padded[c, row + dy]
                        for dx in range(size):
                            add_scaled(weight[o, c, dy, dx], source[start + dx :], result)


@kernel(allocates=True)
def _weight_sums(padded: F32, d_y: F32, d_weight: F64) -> None:
    """Derivatives by the weights: float32 along columns, float64 over them."""
    n_outputs, n_inputs, size, _ = d_weight.shape
    sums = np.zeros((n_inputs, size, size, _TILE), np.float32)
    for start in range(0, d_y.shape[2], _TILE):
        n = min(_TILE, d_y.shape[2] - start)
        for o in range(n_outputs):
            sums[:] = np.float32(0.0)
            for row in range(d_y.shape[1]):
                incoming = d_y[o, row, start : start + n]
                for c in range(n_inputs):
                    for dy in range(size):
                        source = padded[c, row + dy]
                        for dx in range(size):
                            add_multiplied(incoming, source[start + dx :], sums[c, dy, dx, :n])
            for c in range(n_inputs):
                for dy in range(size):
                    for dx in range(size):
                        d_weight[o, c, dy, dx] += total(sums[c, dy, dx, :n])
