# SPDX-License-Identifier: BSD-3-Clause
"""Resize against its plain twin, bit for bit, and against interpolation kernels in float64."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from numchic.v5.resize import resize, resize_rows
from numchic_bitstream.v5.headers import Resize
from reference.resize import resize as naive_resize

KINDS: tuple[Resize, ...] = get_args(Resize)
SIZES = st.tuples(st.integers(1, 12), st.integers(1, 12))


def random_picture(n_channels: int, size: tuple[int, int], seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(n_channels, *size)).astype(np.float32)


def interpolation_matrix(n: int, m: int, kind: Resize) -> NDArray[np.float64]:
    """The m x n matrix of one axis, from the interpolation kernel as a function of distance."""
    position = (np.arange(m)[:, None] + 0.5) * n / m - 0.5
    taps = np.arange(-3, n + 3)
    if kind == "nearest":
        weights = np.equal(taps, np.arange(m)[:, None] * n // m).astype(float)
    elif kind == "bilinear":
        weights = np.maximum(1 - np.abs(position - taps), 0)
    else:
        d = np.abs(position - taps)
        inner = 1.25 * d**3 - 2.25 * d**2 + 1
        outer = -0.75 * (d**3 - 5 * d**2 + 8 * d - 4)
        weights = np.where(d <= 1, inner, np.where(d < 2, outer, 0))
    matrix = np.zeros((m, n))
    np.add.at(matrix.T, np.clip(taps, 0, n - 1), weights.T)  # samples outside repeat the edge
    return matrix


@settings(max_examples=60, deadline=None)
@given(before=SIZES, after=SIZES, kind=st.sampled_from(KINDS), seed=st.integers(0, 99))
def test_equals_the_naive_twin(
    before: tuple[int, int], after: tuple[int, int], kind: Resize, seed: int
) -> None:
    picture = random_picture(2, before, seed)
    resized = resize(picture, after, kind)
    assert resized.dtype == np.float32
    assert np.array_equal(resized, naive_resize(picture, after, kind))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 2, 3, 7, 31])
@pytest.mark.parametrize("m", [1, 2, 5, 14, 62, 61])
def test_is_an_interpolation(n: int, m: int, kind: Resize) -> None:
    picture = random_picture(1, (n, 4))
    expected = interpolation_matrix(n, m, kind) @ picture[0] @ interpolation_matrix(4, 6, kind).T
    np.testing.assert_allclose(resize(picture, (m, 6), kind)[0], expected, rtol=1e-4, atol=1e-4)


@settings(max_examples=60, deadline=None)
@given(before=SIZES, after=SIZES, kind=st.sampled_from(KINDS), n_rows=st.integers(1, 5))
def test_bands_are_rows_of_the_whole(
    before: tuple[int, int], after: tuple[int, int], kind: Resize, n_rows: int
) -> None:
    assume(before != after)
    picture = random_picture(2, before)
    whole = resize(picture, after, kind)
    for first in range(0, after[0], n_rows):
        n = min(n_rows, after[0] - first)
        band = resize_rows(picture, after, kind, first, n)
        assert np.array_equal(band, whole[:, first : first + n])


@pytest.mark.parametrize("kind", KINDS)
def test_same_size_is_the_identity(kind: Resize) -> None:
    picture = random_picture(3, (5, 6))
    assert resize(picture, (5, 6), kind) is picture


def test_an_unchanged_axis_is_filtered_as_well() -> None:
    # The bicubic coefficients of an integer position are 0 and 1, which is invisible except for
    # the rounding of a sum and for the bounds of its taps.
    picture = random_picture(2, (5, 6))
    for kind in KINDS:
        for size in ((5, 9), (9, 6)):
            assert np.array_equal(resize(picture, size, kind), naive_resize(picture, size, kind))


@pytest.mark.parametrize(("n", "m"), [(1023, 4090), (2731, 16383), (5461, 10923), (7, 16383)])
@pytest.mark.parametrize("kind", KINDS)
def test_large_sizes_round_positions_to_float32(n: int, m: int, kind: Resize) -> None:
    picture = np.arange(n, dtype=np.float32).reshape(1, 1, n)
    assert np.array_equal(resize(picture, (1, m), kind), naive_resize(picture, (1, m), kind))
