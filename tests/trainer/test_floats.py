# SPDX-License-Identifier: BSD-3-Clause
"""Exponents of float32 numbers and polynomials made with them, and plain functions."""

from __future__ import annotations

import numpy as np
import pytest

from numchic_bitstream.arrays import F32
from numchic_bitstream.kernels import kernel
from numchic_trainer.kernels import floats
from numchic_trainer.kernels.elementary import exp, log2
from numchic_trainer.kernels.floats import exponent, fraction, power_of_two


@kernel(allocates=True)
def parts(x: F32) -> F32:
    """Exponent, fraction and the power of two that makes the number of them."""
    result = np.empty((3, x.size), np.float32)
    for k in range(x.size):
        result[0, k] = exponent(x[k])
        result[1, k] = fraction(x[k])
        result[2, k] = power_of_two(result[0, k])
    return result


@pytest.mark.parametrize("scale", [2.0**-126, 1e-30, 0.1, 1.0, 3.0, 1e38])
def test_parts(scale: float) -> None:
    x = (scale * (1.0 + np.random.default_rng(0).random(100))).astype(np.float32)
    exponents, fractions, powers = parts(x)
    assert ((fractions >= 1.0) & (fractions < 2.0)).all()
    assert np.array_equal(fractions * powers, x)
    plain = [[f(number) for number in x] for f in (floats._exponent, floats._fraction)]
    assert np.array_equal(plain, [exponents, fractions])
    assert np.array_equal([floats._power_of_two(n) for n in exponents], powers)


@kernel()
def elementary(x: F32, y: F32) -> None:
    for k in range(x.size):
        y[0, k], y[1, k] = exp(x[k])
        y[2, k] = log2(y[0, k])


def test_elementary_functions() -> None:
    x = np.linspace(-87, 87, 10_001, dtype=np.float32)
    y = np.empty((3, x.size), np.float32)
    elementary(x, y)
    wide = x.astype(np.float64)
    np.testing.assert_allclose(y[0], np.exp(wide), rtol=1.2e-7)
    np.testing.assert_allclose(y[1], -np.expm1(wide), rtol=2.4e-7)
    np.testing.assert_allclose(y[2], np.log2(y[0].astype(np.float64)), rtol=2.4e-7, atol=1e-9)


def test_nan_has_no_exponential() -> None:
    x, y = np.full(40, np.nan, np.float32), np.empty((3, 40), np.float32)
    elementary(x, y)
    assert np.isnan(y[:2]).all()
