# SPDX-License-Identifier: BSD-3-Clause
"""Exponents of float32 numbers, and the plain functions that say what they are."""

from __future__ import annotations

import numpy as np
import pytest

from numchic_bitstream.arrays import F32
from numchic_bitstream.kernels import kernel
from numchic_trainer.kernels import floats
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
