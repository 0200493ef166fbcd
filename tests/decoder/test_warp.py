# SPDX-License-Identifier: BSD-3-Clause
"""Warping: the plain twin, worked coefficients, shifts, edges, and vectors of any length."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numchic.v5.warp import sinc_coefficients, warp_rows
from numchic_bitstream.arrays import F32
from reference.warp import sinc_coefficients as naive_coefficients
from reference.warp import warp as naive_warp

SIZES = (2, 4, 6, 8, 10, 12, 14)


def warp(reference: F32, flow: F32, k: int, first: int = 0, n_rows: int | None = None) -> F32:
    """Warp rows of three channels."""
    _, height, width = reference.shape
    padded = np.zeros((height, width, 4), np.float32)
    padded[:, :, :3] = np.moveaxis(reference, 0, 2)
    out = np.full((3, height if n_rows is None else n_rows, width), np.nan, np.float32)
    warp_rows(padded, np.ascontiguousarray(flow, np.float32), k, first, out)
    return out


def picture(size: tuple[int, int], seed: int = 0) -> F32:
    return np.random.default_rng(seed).random((3, *size), np.float32)


def field(size: tuple[int, int], seed: int, spread: float, block: int) -> F32:
    """Vectors of any length, the same within blocks."""
    random = np.random.default_rng(seed)
    blocks = random.normal(0, spread, (2, -(-size[0] // block), -(-size[1] // block)))
    whole = blocks.astype(np.float32).repeat(block, 1).repeat(block, 2)
    return np.ascontiguousarray(whole[:, : size[0], : size[1]])


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    k=st.sampled_from(SIZES),
    spread=st.sampled_from((0.0, 0.3, 3.0, 40.0)),
    block=st.sampled_from((1, 2, 4)),
    seed=st.integers(0, 99),
)
def test_equals_the_naive_twin(
    size: tuple[int, int], k: int, spread: float, block: int, seed: int
) -> None:
    reference, flow = picture(size, seed), field(size, seed, spread, block)
    found, expected = warp(reference, flow, k), naive_warp(reference, flow, k)
    if k < 6:
        assert np.array_equal(found, expected)
    else:
        # Coefficients may differ in the last place.
        assert np.allclose(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("k", SIZES[2:])
def test_sinc_coefficients(k: int) -> None:
    found = np.empty(k, np.float32)
    for s in (*np.linspace(0, 1, 257), 1e-7, 1 - 2**-24, 2**-30):
        fraction = np.float32(s)
        sinc_coefficients(float(fraction), found)
        expected = np.array(naive_coefficients(fraction, k))
        assert np.abs(found - expected).max() <= 6e-8
    sinc_coefficients(0.0, found)
    assert found.tolist() == [float(j == k // 2 - 1) for j in range(k)]
    sinc_coefficients(1.0, found)
    assert found.tolist() == [float(j == k // 2) for j in range(k)]


def test_worked_coefficients() -> None:
    """Section 13.3: k = 8, s = 0.5."""
    found = np.empty(8, np.float32)
    sinc_coefficients(0.5, found)
    half = [-0.01774262, 0.0707374, -0.17644333, 0.6243873]
    assert found.tolist() == pytest.approx(half + half[::-1], abs=5e-8)


@pytest.mark.parametrize("k", SIZES)
def test_whole_vectors_are_shifts(k: int) -> None:
    reference = picture((12, 17))
    flow = np.empty((2, 12, 17), np.float32)
    flow[0], flow[1] = 3, -2
    rows, columns = np.clip(np.arange(12) - 2, 0, 11), np.clip(np.arange(17) + 3, 0, 16)
    expected = reference[:, rows][:, :, columns]
    # For k < 6 positions go through coordinates in -1 .. 1.
    assert np.abs(warp(reference, flow, k) - expected).max() <= (0 if k >= 6 else 3e-6)


@pytest.mark.parametrize("k", SIZES)
def test_rows_in_any_bands(k: int) -> None:
    """What is reused from the row above changes nothing."""
    size = (11, 13)
    reference, flow = picture(size), field(size, 5, 2.0, 4)
    whole = warp(reference, flow, k)
    for first in range(0, 11, 3):
        n_rows = min(3, 11 - first)
        band = warp(reference, flow, k, first, n_rows)
        assert np.array_equal(band, whole[:, first : first + n_rows])


@pytest.mark.parametrize("k", SIZES)
@pytest.mark.parametrize("size", [(1, 7), (7, 1), (1, 1)])
def test_one_row_or_column(k: int, size: tuple[int, int]) -> None:
    """The official decoder gives NaN for k = 4 there; position 0 is what the formulas say."""
    reference = picture(size)
    found = warp(reference, field(size, 1, 3.0, 1), k)
    assert np.isfinite(found).all()
    assert np.abs(found).max() <= 2


@pytest.mark.parametrize("k", SIZES)
@pytest.mark.parametrize("length", [1e3, 2.0**24, 1e12, 1e30, 1.5e38])
@pytest.mark.parametrize("sign", [-1, 1])
def test_vectors_beyond_everything_see_the_edge(k: int, length: float, sign: int) -> None:
    reference = picture((6, 9))
    flow = np.full((2, 6, 9), sign * length, np.float32)
    corner = reference[:, -1, -1] if sign > 0 else reference[:, 0, 0]
    assert np.allclose(warp(reference, flow, k), corner[:, None, None], atol=0.01)


def test_tiny_negative_vectors() -> None:
    """Their fraction rounds to 1."""
    reference = picture((5, 5))
    flow = np.full((2, 5, 5), -1e-12, np.float32)
    for k in SIZES[2:]:
        assert np.array_equal(warp(reference, flow, k), reference)
