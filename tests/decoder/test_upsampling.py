# SPDX-License-Identifier: BSD-3-Clause
"""Upsampling: bit for bit against the plain twin, and against convolutions in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import builders
import strategies
from numchic.v5.upsampling import Upsampler, preconcat_kernel, upsample, x2_kernel
from numchic_bitstream import CoolChicHeader, UsageError
from numchic_bitstream.arrays import F32, F64, I8
from numchic_bitstream.v5.parameters import UpsamplingParameters
from reference import upsampling as naive

Latents = list[I8]

SIZES = st.tuples(st.integers(1, 13), st.integers(1, 13))


def random_case(
    seed: int = 0, magnitude: int = 60_000, **changes: Any
) -> tuple[CoolChicHeader, UpsamplingParameters, Latents]:
    """Weights have so many digits that the order of summation shows."""
    header = builders.header(hyperlatent_resolution=None, **changes)
    parameters = builders.parameters(header, seed, magnitude).upsampling
    return header, parameters, builders.latents(header, seed, 64)


def halves(header: CoolChicHeader, parameters: UpsamplingParameters) -> tuple[list[F32], list[F32]]:
    """Real parameters of the X2 and PRE kernels."""
    step = np.float32(2.0**-header.derived.steps.upsampling_weight)
    x2, pre = (
        [layer.weight.astype(np.float32) * step for layer in layers]
        for layers in (parameters.x2, parameters.preconcat)
    )
    return x2, pre


def doubled(row: F64, taps: F64) -> F64:
    """Transposed convolution with stride 2 of a row whose ends are repeated."""
    half = taps.size // 2
    stuffed = np.zeros(2 * (row.size + 2 * half))
    stuffed[::2] = np.pad(row, half, mode="edge")
    start = 3 * half - 1
    return np.convolve(stuffed, taps)[start : start + 2 * row.size]


def filtered(row: F64, taps: F64) -> F64:
    reach = taps.size // 2
    return np.convolve(row, taps)[reach : reach + row.size]


def by_convolutions(
    header: CoolChicHeader, parameters: UpsamplingParameters, latents: Latents
) -> F64:
    x2, pre = halves(header, parameters)
    stack = [latents[-1].astype(np.float64)]
    for step, latent in enumerate(latents[-2::-1]):
        height, width = latent.shape
        taps = x2_kernel(x2[step]).astype(np.float64)
        for axis in (1, 0):
            stack = [np.apply_along_axis(doubled, axis, channel, taps) for channel in stack]
        own = latent.astype(np.float64)
        taps = preconcat_kernel(pre[step]).astype(np.float64)
        for axis in (1, 0):
            own = np.apply_along_axis(filtered, axis, own, taps)
        stack = [own + latent] + [channel[:height, :width] for channel in stack]
    return np.stack(stack)


@pytest.mark.parametrize("ups_k_size", range(4, 15, 2))
@settings(max_examples=20)
@given(
    preconcat_k_size=st.integers(0, 7).map(lambda half: 2 * half + 1),
    size=SIZES,
    levels=strategies.bands(4),
    seed=st.integers(0, 99),
)
def test_equals_the_naive_twin(
    ups_k_size: int,
    preconcat_k_size: int,
    size: tuple[int, int],
    levels: tuple[int, int],
    seed: int,
) -> None:
    case = random_case(
        seed,
        img_size=size,
        latent_resolution=levels,
        ups_k_size=ups_k_size,
        ups_preconcat_k_size=preconcat_k_size,
    )
    dense = upsample(*case)
    assert dense.dtype == np.float32
    assert np.array_equal(dense, naive.upsample(case[2], *halves(*case[:2])))


@pytest.mark.parametrize("k_sizes", [(4, 1), (6, 5), (8, 7), (10, 9), (12, 3), (14, 15)], ids=str)
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (9, 1), (13, 10)], ids=str)
def test_is_made_of_convolutions(size: tuple[int, int], k_sizes: tuple[int, int]) -> None:
    case = random_case(
        img_size=size,
        latent_resolution=(0, 3),
        ups_k_size=k_sizes[0],
        ups_preconcat_k_size=k_sizes[1],
    )
    expected = by_convolutions(*case)
    largest = np.abs(expected).max()
    np.testing.assert_allclose(upsample(*case), expected, rtol=1e-4, atol=1e-5 * largest)


@pytest.mark.parametrize("magnitude", [(1 << 24) + 1, 1 << 30])
def test_parameters_beyond_float32_are_rounded(magnitude: int) -> None:
    case = random_case(magnitude=magnitude, latent_resolution=(0, 1))
    assert np.array_equal(upsample(*case), naive.upsample(case[2], *halves(*case[:2])))


@settings(max_examples=40)
@given(
    ups_k_size=st.sampled_from([4, 6, 14]),
    preconcat_k_size=st.sampled_from([1, 3, 15]),
    size=SIZES,
    levels=strategies.bands(2),
    margin=st.integers(0, 3),
    data=st.data(),
)
def test_any_rows_equal_those_of_the_whole(
    ups_k_size: int,
    preconcat_k_size: int,
    size: tuple[int, int],
    levels: tuple[int, int],
    margin: int,
    data: st.DataObject,
) -> None:
    header, parameters, latents = random_case(
        img_size=size,
        latent_resolution=levels,
        ups_k_size=ups_k_size,
        ups_preconcat_k_size=preconcat_k_size,
    )
    dense = upsample(header, parameters, latents)
    n_channels, height, width = dense.shape
    first = data.draw(st.integers(0, height - 1))
    n_rows = data.draw(st.integers(1, height - first))
    upsampler = Upsampler(header, parameters)
    # The finest latent arrives late, and only as far as it is needed.
    finest = np.full_like(latents[0], 99)
    upsampler.prepare([finest, *latents[1:]])
    needed = slice(max(0, first - upsampler.reach), first + n_rows + upsampler.reach)
    finest[needed] = latents[0][needed]
    out = np.full((n_channels, n_rows, margin + width + margin), 77, np.float32)
    upsampler.rows(first, margin, out)
    assert np.array_equal(out[:, :, margin : margin + width], dense[:, first : first + n_rows])
    assert (out[:, :, :margin] == 77).all()
    assert (out[:, :, margin + width :] == 77).all()


@pytest.mark.parametrize("levels", [(0, 0), (0, 1), (1, 3)])
def test_the_reach_is_known_before_the_latents(levels: tuple[int, int]) -> None:
    """Who asks for it may run while another thread still prepares."""
    header, parameters, latents = random_case(latent_resolution=levels, ups_preconcat_k_size=7)
    upsampler = Upsampler(header, parameters)
    before = upsampler.reach
    upsampler.prepare(latents)
    assert before == upsampler.reach == (3 if len(latents) > 1 else 0)


def test_latents_of_another_header() -> None:
    header, parameters, latents = random_case(img_size=(9, 7))
    with pytest.raises(UsageError, match="do not fit"):
        upsample(header, parameters, latents[:-1])


def test_a_single_latent_is_not_filtered() -> None:
    header, parameters, latents = random_case(img_size=(9, 7), latent_resolution=(2, 2))
    assert np.array_equal(upsample(header, parameters, latents), [latents[0]])


def test_surplus_kernels_are_not_used() -> None:
    header, parameters, latents = random_case(img_size=(23, 21), latent_resolution=(2, 4))
    before = upsample(header, parameters, latents)
    for layers in (parameters.x2, parameters.preconcat):
        assert len(layers) == 4
        for layer in layers[2:]:
            layer.weight[...] += 1
    assert np.array_equal(upsample(header, parameters, latents), before)
    parameters.x2[1].weight[...] += 1
    assert not np.array_equal(upsample(header, parameters, latents), before)
