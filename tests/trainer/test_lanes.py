# SPDX-License-Identifier: BSD-3-Clause
"""Sixteen numbers side by side, and products made of them, against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from numchic_bitstream.arrays import F32, F64
from numchic_bitstream.kernels import describe, kernel
from numchic_trainer.kernels import lanes
from numchic_trainer.kernels.lanes import (
    LANES,
    accumulate,
    first,
    fma,
    interleave,
    load,
    plus,
    save,
    save_first,
    separate,
    spread,
    where_positive,
    zeros,
)
from numchic_trainer.kernels.products import (
    LINEAR,
    MASK,
    RELU,
    add_folded,
    add_outer,
    multiply,
    padded,
)


@kernel()
def everything(x: F32, n: int, y: F32, sums: F64) -> None:
    """Put one result after another into y."""
    a, b = load(x, 1), load(x, 20)
    save(fma(a, b, spread(x, 5)), y, 0)
    save(plus(a, zeros()), y, 16)
    save(where_positive(a, b), y, 32)
    low, high = interleave(a, b)
    save(low, y, 48)
    save(high, y, 64)
    even, odd = separate(a, b)
    save(even, y, 80)
    save(odd, y, 96)
    save(first(a, n), y, 112)
    save_first(b, y, 128, n)
    accumulate(a, sums, 3)


@kernel()
def copy_sixteen(x: F32, y: F32) -> None:
    save(load(x, 0), y, 0)


@pytest.mark.parametrize("n", [-1, 0, 1, 7, 16, 40])
def test_every_operation(n: int) -> None:
    x = np.random.default_rng(4).normal(size=40).astype(np.float32)
    found, sums = np.zeros(144, np.float32), np.ones(20)
    everything(x, n, found, sums)
    a, b = x[1:17], x[20:36]
    product = (a.astype(np.float64) * b + x[5]).astype(np.float32)
    both = np.concatenate([a, b])
    kept = np.arange(LANES) < n
    expected = [product, a, np.where(a > 0, b, 0), np.stack([a, b], 1).ravel()]
    expected += [both[::2], both[1::2], np.where(kept, a, 0), np.where(kept, b, 0)]
    np.testing.assert_array_equal(found, np.concatenate(expected))
    np.testing.assert_array_equal(sums, 1 + np.pad(a.astype(np.float64), (3, 1)))


def test_twins() -> None:
    a, b = np.random.default_rng(5).normal(size=(2, LANES)).astype(np.float32)
    low, high = lanes._interleave(a, b)
    np.testing.assert_array_equal(lanes._separate(low, high), (a, b))
    target = np.zeros(20, np.float32)
    lanes._save_first(a, target, 2, 3)
    lanes._save_first(lanes._plus(b, lanes._zeros()), target, 4, -3)
    np.testing.assert_array_equal(target[2:5], a[:3])
    assert not target[5:].any()
    np.testing.assert_array_equal(lanes._first(a, 3)[:4], [*a[:3], 0])
    sums = np.zeros(LANES)
    lanes._accumulate(lanes._where_positive(a, lanes._fma(a, b, a)), sums, 0)
    lanes._save(lanes._load(a, 0), target, 0)
    np.testing.assert_array_equal(target[:LANES], a)
    np.testing.assert_allclose(sums, np.where(a > 0, a * b + a, 0), atol=1e-6)
    assert (lanes._spread(a, 2) == a[2]).all()


@pytest.mark.parametrize(("rows", "inputs", "n"), [(4, 1, 32), (8, 7, 96), (12, 3, 64)])
def test_products(rows: int, inputs: int, n: int) -> None:
    random = np.random.default_rng(6)
    weight = random.normal(size=(rows, inputs + 1)).astype(np.float32)
    x = random.normal(size=(padded(inputs), n + 5)).astype(np.float32)
    mask = random.normal(size=(rows, n)).astype(np.float32)
    expected = weight[:, :-1] @ x[:inputs, 3 : n + 3] + weight[:, -1:]
    forms = {LINEAR: expected, RELU: np.maximum(expected, 0), MASK: expected * (mask > 0)}
    for form, result in forms.items():
        y = np.empty((rows, n), np.float32)
        flat = (weight.ravel(), rows, inputs, x.ravel(), 3, n + 5)
        multiply(*flat, y.reshape(-1), n, n, form, mask.ravel())
        np.testing.assert_allclose(y, result, atol=1e-5)
    parts, sums = np.zeros((rows, len(x), LANES)), np.ones(rows * len(x))
    shape = (n, rows, x.ravel(), 3, n + 5, len(x))
    add_outer(mask.ravel(), *shape, n, parts.reshape(-1), 0)
    add_folded(parts.reshape(-1), sums)
    outer = mask.astype(np.float64) @ x[:, 3 : n + 3].T
    np.testing.assert_allclose(sums.reshape(outer.shape), 1 + outer, atol=1e-4)


@pytest.mark.skipif(describe() == "python", reason="about compiled kernels")
def test_an_array_with_gaps_is_refused() -> None:
    x, y = np.ones((16, 2), np.float32), np.zeros(16, np.float32)
    copy_sixteen(x[:8].ravel(), y)
    assert (y == 1).all()
    wrong: list[Any] = [x[:, 0], x, np.ones(16)]
    for array in wrong:
        with pytest.raises(Exception, match="lanes are no part of"):
            copy_sixteen(array, y)
