# SPDX-License-Identifier: BSD-3-Clause
"""One step of the upsampling with its own gradient (coolchic-5, section 9; training, 2.5).

The finer latent passes the pre-concatenation filter, the coarser channels are doubled, and both are
written to one tensor. Everything is done row by row: along rows by shifted slices, across rows by
sums of rows.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from numchic_bitstream.arrays import F32, F64
from numchic_bitstream.kernels import kernel
from numchic_trainer.kernels.rows import add_multiplied, add_scaled, clear_row, total
from numchic_trainer.model.arrays import as_array

_ZERO = np.float32(0.0)


def upsampling_step(latent: Tensor, dense: Tensor, preconcat: Tensor, x2: Tensor) -> Tensor:
    """Filter a latent and put the doubled channels of the coarser levels under it.

    Parameters
    ----------
    latent : Tensor, float32, shape (h, w)
    dense : Tensor, float32, shape (C, ceil(h / 2), ceil(w / 2))
    preconcat : Tensor, float32, shape ((k + 1) / 2,)
        First half and centre of the pre-concatenation filter.
    x2 : Tensor, float32, shape (k / 2,)
        First half of the x2 filter.

    Returns
    -------
    Tensor, float32, shape (1 + C, h, w)
    """
    tensors = (latent, dense, preconcat, x2)
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        return cast("Tensor", _Step.apply(*tensors))  # type: ignore[no-untyped-call]
    return _run_forward(*tensors)


class _Step(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> Tensor:
        """Arguments as for :func:`upsampling_step`."""
        ctx.save_for_backward(*tensors)
        return _run_forward(*tensors)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_result: Tensor) -> tuple[Tensor, ...]:
        """Derivatives by all arguments."""
        latent, dense, preconcat, x2 = ctx.saved_tensors
        d_latent, d_dense = torch.empty_like(latent), torch.empty_like(dense)
        d_preconcat = np.zeros(preconcat.numel())
        d_kernel = np.zeros(2 * x2.numel())
        incoming, half = as_array(d_result), as_array(x2)
        _filter_backward(
            as_array(latent), as_array(preconcat), incoming[0], d_latent.numpy(), d_preconcat
        )
        kernel_ = np.concatenate([half, half[::-1]])
        for c in range(dense.shape[0]):
            _double_backward(
                as_array(dense)[c], kernel_, incoming[c + 1], d_dense[c].numpy(), d_kernel
            )
        d_half = d_kernel[: half.size] + d_kernel[half.size :][::-1]
        return d_latent, d_dense, _tensor(d_preconcat), _tensor(d_half)


def _tensor(sums: F64) -> Tensor:
    return torch.from_numpy(sums.astype(np.float32))


def _run_forward(latent: Tensor, dense: Tensor, preconcat: Tensor, x2: Tensor) -> Tensor:
    result = torch.empty((1 + dense.shape[0], *latent.shape))
    array, coarse, half = result.numpy(), as_array(dense), as_array(x2)
    _filter(as_array(latent), as_array(preconcat), array[0])
    for c in range(coarse.shape[0]):
        _double(coarse[c], np.concatenate([half, half[::-1]]), array[c + 1])
    return result


@kernel()
def _surround(x: F32, reach: int, replicate: bool, padded: F32) -> None:
    """Put a row into the middle of a longer one: borders replicated or zero."""
    n = x.size
    for k in range(reach):
        padded[k] = x[0] if replicate else _ZERO
        padded[reach + n + k] = x[n - 1] if replicate else _ZERO
    middle = padded[reach : reach + n]
    for k in range(n):
        middle[k] = x[k]


@kernel()
def _filter_row(padded: F32, half: F32, y: F32) -> None:
    """Symmetric filter along a row that is padded by half.size - 1 on either side."""
    reach = half.size - 1
    clear_row(y)
    for t in range(half.size):
        add_scaled(half[t], padded[t:], y)
        if t < reach:
            add_scaled(half[t], padded[2 * reach - t :], y)


@kernel()
def _filter_column(rows: F32, m: int, half: F32, y: F32) -> None:
    """Add the symmetric filter across rows at row m; there are zeros outside."""
    reach = half.size - 1
    for t in range(half.size):
        low, high = m - reach + t, m + reach - t
        if low >= 0:
            add_scaled(half[t], rows[low], y)
        if t < reach and high < rows.shape[0]:
            add_scaled(half[t], rows[high], y)


@kernel(allocates=True)
def _filter(x: F32, half: F32, y: F32) -> None:
    """Symmetric separable filter with zero padding, plus x."""
    height, width = x.shape
    reach = half.size - 1
    padded = np.empty(width + 2 * reach, np.float32)
    rows = np.empty((height, width), np.float32)
    for m in range(height):
        _surround(x[m], reach, False, padded)
        _filter_row(padded, half, rows[m])
    for m in range(height):
        source, result = x[m], y[m]
        for k in range(width):
            result[k] = source[k]
        _filter_column(rows, m, half, result)


@kernel(allocates=True)
def _filter_backward(x: F32, half: F32, d_y: F32, d_x: F32, d_half: F64) -> None:
    """Fill d_x and add to d_half. The filter is its own transpose."""
    height, width = x.shape
    reach = half.size - 1
    padded = np.empty(width + 2 * reach, np.float32)
    d_padded = np.empty(width + 2 * reach, np.float32)
    rows = np.empty((height, width), np.float32)
    d_row = np.empty(width, np.float32)
    sums = np.zeros((half.size, width), np.float32)
    for m in range(height):
        _surround(x[m], reach, False, padded)
        _filter_row(padded, half, rows[m])
    for m in range(height):
        incoming = d_y[m]
        for t in range(half.size):
            low, high = m - reach + t, m + reach - t
            if low >= 0:
                add_multiplied(incoming, rows[low], sums[t])
            if t < reach and high < height:
                add_multiplied(incoming, rows[high], sums[t])
        clear_row(d_row)
        _filter_column(d_y, m, half, d_row)
        _surround(x[m], reach, False, padded)
        for t in range(half.size):
            add_multiplied(d_row, padded[t:], sums[t])
            if t < reach:
                add_multiplied(d_row, padded[2 * reach - t :], sums[t])
        _surround(d_row, reach, False, d_padded)
        result = d_x[m]
        _filter_row(d_padded, half, result)
        for k in range(width):
            result[k] += incoming[k]
    for t in range(half.size):
        d_half[t] += total(sums[t])


@kernel(inline=True)
def _phase(e: int, half: int) -> tuple[int, int]:
    """First tap of phase e and where its input starts (coolchic-5, section 9.4)."""
    r = (e + half - 1) % 2
    return r, (e + half - 1 - r) // 2


@kernel()
def _double_row(padded: F32, taps: F32, n: int, phases: F32) -> None:
    """Both phases of a doubled row of n samples, padded by half the taps on either side."""
    half = taps.size // 2
    for e in range(2):
        r, offset = _phase(e, half)
        phase = phases[e, :n]
        clear_row(phase)
        for u in range(half):
            add_scaled(taps[r + 2 * u], padded[half + offset - u :], phase)


@kernel(allocates=True)
def _double_rows(x: F32, taps: F32, rows: F32) -> None:
    """Double x along rows and keep what fits."""
    height, width = x.shape
    half = taps.size // 2
    padded = np.empty(width + 2 * half, np.float32)
    phases = np.empty((2, width), np.float32)
    for m in range(height):
        _surround(x[m], half, True, padded)
        _double_row(padded, taps, width, phases)
        result = rows[m]
        for e in range(2):
            phase = phases[e]
            for k in range((result.size - e + 1) // 2):
                result[2 * k + e] = phase[k]


@kernel(allocates=True)
def _double(x: F32, taps: F32, y: F32) -> None:
    """Double the size, borders replicated, and keep what fits into y."""
    height = x.shape[0]
    half = taps.size // 2
    rows = np.empty((height, y.shape[1]), np.float32)
    _double_rows(x, taps, rows)
    for m in range(y.shape[0]):
        r, offset = _phase(m % 2, half)
        result = y[m]
        clear_row(result)
        for u in range(half):
            source = min(max(m // 2 + offset - u, 0), height - 1)
            add_scaled(taps[r + 2 * u], rows[source], result)


@kernel(allocates=True)
def _double_backward(x: F32, taps: F32, d_y: F32, d_x: F32, d_taps: F64) -> None:
    """Fill d_x and add to d_taps."""
    height, width = x.shape
    half = taps.size // 2
    rows = np.empty((height, d_y.shape[1]), np.float32)
    d_rows = np.zeros((height, d_y.shape[1]), np.float32)
    sums = np.zeros((taps.size, d_y.shape[1]), np.float32)
    _double_rows(x, taps, rows)
    for m in range(d_y.shape[0]):
        r, offset = _phase(m % 2, half)
        incoming = d_y[m]
        for u in range(half):
            source = min(max(m // 2 + offset - u, 0), height - 1)
            add_scaled(taps[r + 2 * u], incoming, d_rows[source])
            add_multiplied(incoming, rows[source], sums[r + 2 * u])
    padded = np.empty(width + 2 * half, np.float32)
    d_padded = np.empty(width + 2 * half, np.float32)
    phase = np.empty(width, np.float32)
    for m in range(height):
        _surround(x[m], half, True, padded)
        clear_row(d_padded)
        incoming = d_rows[m]
        for e in range(2):
            r, offset = _phase(e, half)
            n = (incoming.size - e + 1) // 2
            for k in range(n):
                phase[k] = incoming[2 * k + e]
            for u in range(half):
                first = half + offset - u
                add_scaled(taps[r + 2 * u], phase, d_padded[first : first + n])
                add_multiplied(padded[first:], phase, sums[r + 2 * u, :n])
        result = d_x[m]
        for k in range(width):
            result[k] = d_padded[half + k]
        for k in range(half):
            result[0] += d_padded[k]
            result[width - 1] += d_padded[half + width + k]
    for t in range(taps.size):
        d_taps[t] += total(sums[t])
