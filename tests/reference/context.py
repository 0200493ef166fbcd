# SPDX-License-Identifier: BSD-3-Clause
"""Spatial neighbours and coding order: specification, sections 6.1 and 7."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

# (dy, dx) of the entries j = 0 .. 39.
NEIGHBOURS: tuple[tuple[int, int], ...] = (
    (0, -1),
    (-1, 0),
    (-1, -1),
    (-1, 1),
    (0, -2),
    (-2, 0),
    (-3, 0),
    (0, -3),
    (-1, -2),
    (-2, 1),
    (-2, -1),
    (-1, 2),
    (-2, -2),
    (-1, -3),
    (-2, 2),
    (-3, 1),
    (0, -4),
    (-1, 3),
    (-2, -3),
    (-2, 3),
    (-3, -1),
    (-3, -2),
    (-3, 2),
    (-4, 0),
    (-1, -4),
    (-4, -1),
    (-1, 4),
    (-2, 4),
    (-3, -3),
    (-3, 3),
    (-4, -2),
    (-4, 1),
    (-2, -4),
    (-3, -4),
    (-3, 4),
    (-4, -3),
    (-4, 2),
    (-4, 3),
    (-4, -4),
    (-4, 4),
)


def spatial_context(grid: Sequence[Sequence[int]], y: int, x: int, n: int) -> list[int]:
    """The first n neighbours of (y, x); 0 outside the grid."""
    h, w = len(grid), len(grid[0])
    context = []
    for dy, dx in NEIGHBOURS[:n]:
        inside = 0 <= y + dy < h and 0 <= x + dx < w
        context.append(grid[y + dy][x + dx] if inside else 0)
    return context


def coding_order(h: int, w: int) -> Iterator[tuple[int, int]]:
    """The (y, x) of a grid of size h x w in the order in which they are coded."""
    if w <= 9:
        for y in range(h):
            for x in range(w):
                yield y, x
    else:
        for t in range((w - 1) + 10 * (h - 1) + 1):
            for y in range(h):
                x = t - 10 * y
                if 0 <= x < w:
                    yield y, x
