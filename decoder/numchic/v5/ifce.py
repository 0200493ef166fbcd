# SPDX-License-Identifier: BSD-3-Clause
"""Inter-feature context: features from coarser grids (coolchic-5, 5.3, 6.2, 6.3). Exact.

For grid k the n - 1 - k grids decoded before it form a stack at the size of grid k + 1, every grid
brought there by repetition. A linear map turns the stack into F features per position, and each
position serves a block of 2 x 2 samples of grid k.

The map is applied grid by grid, from the coarsest: the sums at a coarse position are the same for
all finer positions below it, so that a position costs about two products per feature instead of
n - 1 - k.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from numchic_bitstream.arrays import F32, F32_3D, I8, I8_1D, I64_1D, I64_2D, I64_3D
from numchic_bitstream.errors import CorruptError
from numchic_bitstream.kernels import kernel
from numchic_bitstream.v5.derived import Grid
from numchic_bitstream.v5.headers import CoolChicHeader
from numchic_bitstream.v5.parameters import Layer

_BLOCK_BITS = 1
_WHOLE_GRID_BITS = 14  # a shift that takes every coordinate to 0


class FeatureMap(NamedTuple):
    """Features of one grid: those of sample (y, x) are ``values[y >> shift, x >> shift]``.

    ``values`` is float32[h, w, F], integers with 8 fractional bits; passing through float32 is part
    of the format (5.3), so nothing is lost. ``maximum`` is the largest magnitude in it.
    """

    values: F32
    shift: int
    maximum: int


def feature_map(
    header: CoolChicHeader,
    layer: Layer | None,
    decoded: list[tuple[Grid, I8]],
    offset: int = 0,
) -> FeatureMap:
    """Compute the IFCE features of the next grid to decode.

    Parameters
    ----------
    header : CoolChicHeader
    layer : Layer or None
        IFCE of the grid; None if it has none, then all features are 0.
    decoded : list of (Grid, int8[h, w])
        Grids decoded so far, the most recent (finest) one first.
    offset : int
        Position of the network payload in the stream, for errors.

    Raises
    ------
    CorruptError
        An accumulator may need more than 63 bits with the latents as they are.
    """
    if layer is None:
        values = np.zeros((1, 1, header.output_feature_ifce), np.float32)
        return FeatureMap(values, _WHOLE_GRID_BITS, 0)
    steps = header.derived.steps
    weight_shift = 16 - steps.ifce_weight
    bias = layer.bias.astype(object) << (16 - steps.ifce_bias)
    maxima = [max(-int(s.min()), int(s.max())) for _, s in decoded] or [0]
    bound = (np.abs(layer.weight.astype(object)) @ maxima << weight_shift) + np.abs(bias)
    bits = max(int(value).bit_length() for value in bound)
    if bits > 63:
        raise CorruptError(
            "accumulators of the IFCE overflow",
            "nn_payload.ifce",
            offset,
            f"{bits} bits",
            "<= 63 bits",
        )
    int_bias = bias.astype(np.int64)
    if not decoded:
        # The first grid has one dummy input of zeros (6.3).
        values = (int_bias >> 8).astype(np.float32)[None, None]
        return FeatureMap(values, _WHOLE_GRID_BITS, int(np.abs(values).max()))
    coarse_first = decoded[::-1]
    finest = coarse_first[-1][0]
    table = np.array(
        [
            (start, grid.height, grid.width)
            for start, (grid, _) in zip(
                np.cumsum([0] + [samples.size for _, samples in coarse_first]),
                coarse_first,
                strict=False,
            )
        ],
        np.int64,
    )
    latents = np.concatenate([samples.ravel() for _, samples in coarse_first])
    weight = np.ascontiguousarray((layer.weight << weight_shift).T[::-1])
    values = np.empty((finest.height, finest.width, layer.bias.size), np.float32)
    sums = np.empty((2, finest.width, layer.bias.size), np.int64)
    doublings = np.zeros(len(table), np.int64)
    maximum = evaluate_stack(latents, table, weight, int_bias, sums, doublings, values)
    return FeatureMap(values, _BLOCK_BITS, int(maximum))


@kernel(entry=True)
def evaluate_stack(
    latents: I8_1D,
    table: I64_2D,
    weight: I64_2D,
    bias: I64_1D,
    sums: I64_3D,
    doublings: I64_1D,
    values: F32_3D,
) -> float:
    """Evaluate an IFCE at every position of the stack.

    Parameters
    ----------
    latents : int8[]
        All grids of the stack, coarsest first, one after the other.
    table : int64[C, 3]
        Start in ``latents``, height and width of every grid.
    weight : int64[C, F]
        Rows as in ``table``.
    bias : int64[F]
    sums : int64[2, w, F]
        Scratch.
    doublings : int64[C]
        Zeros, for the number of size doublings between each grid and the finest one.
    values : float32[h, w, F]
        Output; (h, w) is the size of the last grid.

    Returns
    -------
    float
        Largest magnitude among the values.
    """
    n_grids, n_features = weight.shape
    height, width = values.shape[0], values.shape[1]
    for j in range(n_grids - 2, -1, -1):
        same = table[j, 1] == table[j + 1, 1] and table[j, 2] == table[j + 1, 2]
        doublings[j] = doublings[j + 1] + (0 if same else 1)
    maximum = 0.0
    for y in range(height):
        for x in range(table[0, 2]):
            for f in range(n_features):
                sums[1, x, f] = bias[f]
        for j in range(n_grids):
            coarse, fine = sums[(j + 1) & 1], sums[j & 1]
            step = doublings[max(j - 1, 0)] - doublings[j]
            row = table[j, 0] + (y >> doublings[j]) * table[j, 2]
            for x in range(table[j, 2]):
                latent = np.int64(latents[row + x])
                for f in range(n_features):
                    fine[x, f] = coarse[x >> step, f] + latent * weight[j, f]
        last = sums[(n_grids - 1) & 1]
        for x in range(width):
            for f in range(n_features):
                value = np.float32(last[x, f] >> 8)
                values[y, x, f] = value
                maximum = max(maximum, abs(float(value)))
    return maximum
