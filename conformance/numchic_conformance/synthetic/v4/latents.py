# SPDX-License-Identifier: BSD-3-Clause
"""Latent sub-streams of 4.x as they are written (coolchic-4.2, section 9)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from numchic.v4.arm import context_positions
from numchic_bitstream.arrays import I64
from numchic_bitstream.v4.states import states
from numchic_conformance.synthetic.v4.coder import Adaptive, Encoder

ArmLayers = Sequence[tuple[Any, Any]]
"""Per layer weight[out][in] and bias[out], as the network uses them."""

_REACH = 4  # of a context


def encode_plane(
    plane: I64, layers: ArmLayers, blk: int, significant: I64 | None, flat: I64 | None
) -> bytes:
    """Sub-stream of a plane.

    Parameters
    ----------
    plane : int64[h, w]
        Must agree with the maps.
    layers
    blk : int
        Block-map parameter (9.3).
    significant, flat : int64[nby, nbx] or None
        None for a map that is not sent; a flat block is also significant.
    """
    encoder = Encoder()
    b = abs(blk) or 1 << 16
    height, width = plane.shape
    if (-(-height // b), -(-width // b)) != (1, 1):
        among = None
        for flags in (significant, flat):
            encoder.bypass(int(flags is not None))
            if flags is not None:
                _encode_map(encoder, flags, among, adaptive=blk < 0)
            among = significant
    means, contexts = _models(layers, plane)
    for y in range(height):
        for x in range(width):
            block = y // b, x // b
            if significant is not None and not significant[block]:
                continue
            if flat is not None and flat[block] and (y % b or x % b):
                continue
            _encode_symbol(encoder, int(plane[y, x] - means[y, x]), contexts[y, x].tolist())
    return encoder.finish()


def _encode_map(encoder: Encoder, flags: I64, among: I64 | None, *, adaptive: bool) -> None:
    context = Adaptive()
    coded = flags.reshape(-1) if among is None else flags[among != 0]
    for bit in coded.tolist():
        if adaptive:
            encoder.bin(context.q8, bit)
        else:
            encoder.bypass(bit)
        context.update(bit)


def _encode_symbol(encoder: Encoder, residual: int, contexts: Sequence[int]) -> None:
    """Section 9.5."""
    magnitude = abs(residual)
    for k in range(min(magnitude, 4)):
        encoder.bin(2 * contexts[k], 1)
    if magnitude < 4:
        encoder.bin(2 * contexts[magnitude], 0)
    else:
        encoder.exp_golomb(magnitude - 4, 0)
    if magnitude:
        encoder.bin(2 * contexts[4], int(residual < 0))


def _models(layers: ArmLayers, plane: I64) -> tuple[I64, I64]:
    """Rounded mean, and the states of the five contexts, of every sample (9.4, 9.5)."""
    height, width = plane.shape
    padded = np.pad(plane, _REACH)
    positions = context_positions(len(layers[-1][0][0]))
    x = 256 * np.stack(
        [padded[_REACH + dy :, _REACH + dx :][:height, :width] for dy, dx in positions], axis=-1
    )
    for i, (weight, bias) in enumerate(layers):
        is_output = i == len(layers) - 1
        total = x @ np.array(weight, np.int64).T + np.array(bias, np.int64)
        if is_output:
            x = _rounded(_wrapped(total))
        else:
            total = _wrapped(total + 256 * x)
            x = np.where(total < 0, 0, (total + 128) >> 8)
    mu, scale = x[..., 0], x[..., 1]
    mean = _rounded(mu)
    mean_index = 8 + _rounded((mu - 256 * mean) * 16)
    t = scale + 256
    scale_index = np.where(t < 0, 0, np.minimum(49, (5 * t + 128) >> 8))
    return mean, states()[mean_index, scale_index]


def _wrapped(a: I64) -> I64:
    """What a signed 32-bit integer holds of a number."""
    return a.astype(np.int32).astype(np.int64)


def _rounded(a: I64) -> I64:
    """Round away 8 bits, half away from zero."""
    rounded: I64 = np.sign(a) * ((np.abs(a) + 128) >> 8)
    return rounded
