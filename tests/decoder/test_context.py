# SPDX-License-Identifier: BSD-3-Clause
"""Contexts and coding order against the plain walk over a grid."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from numchic.v5.context import (
    NEIGHBOURS,
    ROW_DELAY,
    max_batch,
    n_times,
    new_history,
    read_contexts,
    rows_of_time,
    write_samples,
)
from reference import context as naive

OFFSETS = np.array(NEIGHBOURS, np.int64)

# Corners, both sides of the change from raster to wavefront order, and sizes whose times wrap
# around the history of 64 rows.
SIZES = [
    (1, 1), (1, 9), (1, 10), (1, 11), (1, 150), (7, 1), (90, 1), (3, 2), (4, 8), (30, 9), (30, 10),
    (30, 11), (9, 19), (9, 20), (9, 21), (2, 130), (25, 77), (70, 13),
]  # fmt: skip


def samples_of_times(height: int, width: int) -> Iterator[tuple[int, int, int]]:
    """Every time, its first row, and its number of samples."""
    for t in range(n_times(height, width)):
        first, n = rows_of_time(t, height, width)
        yield t, first, n


def test_neighbours_are_those_of_the_format() -> None:
    assert naive.NEIGHBOURS == NEIGHBOURS


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_times_give_the_coding_order(height: int, width: int) -> None:
    times = list(samples_of_times(height, width))
    order = [(y, t - ROW_DELAY * y) for t, first, n in times for y in range(first, first + n)]
    assert order == list(naive.coding_order(height, width))
    assert max(n for _, _, n in times) == max_batch(height, width)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_history_gives_the_contexts(height: int, width: int) -> None:
    # Without zeros, so that a cell outside the grid cannot be mistaken for one inside.
    grid = np.random.default_rng(width).integers(1, 64, (height, width))
    rows: list[list[int]] = grid.tolist()
    lanes = max_batch(height, width) + 3
    history = new_history(height, lanes)
    inputs = np.full((len(OFFSETS), lanes), np.nan)
    for t, first, n in samples_of_times(height, width):
        places = [(y, t - ROW_DELAY * y) for y in range(first, first + n)]
        read_contexts(history, t, first, OFFSETS, n, inputs)
        expected = [naive.spatial_context(rows, y, x, len(OFFSETS)) for y, x in places]
        assert inputs[:, :n].T.tolist() == expected
        write_samples(history, t, first, n, np.array([rows[y][x] for y, x in places], np.int64))


@pytest.mark.parametrize("n_neighbours", [1, 2, 39])
def test_fewer_neighbours_are_the_first_ones(n_neighbours: int) -> None:
    history = new_history(6, 8)
    history[:] = np.random.default_rng(0).integers(-64, 64, history.shape)
    every, some = np.zeros((2, len(OFFSETS), 8))
    read_contexts(history, 57, 2, OFFSETS, 8, every)
    read_contexts(history, 57, 2, OFFSETS[:n_neighbours], 8, some)
    assert np.array_equal(some[:n_neighbours], every[:n_neighbours])
    assert not some[n_neighbours:].any()
