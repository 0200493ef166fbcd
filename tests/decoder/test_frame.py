# SPDX-License-Identifier: BSD-3-Clause
"""Rounding to samples: the plain twin, exact ties, bands, and signals that are not finite."""

from __future__ import annotations

from fractions import Fraction
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numchic.v5.frame import FrameWriter, to_samples
from numchic_bitstream.arrays import F32
from numchic_bitstream.errors import CorruptError
from numchic_bitstream.structure import FrameDataType
from numchic_bitstream.v5.headers import FrameHeader
from reference.frame import to_samples as naive_to_samples

DATA_TYPES: tuple[FrameDataType, ...] = get_args(FrameDataType)
BITDEPTHS = range(8, 17)


def random_signal(size: tuple[int, int], seed: int = 0) -> F32:
    """Three channels around 0 .. 1, with a good share outside."""
    return np.random.default_rng(seed).normal(0.5, 0.4, (3, *size)).astype(np.float32)


def on_the_steps(signal: F32, bitdepth: int) -> F32:
    """Signal moved to multiples of half a step, so that ties are frequent."""
    half_steps = np.float32(2 * ((1 << bitdepth) - 1))
    moved: F32 = np.rint(signal * half_steps) / half_steps
    return moved


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    data_type=st.sampled_from(DATA_TYPES),
    bitdepth=st.sampled_from(BITDEPTHS),
    ties=st.booleans(),
    seed=st.integers(0, 99),
)
def test_equals_the_naive_twin(
    size: tuple[int, int], data_type: FrameDataType, bitdepth: int, ties: bool, seed: int
) -> None:
    signal = random_signal(size, seed)
    if ties:
        signal = on_the_steps(signal, bitdepth)
    planes = to_samples(signal, data_type, bitdepth)
    expected = naive_to_samples(signal, data_type, bitdepth)
    for plane, wanted in zip(planes, expected, strict=True):
        assert plane.dtype == (np.uint8 if bitdepth == 8 else np.uint16)
        assert np.array_equal(plane, wanted)


@pytest.mark.parametrize("bitdepth", BITDEPTHS)
def test_every_sample_value_survives(bitdepth: int) -> None:
    values = np.arange(1 << bitdepth)
    signal = (values / values[-1]).astype(np.float32).reshape(1, 16, -1).repeat(3, axis=0)
    for plane in to_samples(signal, "rgb", bitdepth):
        assert np.array_equal(plane.ravel(), values)


def test_ties_go_to_even_and_values_outside_to_the_ends() -> None:
    signal = np.zeros((3, 1, 6), np.float32)
    signal[0] = [0.5, 1.5, 2.5, 254.5, -7, 300]
    signal[0] /= np.float32(255)
    assert (signal[0] * np.float32(255)).tolist() == [[0.5, 1.5, 2.5, 254.5, -7, 300]]
    assert to_samples(signal, "yuv444", 8)[0].tolist() == [[0, 2, 2, 254, 0, 255]]


def test_chroma_is_rounded_before_and_clamped_after_the_mean() -> None:
    blocks = {(0.4, 0.4, 0.4, 0.4): 0, (0.6, 0.6, 0.6, 0.6): 1, (-255, 255, 255, 255): 128}
    blocks[510, 255, 255, 255] = 255
    signal = np.zeros((3, 2, 8), np.float32)
    signal[1] = np.array(list(blocks), np.float32).reshape(-1, 2, 2).swapaxes(0, 1).reshape(2, 8)
    _, u, v = to_samples(signal / np.float32(255), "yuv420", 8)
    assert u.tolist() == [list(blocks.values())]
    assert not v.any()


def test_chroma_ties_fall_as_float32_decides() -> None:
    """Means of four samples that are exact ties: float32 noise, not a rule, breaks them."""
    rng = np.random.default_rng(1)
    quads = rng.integers(0, 256, (4000, 4))
    quads = quads[quads.sum(1) % 4 == 2]
    signal = np.zeros((3, 2, 2 * len(quads)), np.float32)
    signal[1] = (quads / 255).reshape(-1, 2, 2).swapaxes(0, 1).reshape(2, -1)
    _, u, _ = to_samples(signal, "yuv420", 8)
    means = [Fraction(int(total), 4) for total in quads.sum(1)]
    errors = [int(sample) - mean for sample, mean in zip(u[0], means, strict=True)]
    assert set(errors) == {Fraction(-1, 2), Fraction(1, 2)}
    to_even = [int(sample) == round(mean) for sample, mean in zip(u[0], means, strict=True)]
    assert 0 < sum(to_even) < len(to_even)
    assert np.array_equal(u, naive_to_samples(signal, "yuv420", 8)[1])


@pytest.mark.parametrize("data_type", DATA_TYPES)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
def test_signals_must_stay_finite(value: float, data_type: FrameDataType) -> None:
    signal = random_signal((3, 3))
    signal[2, 2, 2] = value  # a sample that 4:2:0 drops
    with pytest.raises(CorruptError) as caught:
        to_samples(signal, data_type, 8, 75)
    assert (caught.value.field, caught.value.offset) == ("nn_payload.synthesis", 75)


@pytest.mark.parametrize("data_type", DATA_TYPES)
def test_huge_signals_are_clamped(data_type: FrameDataType) -> None:
    signal = np.full((3, 2, 2), 1e36, np.float32)
    signal[1:] *= -1
    planes = to_samples(signal, data_type, 8)
    assert [np.unique(plane).tolist() for plane in planes] == [[255], [0], [0]]


@pytest.mark.parametrize("data_type", DATA_TYPES)
@pytest.mark.parametrize("bitdepth", [8, 10, 16])
@pytest.mark.parametrize("size", [(2, 2), (7, 5), (8, 6), (9, 3)])
def test_bands_in_any_order_make_the_whole(
    size: tuple[int, int], bitdepth: int, data_type: FrameDataType
) -> None:
    signal = random_signal(size)
    writer = FrameWriter(FrameHeader(frame_data_type=data_type, bitdepth=bitdepth), size)
    for first in reversed(range(0, size[0], 4)):
        writer.put(first, signal[:, first : first + 4])
    picture = writer.picture()
    assert (picture.data_type, picture.bitdepth) == (data_type, bitdepth)
    assert (picture.height, picture.width) == size
    for plane, wanted in zip(picture.planes, to_samples(signal, data_type, bitdepth), strict=True):
        assert plane.dtype == wanted.dtype
        assert np.array_equal(plane, wanted)
        assert not plane.flags.writeable
