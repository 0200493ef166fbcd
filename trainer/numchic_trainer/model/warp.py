# SPDX-License-Identifier: BSD-3-Clause
"""Prediction of a frame from others, in plain torch (coolchic-5, sections 13.2 and 13.3).

Every operation is that of the decoder, in its order, but for coefficients, which are computed in
the type of the vectors. What runs on other devices, and what the kernels are compared with.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_FAR = float(1 << 20)  # beyond every picture; no vector need be longer
_NEAR = 1 / 16  # below this sin(x) / x is its series, whose derivative cancels nothing
_A = -0.75


def warp(reference: Tensor, vectors: Tensor, k: int) -> Tensor:
    """See a reference along a vector for every pixel.

    Parameters
    ----------
    reference : Tensor, shape (C, H, W)
        A constant.
    vectors : Tensor, shape (2, H, W)
        Horizontal, vertical, in pixels. Derivatives go through their fractions alone.
    k : int
        Filter size: 2, 4, ..., 14.

    Returns
    -------
    Tensor, shape (C, H, W)
    """
    height, width = reference.shape[1:]
    columns = torch.arange(width, device=vectors.device)[None, :]
    rows = torch.arange(height, device=vectors.device)[:, None]
    left, across = _taps(columns, vectors[0], width, k)
    top, down = _taps(rows, vectors[1], height, k)
    places = [(left + j).clamp(0, width - 1) for j in range(k)]

    def filtered(row: Tensor) -> Tensor:
        return _total([c * reference[:, row, x] for c, x in zip(across, places, strict=True)])

    return _total([c * filtered((top + i).clamp(0, height - 1)) for i, c in enumerate(down)])


def _total(terms: Sequence[Tensor]) -> Tensor:
    """Add from left to right, beginning with the first term."""
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def _taps(x: Tensor, flow: Tensor, n: int, k: int) -> tuple[Tensor, list[Tensor]]:
    """Place of the first tap on an axis of n samples, not clipped, and the coefficients."""
    position = _position(x.to(flow), flow, n, k)
    floor = position.detach().floor()
    s = position - floor
    start = floor.clamp(-_FAR, _FAR).long() - k // 2 + 1
    if k >= 6:
        return start + x, [_windowed_sinc(s - j, k) for j in range(-k // 2 + 1, k // 2 + 1)]
    if k == 2:
        return start, [1 - s, s]
    return start, [_outer(s + 1), _inner(s), _inner(1 - s), _outer(2 - s)]


def _position(x: Tensor, flow: Tensor, n: int, k: int) -> Tensor:
    """Position at which sample x looks; relative to x if k >= 6."""
    if k >= 6:
        return flow
    if n == 1:
        return flow * 0
    # By way of coordinates in -1 .. 1, as decoders do.
    u = (2 * x) / (n - 1) - 1
    u = u + flow / ((n - 1) / 2)
    position = (u + 1) / 2 * (n - 1)
    return position.clamp(0, n - 1) if k == 2 else position


def _windowed_sinc(u: Tensor, k: int) -> Tensor:
    """cos(pi u / k) sin(pi u) / (pi u)."""
    near = u.abs() < _NEAR
    x = math.pi * torch.where(near, torch.ones_like(u), u)
    square = (math.pi * u) ** 2
    series = 1 - square / 6 * (1 - square / 20 * (1 - square / 42 * (1 - square / 72)))
    return torch.cos(math.pi * u / k) * torch.where(near, series, torch.sin(x) / x)


def _inner(x: Tensor) -> Tensor:
    """Cubic coefficient for distances 0 .. 1 (11.3)."""
    return ((_A + 2) * x - (_A + 3)) * x * x + 1


def _outer(x: Tensor) -> Tensor:
    """Cubic coefficient for distances 1 .. 2."""
    return ((_A * x - 5 * _A) * x + 8 * _A) * x - 4 * _A


def combine(residue: Tensor, warped: Sequence[Tensor]) -> Tensor:
    """Join residue and warped references of a P or B frame (13.2).

    Parameters
    ----------
    residue : Tensor, shape (4 or 5, H, W)
        Residue, then what becomes alpha and beta.
    warped : one or two Tensors, shape (3, H, W)

    Returns
    -------
    Tensor, shape (3, H, W)

    Notes
    -----
    Alpha and beta outside 0 .. 1 have a derivative where descent leads back, so that none is stuck.
    """
    gains = cast("Tensor", _Gains.apply(residue[3:] + 0.5))  # type: ignore[no-untyped-call]
    prediction = warped[0]
    if len(warped) == 2:
        prediction = gains[1] * warped[0] + (1 - gains[1]) * warped[1]
    return gains[0] * prediction + residue[:3]


class _Gains(torch.autograd.Function):
    """Clamp to 0 .. 1; derivatives pass inside, and outside where descent leads inwards."""

    @staticmethod
    def forward(ctx: Any, raw: Tensor) -> Tensor:
        """Clamp."""
        ctx.save_for_backward(raw)
        return raw.clamp(0, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, incoming: Tensor) -> Tensor:
        """Stop what would lead further outside."""
        (raw,) = ctx.saved_tensors
        passes = ((raw <= 1) | (incoming > 0)) & ((raw >= 0) | (incoming < 0))
        return torch.where(passes, incoming, torch.zeros_like(incoming))
