# SPDX-License-Identifier: BSD-3-Clause
"""Inter-feature context (IFCE): specification, sections 5.1, 5.3, 6.2 and 6.3.

Grids and maps are nested lists of Python integers, [row][column].
"""

from __future__ import annotations

from collections.abc import Sequence

from .arm import Layer, Matrix, Vector

Grid = list[list[int]]


def fixed_parameters(qw: Matrix, qb: Vector, sw: int, sb: int) -> Layer:
    """Section 5.1 for one IFCE: no identity, no offset."""
    weight = [[int(q) << (16 - sw) for q in row] for row in qw]
    return Layer(weight, [int(q) << (32 - sb) for q in qb])


def round_to_float32(f: int) -> int:
    """The integer nearest to f that binary32 can represent, ties to even."""
    magnitude = abs(f)
    excess = magnitude.bit_length() - 24
    if excess <= 0:
        return f
    kept, rest = divmod(magnitude, 1 << excess)
    half = 1 << (excess - 1)
    if rest > half or (rest == half and kept % 2 == 1):
        kept += 1
    magnitude = kept << excess
    return magnitude if f > 0 else -magnitude


def evaluate(u: Sequence[int], layer: Layer) -> list[int]:
    """Section 5.3: the F features of one position."""
    features = []
    for row, bias in zip(layer.weight, layer.bias, strict=True):
        total = bias + sum((int(a) << 16) * w for a, w in zip(u, row, strict=True))
        features.append(round_to_float32(total >> 24))
    return features


def up(a: Grid, h: int, w: int) -> Grid:
    """Section 6.2: nothing if a has that size, else doubled by repetition and trimmed."""
    if len(a) == h and len(a[0]) == w:
        return a
    return double(a, h, w)


def double(a: Grid, h: int, w: int) -> Grid:
    """Doubled by repetition, always, and trimmed to (h, w)."""
    if 2 * len(a) < h or 2 * len(a[0]) < w:
        raise ValueError("a doubled grid does not cover the next finer one")
    return [[a[y // 2][x // 2] for x in range(w)] for y in range(h)]


def stack(k: int, grids: Sequence[Grid]) -> list[Grid]:
    """Section 6.2: U_k, from the grids k+1 .. n-1 of the list."""
    n = len(grids)
    if k == n - 2:
        return [grids[n - 1]]
    finest = grids[k + 1]
    h, w = len(finest), len(finest[0])
    return [finest] + [up(channel, h, w) for channel in stack(k + 1, grids)]


def feature_map(
    k: int, grids: Sequence[Grid], h: int, w: int, n_features: int, layer: Layer | None
) -> list[Grid]:
    """Section 6.3: the feature maps [F][h][w] of grid k, which has size h x w.

    grids is the whole list, finest first, of which the entries k+1 .. n-1 are used; layer is the
    fixed-point IFCE of grid k, None if it has none.
    """
    if layer is None:
        return [[[0] * w for _ in range(h)] for _ in range(n_features)]
    if k == len(grids) - 1:
        constants = evaluate([0], layer)
        return [[[constant] * w for _ in range(h)] for constant in constants]
    channels = stack(k, grids)
    coarse_h, coarse_w = len(channels[0]), len(channels[0][0])
    values = [
        [evaluate([channel[y][x] for channel in channels], layer) for x in range(coarse_w)]
        for y in range(coarse_h)
    ]
    maps = []
    for o in range(n_features):
        g = [[values[y][x][o] for x in range(coarse_w)] for y in range(coarse_h)]
        maps.append(double(g, h, w))
    return maps
