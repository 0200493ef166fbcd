# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from bitstream.exp_safety import SHORT, changes
from numchic_bitstream.arrays import I64
from numchic_bitstream.v5.laplace import (
    MAX_SYMBOL,
    MIN_SYMBOL,
    N_MU,
    N_SCALES,
    TOTAL,
    decay_table,
    left,
    mu_table,
    nearest_symbols,
    scale_table,
)
from reference import laplace as naive
from strategies import COMPILED
from vectors import MISSING, shared_folder

SCALES = scale_table().astype(np.float64)
plain_left = getattr(left, "py_func", left)
all_lefts = np.vectorize(left, otypes=[np.int64])


# --- Tables, section 8.1 -----------------------------------------------------------------------


@pytest.mark.parametrize("table", [mu_table, scale_table, decay_table])
def test_tables_are_read_only(table: Callable[[], NDArray[Any]]) -> None:
    with pytest.raises(ValueError, match="read-only"):
        table()[0] = 0


@pytest.mark.parametrize(
    ("index", "pattern"),
    [(0, 0x3BDCC9FF), (1, 0x3BDDA738), (87, 0x3C1B1304), (1280, 0x3F800000), (2560, 0x431469C5)],
)
def test_check_values_of_the_scale_table(index: int, pattern: int) -> None:
    assert scale_table().view(np.uint32)[index] == pattern


def test_digests_of_the_tables() -> None:
    scales = scale_table().astype("<f4").tobytes()
    both = mu_table().astype("<f4").tobytes() + scales
    assert hashlib.sha256(scales).hexdigest() == (
        "b4b2e7088698f43e7c43134f6488f8d060a6199acd1d6a477f6fa423d1bf2e4b"
    )
    assert hashlib.sha256(both).hexdigest() == (
        "120b06d22c04b5ea4321614095b80d02bdc19fa45ab11d960d98663cd2453e4c"
    )


def test_tables_equal_the_naive_ones() -> None:
    assert np.array_equal(mu_table(), naive.MU)
    assert np.array_equal(scale_table(), naive.SCALE)


# --- Cumulative counts, section 8.2 ------------------------------------------------------------


def test_counts_equal_the_shared_table() -> None:
    shared = shared_folder()
    if shared is None:
        pytest.skip(MISSING)
    table = np.load(shared / "vectors" / "v5" / "entropy" / "laplace_cumulative.npz")
    mu_index, scale_index = table["mu_index"], table["log_scale_index"]
    assert np.array_equal(mu_table()[mu_index], table["mu"])
    assert np.array_equal(scale_table()[scale_index], table["scale"])
    every = slice(None) if COMPILED else slice(None, None, 20)
    counts = all_lefts(np.arange(-64, 65), mu_index[every, None], SCALES[scale_index[every, None]])
    assert np.array_equal(counts, table["cumulative"][every])


@pytest.mark.parametrize("function", [left, plain_left], ids=["kernel", "plain"])
@given(st.integers(-64, 64), st.integers(0, N_MU - 1), st.integers(0, N_SCALES - 1))
def test_left_equals_the_naive_twin(
    function: Callable[[int, int, float], int], symbol: int, mu_index: int, scale_index: int
) -> None:
    expected = naive.left(symbol, mu_index, scale_index)
    assert function(symbol, mu_index, SCALES[scale_index]) == expected


@pytest.mark.parametrize("mu_index", [0, 1, 127, 128, 16384, 16500, 32639, 32640, 32767])
@pytest.mark.parametrize("scale_index", [0, 87, 1280, 2560])
def test_every_symbol_has_a_count(mu_index: int, scale_index: int) -> None:
    counts = all_lefts(np.arange(MIN_SYMBOL, MAX_SYMBOL + 2), mu_index, SCALES[scale_index])
    assert (counts[0], counts[-1]) == (0, TOTAL)
    assert np.diff(counts).min() >= 1


def test_counts_outside_the_alphabet() -> None:
    assert left(MIN_SYMBOL - 3, 16384, 1.0) == 0
    assert left(MAX_SYMBOL + 3, 16384, 1.0) == TOTAL


# --- Bounds computed ahead ---------------------------------------------------------------------


def nearest(mu_index: I64, scale_index: I64) -> tuple[I64, I64]:
    found, lefts = np.empty(mu_index.size, np.int64), np.empty((4, mu_index.size), np.int64)
    nearest_symbols(mu_index, scale_index, decay_table(), mu_index.size, found, lefts)
    return found, lefts


def check_nearest(mu_indices: range, scale_indices: range) -> None:
    mu_index, scale_index = (
        array.ravel() for array in np.meshgrid(mu_indices, scale_indices, indexing="ij")
    )
    found, lefts = nearest(mu_index, scale_index)
    assert np.array_equal(found, np.floor(mu_table()[mu_index] + 0.5))
    for offset in range(4):
        expected = all_lefts(found + offset - 1, mu_index, SCALES[scale_index])
        assert np.array_equal(lefts[offset], expected)


def test_nearest_symbols_for_every_fraction_and_scale() -> None:
    """The counts depend on the whole part of mu only by an added integer."""
    check_nearest(range(16384, 16384 + 256), range(0, N_SCALES, 1 if COMPILED else 16))


@pytest.mark.parametrize("edge", [range(768), range(N_MU - 768, N_MU)], ids=["lowest", "highest"])
def test_nearest_symbols_at_the_ends_of_the_alphabet(edge: range) -> None:
    check_nearest(edge[:: 1 if COMPILED else 8], range(0, N_SCALES, 20 if COMPILED else 320))


@given(
    st.lists(
        st.tuples(st.integers(0, N_MU - 1), st.integers(0, N_SCALES - 1)), min_size=1, max_size=20
    )
)
def test_plain_nearest_symbols_equal_the_kernel(models: list[tuple[int, int]]) -> None:
    mu_index, scale_index = np.array(models, np.int64).T.copy()
    found, lefts = nearest(mu_index, scale_index)
    n = mu_index.size
    plain_found, plain_lefts = np.empty(n, np.int64), np.empty((4, n), np.int64)
    plain = getattr(nearest_symbols, "py_func", nearest_symbols)
    plain(mu_index, scale_index, decay_table(), n, plain_found, plain_lefts)
    assert np.array_equal(plain_found, found)
    assert np.array_equal(plain_lefts, lefts)


# --- Safety of the exponential, section 8.2 ----------------------------------------------------


def test_counts_do_not_depend_on_the_exponential() -> None:
    """The short form; ``exp_safety.py`` does all scales."""
    assert changes(SHORT, bits=48) == []


def test_the_margin_is_not_larger() -> None:
    assert changes([2286], bits=47) == [(2286, 6308, "below"), (2286, 6308, "above")]
