# SPDX-License-Identifier: BSD-3-Clause
"""The proof that float64 and int64 are exact where they are used (coolchic-5, section 5.5).

The magnitudes of the terms of an accumulator add up to at most ``accumulator_bound``. If that is
less than 2**53 (2**63), no partial sum in any order leaves 53 (63) bits. Here parameters are made
such that the bound lies exactly on either side of a threshold, and both kernels are compared with
Python's integers for the inputs that come nearest to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import builders
from numchic.v5.arm import FixedArm, IntArm, _pad_to_float, evaluate_float, evaluate_int
from numchic.v5.ifce import FeatureMap, feature_map
from numchic_bitstream import CorruptError
from numchic_bitstream.v5.derived import Grid
from numchic_bitstream.v5.headers import MAX_Q_STEP
from numchic_bitstream.v5.parameters import Layer

Indices = tuple[int, int]

# The largest bound that a kernel may have, and the smallest that it may not.
FLOAT_LIMIT = (1 << 53) - 1
INT_LIMIT = (1 << 63) - 1


def exactly(arm: IntArm, sample: Sequence[int]) -> tuple[Indices, int]:
    """Indices in Python's integers, and the largest sum of magnitudes of any accumulator."""
    largest = 0

    def total(bias: int, *products: tuple[list[int], Sequence[int]]) -> int:
        nonlocal largest
        terms = [bias]
        for weights, values in products:
            terms += [w * v for w, v in zip(weights, values, strict=True)]
        largest = max(largest, sum(map(abs, terms)))
        return sum(terms)

    x: list[int] = list(sample)
    for weight, bias, shift in zip(
        arm.hidden_weight.tolist(), arm.hidden_bias.tolist(), arm.hidden_shift.tolist(), strict=True
    ):
        sums = [total(b, (row, x)) for row, b in zip(weight, bias, strict=True)]
        x = [max(value, 0) >> shift for value in sums]
    direct, output, bias = (
        array.tolist() for array in (arm.direct_weight, arm.output_weight, arm.output_bias)
    )
    mu, scale = (
        total(bias[o], (direct[o], sample), (output[o], x)) >> arm.output_shift for o in range(2)
    )
    return (min(max(mu + 16384, 0), 32767), min(max(scale + 1280, 0), 2560)), largest


