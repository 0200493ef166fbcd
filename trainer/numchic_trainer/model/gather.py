# SPDX-License-Identifier: BSD-3-Clause
"""Context rows of all symbols in one tensor, with its own gradient (training, section 3.2).

Rows are context values, columns symbols, so that a row of contexts is a shifted copy of the grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from numchic.v5.context import NEIGHBOURS
from numchic_bitstream.arrays import F32, I64
from numchic_bitstream.kernels import kernel
from numchic_trainer.model.arrays import as_array

_ZERO = np.float32(0.0)


def gather(
    grids: Sequence[Tensor], features: Sequence[Tensor | None], n_spatial: int, n_features: int
) -> Tensor:
    """Contexts of all symbols, differentiable once by grids and features.

    Parameters
    ----------
    grids : sequence of Tensor, float32, shape (h, w)
    features : sequence of Tensor, float32, shape (F, h', w'), or None
        IFCE features of every grid before their repetition to twice the size; None for zeros.
    n_spatial, n_features : int
        Numbers S of neighbours and F of features.

    Returns
    -------
    Tensor, float32, shape (S + F, number of symbols)
    """
    present = [feature for feature in features if feature is not None]
    which = [feature is not None for feature in features]
    tensors = [*grids, *present]
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        rows = _Gather.apply(n_spatial, n_features, which, *tensors)  # type: ignore[no-untyped-call]
        return cast("Tensor", rows)
    return _run_forward(n_spatial, n_features, which, tensors)


def _run_forward(
    n_spatial: int, n_features: int, which: Sequence[bool], tensors: Sequence[Tensor]
) -> Tensor:
    grids, present = tensors[: len(which)], iter(tensors[len(which) :])
    result = torch.empty((n_spatial + n_features, sum(grid.numel() for grid in grids)))
    rows, start = result.numpy(), 0
    for grid, has in zip(grids, which, strict=True):
        columns = rows[:, start : start + grid.numel()]
        _shift(as_array(grid), NEIGHBOURS_ARRAY, columns[:n_spatial])
        if has:
            _repeat(as_array(next(present)), grid.shape[1], columns[n_spatial:])
        else:
            columns[n_spatial:] = _ZERO
        start += grid.numel()
    return result


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, n_spatial: int, n_features: int, which: list[bool], *tensors: Tensor
    ) -> Tensor:
        """Arguments: S, F, which grids have features, grids, features."""
        ctx.n_spatial, ctx.which = n_spatial, which
        ctx.shapes = [tensor.shape for tensor in tensors]
        return _run_forward(n_spatial, n_features, which, tensors)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_rows: Tensor) -> tuple[Tensor | None, ...]:
        """Derivatives by grids and features."""
        gradients = [torch.zeros(shape) for shape in ctx.shapes]
        present = iter(gradients[len(ctx.which) :])
        rows, start = as_array(d_rows), 0
        for grid, has in zip(gradients, ctx.which, strict=False):
            columns = rows[:, start : start + grid.numel()]
            _shift_backward(columns[: ctx.n_spatial], NEIGHBOURS_ARRAY, grid.numpy())
            if has:
                _repeat_backward(columns[ctx.n_spatial :], grid.shape[1], next(present).numpy())
            start += grid.numel()
        return (None, None, None, *gradients)


NEIGHBOURS_ARRAY: I64 = np.array(NEIGHBOURS, np.int64)


@kernel()
def _shift(grid: F32, neighbours: I64, rows: F32) -> None:
    """Row s is the grid shifted by neighbour s, with zeros outside."""
    height, width = grid.shape
    for s in range(rows.shape[0]):
        dy, dx = neighbours[s, 0], neighbours[s, 1]
        low, high = min(max(0, -dx), width), max(min(width, width - dx), 0)
        target = rows[s]
        for y in range(height):
            row = target[y * width : y * width + width]
            if y + dy < 0 or high <= low:
                for k in range(width):
                    row[k] = _ZERO
                continue
            source = grid[y + dy, low + dx : high + dx]
            inner = row[low:high]
            for k in range(source.size):
                inner[k] = source[k]
            for k in range(low):
                row[k] = _ZERO
            for k in range(high, width):
                row[k] = _ZERO


@kernel()
def _shift_backward(rows: F32, neighbours: I64, grid: F32) -> None:
    """Add every row, shifted back, to the grid."""
    height, width = grid.shape
    for s in range(rows.shape[0]):
        dy, dx = neighbours[s, 0], neighbours[s, 1]
        low, high = min(max(0, -dx), width), max(min(width, width - dx), 0)
        source = rows[s]
        for y in range(max(0, -dy), height):
            inner = source[y * width + low : y * width + max(low, high)]
            target = grid[y + dy, low + dx :]
            for k in range(inner.size):
                target[k] += inner[k]


@kernel()
def _repeat(features: F32, width: int, rows: F32) -> None:
    """Repeat every sample in both directions; rows are grids of this width."""
    for f in range(features.shape[0]):
        target = rows[f]
        for y in range(target.size // width):
            row, source = target[y * width : y * width + width], features[f, y // 2]
            for k in range(width):
                row[k] = source[k // 2]


@kernel()
def _repeat_backward(rows: F32, width: int, features: F32) -> None:
    """Add up what every sample has been repeated to."""
    for f in range(features.shape[0]):
        incoming = rows[f]
        for y in range(incoming.size // width):
            row, target = incoming[y * width : y * width + width], features[f, y // 2]
            for k in range(width):
                target[k // 2] += row[k]
