# SPDX-License-Identifier: BSD-3-Clause
"""Synthesis: specification, section 11.1, in float32 with one rounding per operation.

A sum starts with the bias and adds the products with dy ascending, inside it dx ascending, inside
it the input channel ascending; then the residual, then the non-linearity.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
Affine = tuple[Any, Any]  # weight [out][in][k][k], bias [out]
TrunkLayer = tuple[Any, Any, bool, bool]  # weight, bias, residual, relu


def conv(x: Any, weight: Any, bias: Any, residual: bool, relu: bool) -> FloatArray:
    """One layer on x [in][h][w].

    An even kernel (which is not normative) is padded by (k-1)//2 on each side, so that the
    picture shrinks by one.
    """
    x = np.asarray(x, dtype=np.float32)
    weight = np.asarray(weight, dtype=np.float32)
    bias = np.asarray(bias, dtype=np.float32)
    n_outputs, n_inputs, k, _ = weight.shape
    c = (k - 1) // 2
    _, h, w = x.shape
    out_h, out_w = h + 2 * c - (k - 1), w + 2 * c - (k - 1)
    acc: FloatArray = np.zeros((n_outputs, out_h, out_w), dtype=np.float32)
    acc = acc + bias[:, None, None]
    for dy in range(k):
        rows = np.clip(np.arange(out_h) + dy - c, 0, h - 1)
        for dx in range(k):
            columns = np.clip(np.arange(out_w) + dx - c, 0, w - 1)
            for i in range(n_inputs):
                shifted = x[i][rows][:, columns]
                acc = acc + weight[:, i, dy, dx, None, None] * shifted
    if residual:
        acc = acc + x
    if relu:
        acc = np.where(acc < 0, np.float32(0), acc)
    return acc


def synthesise(
    z: Any,
    n_latent_channels: int,
    layers: Sequence[TrunkLayer],
    stabiliser: Affine | None,
    output_transform: Affine,
) -> FloatArray:
    """Trunk, stabiliser on the latent channels of z, output transform."""
    z = np.asarray(z, dtype=np.float32)
    x = z
    for weight, bias, residual, relu in layers:
        x = conv(x, weight, bias, residual, relu)
    if stabiliser is not None:
        x = x + conv(z[:n_latent_channels], stabiliser[0], stabiliser[1], False, False)
    return conv(x, output_transform[0], output_transform[1], False, False)