def by_kernel(fixed: FixedArm, samples: list[list[int]], *, exact: bool) -> list[Indices]:
    width, padded = fixed.exact.direct_weight.shape[1], fixed.fast.direct_weight.shape[1]
    lanes = -(-len(samples) // 8) * 8
    inputs = np.zeros((padded, lanes))
    inputs[:width, : len(samples)] = np.array(samples, np.float64).T
    indices = np.zeros((2, lanes), np.int64)
    if exact:
        sums = np.empty((2, fixed.exact.direct_weight.shape[1]), np.int64)
        evaluate_int(fixed.exact, inputs, len(samples), sums, indices[0], indices[1])
    else:
        scratch = np.empty((2, padded, lanes))
        evaluate_float(fixed.fast, inputs, lanes, scratch, indices[0], indices[1])
    return [(mu, scale) for mu, scale in indices[:, : len(samples)].T.tolist()]


def fixed_arm(arm: IntArm, n_spatial: int) -> FixedArm:
    return FixedArm(arm, _pad_to_float(arm), n_spatial)


class Case:
    """An ARM whose bound is a given number, because one bias has been chosen for it."""

    def __init__(self, data: st.DataObject, bound: int) -> None:
        def number(lowest: int, highest: int) -> int:
            return data.draw(st.integers(lowest, highest))

        self.n_spatial, n_features, n_hidden = number(1, 6), number(0, 3), number(0, 3)
        width = self.n_spatial + n_features
        self.max_feature = number(0, 1 << number(0, 24)) if n_features else 0
        rng = np.random.default_rng(number(0, 9999))

        def array(*shape: int) -> NDArray[np.object_]:
            size = 1 << number(0, bound.bit_length() - 9)
            return rng.integers(-size, size, shape, np.int64, endpoint=True).astype(object)

        output_weight = array(2, width) * (n_hidden > 0)
        hidden_bias, output_bias = array(n_hidden, width), array(2)
        # Python's integers until the bias is chosen.
        wide: list[Any] = [
            array(n_hidden, width, width),
            hidden_bias,
            np.array([0, *[number(0, 8)] * (n_hidden - 1)] if n_hidden else [], np.int64),
            output_weight,
            array(2, width),
            output_bias,
            number(8, 16),
        ]
        arm = IntArm(*wide)
        assume(self.bound_of(arm) < bound)
        # The bias of an output or of a unit of the last hidden layer takes up what is missing.
        unit = number(0, width - 1)
        biases, i = (output_bias, number(0, 1))
        if n_hidden and data.draw(st.booleans()):
            biases, i = hidden_bias[-1], unit
            output_weight[:, unit] = 0
        sign = -1 if biases[i] < 0 else 1
        biases[i] += sign * bound
        biases[i] -= sign * (self.bound_of(arm) - bound)
        assert self.bound_of(arm) == bound
        assume(abs(biases[i]) <= INT_LIMIT)
        narrow: list[Any] = [np.asarray(array, np.int64) for array in arm[:-1]]
        exact = IntArm(*narrow, output_shift=arm.output_shift)  # type: ignore[misc]
        self.fixed = fixed_arm(exact, self.n_spatial)
        self.samples = self.worst_samples(exact, rng)

    def bound_of(self, arm: IntArm) -> int:
        unused: Any = None
        return FixedArm(arm, unused, self.n_spatial).accumulator_bound(self.max_feature)

    def worst_samples(self, arm: IntArm, rng: np.random.Generator) -> list[list[int]]:
        """Largest inputs, with the signs that make the terms of an accumulator add up; and any."""
        rows = np.concatenate([arm.direct_weight, *arm.hidden_weight[:1]])
        signs = np.concatenate([np.where(rows >= 0, 1, -1), rng.choice((-1, 1), rows.shape)])
        signs = np.concatenate([signs, -signs])
        scale = np.full(signs.shape, self.max_feature)
        scale[:, : self.n_spatial] = np.where(signs > 0, 63, 64)[:, : self.n_spatial]
        return (signs * scale).tolist()  # type: ignore[no-any-return]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("bound", [FLOAT_LIMIT, FLOAT_LIMIT + 1, INT_LIMIT, INT_LIMIT + 1])
def test_kernels_at_the_thresholds(bound: int, data: st.DataObject) -> None:
    case = Case(data, bound)
    if bound > INT_LIMIT:
        with pytest.raises(CorruptError, match="overflow"):
            case.fixed.fits_float64(case.max_feature, 0)
        return
    expected, largest = zip(*(exactly(case.fixed.exact, s) for s in case.samples), strict=True)
    assert max(largest) <= bound
    assert by_kernel(case.fixed, case.samples, exact=True) == list(expected)
    assert case.fixed.fits_float64(case.max_feature, 0) == (bound <= FLOAT_LIMIT)
    if bound <= FLOAT_LIMIT:
        assert by_kernel(case.fixed, case.samples, exact=False) == list(expected)


def one_layer(weights: list[int], bias: int) -> FixedArm:
    """No hidden layer; mu is (weights @ inputs + bias) >> 8."""
    n = len(weights)
    arm = IntArm(
        np.zeros((0, n, n), np.int64),
        np.zeros((0, n), np.int64),
        np.zeros(0, np.int64),
        np.zeros((2, n), np.int64),
        np.array([weights, [0] * n]),
        np.array([bias, 0]),
        8,
    )
    return fixed_arm(arm, n)


def test_the_bound_is_needed() -> None:
    """Float64 does not have 2**53 + 1."""
    fixed = one_layer([(1 << 53) + 1, -(1 << 53)], -1)
    sample = [1, 1]
    assert exactly(fixed.exact, sample)[0] == (16384, 1280)
    assert not fixed.fits_float64(0, 0)
    assert by_kernel(fixed, [sample], exact=True) == [(16384, 1280)]
    assert by_kernel(fixed, [sample], exact=False) == [(16383, 1280)]


@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_sum_is_reached(sign: int) -> None:
    """Both kernels hold the largest number they are ever given."""
    for limit, exact in ((FLOAT_LIMIT, False), (FLOAT_LIMIT, True), (INT_LIMIT, True)):
        weight = -sign * (limit // 128)
        bias = sign * (limit - 64 * abs(weight))
        fixed = one_layer([weight], bias)
        assert fixed.accumulator_bound(0) == limit
        expected, largest = exactly(fixed.exact, [-64])
        assert largest == limit
        assert expected[0] == (32767 if sign > 0 else 0)
        assert by_kernel(fixed, [[-64]], exact=exact) == [expected]


# --- IFCE --------------------------------------------------------------------------------------


def features(weights: list[int], bias: int, latents: list[int]) -> FeatureMap:
    """One feature of grids of one sample, finest first; fractions of weights have 8 bits."""
    header = builders.header(
        output_feature_ifce=1, nn_q_step=MAX_Q_STEP._replace(ifce_weight=0, ifce_bias=0)
    )
    layer = Layer(np.array([weights]), np.array([bias]))
    decoded = [(Grid(0, False, 1, 1), np.full((1, 1), latent, np.int8)) for latent in latents]
    return feature_map(header, layer, decoded)


@settings(deadline=None)
@given(
    weights=st.lists(st.integers(-(1 << 40), 1 << 40), min_size=1, max_size=5),
    signs=st.integers(0, 31),
    negative=st.booleans(),
)
@pytest.mark.parametrize("bound", [INT_LIMIT, INT_LIMIT + 1])
def test_ifce_at_the_threshold(bound: int, weights: list[int], signs: int, negative: bool) -> None:
    latents = [-64 if signs >> i & 1 else 63 for i in range(len(weights))]
    rest = sum(abs(w * u) for w, u in zip(weights, latents, strict=True)) << 8
    bias = -(bound - rest) if negative else bound - rest
    if bound > INT_LIMIT:
        assume(abs(bias) <= INT_LIMIT)
        with pytest.raises(CorruptError, match="overflow"):
            features(weights, bias, latents)
        return
    exact = (sum(w * u for w, u in zip(weights, latents, strict=True)) << 8) + bias
    assert features(weights, bias, latents).values.item() == float(np.float32(exact >> 8))
