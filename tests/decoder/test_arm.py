# SPDX-License-Identifier: BSD-3-Clause
"""The ARM kernels against the original form of section 5.2, and the bounds that choose one."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import builders
from numchic.v5.arm import FixedArm, IntArm, evaluate_float, evaluate_int, fix_arm
from numchic_bitstream.arrays import I64
from numchic_bitstream.errors import CorruptError
from numchic_bitstream.v5.headers import MAX_Q_STEP, CoolChicHeader
from numchic_bitstream.v5.parameters import ArmParameters, Layer
from reference import arm as naive

Indices = list[tuple[int, int]]

LANES = 64

# Spatial samples, IFCE features, hidden layers, stabiliser.
ARCHITECTURES = [
    (1, 0, 0, False),
    (2, 0, 0, False),  # D = 2: the identity is folded into the output layer as well
    (2, 0, 0, True),
    (1, 1, 0, True),
    (2, 0, 1, True),
    (1, 1, 2, False),
    (3, 0, 0, True),
    (3, 2, 0, True),
    (4, 0, 1, False),
    (3, 4, 1, True),
    (5, 3, 2, True),
    (1, 8, 3, True),
    (4, 1, 7, False),
    (12, 0, 2, True),
]


def arm_header(
    n_spatial: int, n_features: int, n_hidden: int, stabiliser: bool, sw: int, sb: int
) -> CoolChicHeader:
    """A header with this ARM, whose quantisation steps are 2**-sw and 2**-sb."""
    steps = MAX_Q_STEP._replace(arm_weight=8 - sw, arm_bias=16 - sb)
    return builders.header(
        spatial_context_arm=n_spatial,
        output_feature_ifce=n_features,
        n_hidden_layers_arm=n_hidden,
        linear_stabiliser_arm=int(stabiliser),
        nn_q_step=steps,
    )


def random_arm(
    header: CoolChicHeader, weight_bits: int, bias_bits: int, rng: np.random.Generator
) -> ArmParameters:
    """Parameters of magnitudes below 2**weight_bits and 2**bias_bits."""
    width = header.spatial_context_arm + header.output_feature_ifce

    def layer(n_outputs: int) -> Layer:
        weight = rng.integers(-1 << weight_bits, 1 << weight_bits, (n_outputs, width))
        return Layer(weight, rng.integers(-1 << bias_bits, 1 << bias_bits, n_outputs))

    return ArmParameters(
        hidden=tuple(layer(width) for _ in range(header.n_hidden_layers_arm)),
        output=layer(2),
        stabiliser=layer(2) if header.linear_stabiliser_arm else None,
    )


def random_inputs(
    header: CoolChicHeader, n: int, feature_bits: int, rng: np.random.Generator
) -> I64:
    """The inputs of n samples; features are numbers that float32 can hold."""
    latents = rng.integers(-64, 64, (n, header.spatial_context_arm))
    shape = (n, header.output_feature_ifce)
    features = rng.integers(-1 << feature_bits, 1 << feature_bits, shape).astype(np.float32)
    return np.concatenate([latents, features.astype(np.int64)], axis=1)


def by_kernel(fixed: FixedArm, samples: I64, *, exact: bool) -> Indices:
    n, width = samples.shape
    padded = fixed.fast.direct_weight.shape[1]
    inputs = np.zeros((padded, LANES))
    inputs[:width] = 7  # lanes beyond n may hold anything
    inputs[:width, :n] = samples.T
    indices = np.full((2, LANES), -1, np.int64)
    if exact:
        sums = np.empty((2, fixed.exact.direct_weight.shape[1]), np.int64)
        evaluate_int(fixed.exact, inputs, n, sums, indices[0], indices[1])
    else:
        scratch = np.full((2, padded, LANES), np.nan)
        evaluate_float(fixed.fast, inputs, LANES, scratch, indices[0], indices[1])
    return [(mu, scale) for mu, scale in indices[:, :n].T.tolist()]


def by_naive_twin(header: CoolChicHeader, parameters: ArmParameters, samples: I64) -> Indices:
    steps = header.derived.steps
    fixed = naive.fixed_parameters(
        [layer.weight.tolist() for layer in parameters.layers()],
        [layer.bias.tolist() for layer in parameters.layers()],
        header.spatial_context_arm,
        parameters.stabiliser is not None,
        steps.arm_weight,
        steps.arm_bias,
    )
    return [naive.indices(naive.evaluate(sample, fixed)) for sample in samples.tolist()]


def largest_accumulator(arm: IntArm, sample: Sequence[int]) -> int:
    """Sum of the magnitudes of the terms of the largest accumulator, for one sample."""
    x, largest = list(sample), 0
    for weight, bias, shift in zip(
        arm.hidden_weight.tolist(), arm.hidden_bias.tolist(), arm.hidden_shift.tolist(), strict=True
    ):
        terms = [
            [b, *(w * v for w, v in zip(row, x, strict=True))]
            for row, b in zip(weight, bias, strict=True)
        ]
        largest = max(largest, *(sum(map(abs, row)) for row in terms))
        x = [max(sum(row), 0) >> shift for row in terms]
    for o, b in enumerate(arm.output_bias.tolist()):
        weights = arm.output_weight[o].tolist() + arm.direct_weight[o].tolist()
        pairs = zip(weights, [*x, *sample], strict=True)
        largest = max(largest, abs(b) + sum(abs(w * v) for w, v in pairs))
    return largest


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=str)
@settings(max_examples=20, deadline=None)
@given(
    sw=st.integers(0, 8),
    sb=st.integers(0, 16),
    weight_bits=st.integers(0, 12) | st.integers(0, 40),
    bias_bits=st.integers(0, 20) | st.integers(0, 36),
    feature_bits=st.integers(0, 12) | st.integers(0, 40),
    seed=st.integers(0, 999),
)
def test_kernels_equal_the_naive_twin_as_far_as_the_bound_allows(
    architecture: tuple[int, int, int, bool],
    sw: int,
    sb: int,
    weight_bits: int,
    bias_bits: int,
    feature_bits: int,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    header = arm_header(*architecture, sw, sb)
    parameters = random_arm(header, weight_bits, bias_bits, rng)
    samples = random_inputs(header, 6, feature_bits, rng)
    fixed = fix_arm(header, parameters)
    max_feature = int(np.abs(samples[:, header.spatial_context_arm :]).max(initial=0))
    bound = fixed.accumulator_bound(max_feature)
    assert bound >= max(largest_accumulator(fixed.exact, sample) for sample in samples.tolist())

    expected = by_naive_twin(header, parameters, samples)
    if bound >= 1 << 63:
        with pytest.raises(CorruptError):
            fixed.fits_float64(max_feature, 0)
        return
    assert by_kernel(fixed, samples, exact=True) == expected
    assert fixed.fits_float64(max_feature, 0) == (bound < 1 << 53)
    if bound < 1 << 53:
        assert by_kernel(fixed, samples, exact=False) == expected


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=str)
def test_kernels_equal_the_naive_twin_for_ordinary_weights(
    architecture: tuple[int, int, int, bool],
) -> None:
    """Weights such that the outputs stay inside the tables."""
    rng = np.random.default_rng(sum(architecture))
    header = arm_header(*architecture, sw=8, sb=16)
    parameters = random_arm(header, 5, 14, rng)
    fixed = fix_arm(header, parameters)
    samples = random_inputs(header, LANES, 9, rng)
    expected = by_naive_twin(header, parameters, samples)
    assert by_kernel(fixed, samples, exact=False) == expected
    assert by_kernel(fixed, samples, exact=True) == expected
    inside = [0 < mu < 32767 and 0 < scale < 2560 for mu, scale in expected]
    assert any(inside)


@pytest.mark.parametrize("seed", range(20))
def test_hidden_layers_drop_fractions(seed: int) -> None:
    """Signals of few units in the last place, which the output amplifies."""
    rng = np.random.default_rng(seed)
    header = arm_header(4, 0, 3, stabiliser=False, sw=8, sb=16)
    parameters = random_arm(header, 8, 10, rng)
    first, output = parameters.hidden[0], parameters.output
    first.weight[...] = rng.integers(-1, 2, (4, 4)) - 256 * np.eye(4, dtype=np.int64)
    output.weight[...] = rng.integers(-1 << 16, 1 << 16, (2, 4))
    fixed = fix_arm(header, parameters)
    samples = random_inputs(header, 8, 0, rng)
    expected = by_naive_twin(header, parameters, samples)
    assert by_kernel(fixed, samples, exact=False) == expected
    assert by_kernel(fixed, samples, exact=True) == expected


@pytest.mark.parametrize("sb", [0, 16])
@pytest.mark.parametrize("stabiliser", [False, True])
@pytest.mark.parametrize("n_features", [0, 2])
def test_the_bound_is_reached_without_hidden_layers(
    n_features: int, stabiliser: bool, sb: int
) -> None:
    rng = np.random.default_rng(0)
    header = arm_header(3, n_features, 0, stabiliser, 4, sb)
    fixed = fix_arm(header, random_arm(header, 10, 10, rng))
    worst = [-64] * 3 + [700] * n_features
    assert fixed.accumulator_bound(700) == largest_accumulator(fixed.exact, worst)


def feature_arm() -> FixedArm:
    """An ARM whose mu is its first IFCE feature, in the smallest possible unit."""
    header = arm_header(1, 2, 0, stabiliser=False, sw=8, sb=16)
    zero = np.zeros(2, np.int64)
    return fix_arm(header, ArmParameters((), Layer(np.array([[0, 1, 0], [0, 0, 0]]), zero), None))


def test_thresholds() -> None:
    fixed = feature_arm()
    assert fixed.accumulator_bound((1 << 53) - 1) == (1 << 53) - 1
    assert fixed.fits_float64((1 << 53) - 1, 0)
    assert not fixed.fits_float64(1 << 53, 0)
    assert not fixed.fits_float64((1 << 63) - 1, 0)
    with pytest.raises(CorruptError, match="64 bits") as caught:
        fixed.fits_float64(1 << 63, 75)
    assert (caught.value.field, caught.value.offset) == ("nn_payload.arm", 75)


@pytest.mark.parametrize("n_hidden", [0, 1])
@pytest.mark.parametrize("bits", [53, 63])
def test_accumulators_just_below_the_limit_are_exact(bits: int, n_hidden: int) -> None:
    """Two huge weights cancel, and what is left must come out without an error."""
    header = arm_header(4, 0, n_hidden, stabiliser=False, sw=0, sb=16)
    huge = (1 << bits - 23) - 1
    row = [huge, -huge, 1, 0]
    zero = np.zeros((2, 4), np.int64)
    if n_hidden:
        # The identity that is folded in is taken out again.
        first = np.array([row, [0, -1, 0, 0], [0, 0, -1, 0], [0, 0, 0, -1]])
        first[0, 0] -= 1
        output = Layer(np.array([[1, 0, 0, 0], [0, 0, 0, 0]]), zero[:, 0])
        parameters = ArmParameters((Layer(first, np.zeros(4, np.int64)),), output, None)
    else:
        output = Layer(np.array([row, [0, 0, 0, 0]]), zero[:, 0])
        parameters = ArmParameters((), output, None)
    fixed = fix_arm(header, parameters)
    assert fixed.accumulator_bound(0).bit_length() == bits
    assert fixed.fits_float64(0, 0) == (bits == 53)

    samples = np.array([[c, c, d, 9] for c, d in ((-64, 0), (63, 1), (-64, 17), (63, 63), (5, 2))])
    expected = by_naive_twin(header, parameters, samples)
    assert expected == [(16384 + 256 * d, 256) for d in samples[:, 2].tolist()]
    assert by_kernel(fixed, samples, exact=True) == expected
    if bits == 53:
        assert by_kernel(fixed, samples, exact=False) == expected


def test_a_single_parameter_may_overflow() -> None:
    header = arm_header(1, 0, 1, stabiliser=False, sw=8, sb=0)
    zero = np.zeros(1, np.int64)
    output = Layer(np.zeros((2, 1), np.int64), np.array([(1 << 39) - 1, 0]))
    parameters = ArmParameters((Layer(zero[:, None], zero),), output, None)
    assert not fix_arm(header, parameters).fits_float64(0, 0)
    output.bias[0] += 1
    with pytest.raises(CorruptError, match="64 bits") as caught:
        fix_arm(header, parameters, 75)
    assert (caught.value.field, caught.value.offset) == ("nn_payload.arm", 75)


def test_every_expressible_step_is_accepted() -> None:
    rng = np.random.default_rng(4)
    header = arm_header(2, 1, 2, stabiliser=True, sw=0, sb=0)
    for arm_weight in range(9):
        for arm_bias in range(17):
            steps = header.nn_q_step._replace(arm_weight=arm_weight, arm_bias=arm_bias)
            one = dataclasses.replace(header, nn_q_step=steps)
            parameters = random_arm(one, 3, 3, rng)
            samples = random_inputs(one, 2, 8, rng)
            expected = by_naive_twin(one, parameters, samples)
            assert by_kernel(fix_arm(one, parameters), samples, exact=True) == expected
