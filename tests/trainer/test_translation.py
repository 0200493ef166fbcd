# SPDX-License-Identifier: BSD-3-Clause
"""Global translation (video training, section 7)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

import strategies  # noqa: F401 - settings of hypothesis
from numchic.picture import Picture
from numchic.references import shifted_reference
from numchic_bitstream.arrays import F32
from numchic_trainer.video.translation import global_translation


def texture(height: int, width: int, seed: int = 0, sigma: float = 1.0) -> Picture:
    """A picture in 4:4:4 of noise, more or less smooth, that uses the whole range."""
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(height, width)), sigma)
    span = max(float(np.ptp(noise)), 1e-9)
    plane = np.rint((noise - noise.min()) / span * 255).astype(np.uint8)
    return Picture((plane, plane, plane), "yuv444", 8)


def seen(picture: Picture, shift: tuple[int, int]) -> F32:
    return shifted_reference(picture, shift)[:, :, 0]


SHIFTS = [(1, 0), (0, -1), (3, -5), (-4, 2), (8, 8), (-7, -11), (37, 0), (-40, 35), (2, -33)]


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("sigma", [0.0, 1.0, 4.0])
def test_a_translation_is_found_exactly(shift: tuple[int, int], sigma: float) -> None:
    """Property 2."""
    picture = texture(144, 176, sigma=sigma)
    assert global_translation(seen(picture, shift), seen(picture, (0, 0))) == shift


@settings(max_examples=20)
@given(
    size=st.tuples(st.integers(24, 60), st.integers(24, 80)),
    fraction=st.tuples(st.floats(-0.4, 0.4), st.floats(-0.4, 0.4)),
    seed=st.integers(0, 1000),
)
def test_small_pictures(size: tuple[int, int], fraction: tuple[float, float], seed: int) -> None:
    shift = (round(fraction[0] * size[1]), round(fraction[1] * size[0]))
    picture = texture(*size, seed)
    assert global_translation(seen(picture, shift), seen(picture, (0, 0))) == shift


def test_more_than_half_of_a_picture_gone() -> None:
    picture = texture(48, 64)
    assert global_translation(seen(picture, (40, -20)), seen(picture, (0, 0))) == (40, -20)


def test_noise_and_things_that_move_on_their_own_do_not_mislead() -> None:
    picture = texture(144, 176)
    frame = seen(picture, (5, -2))
    frame[20:70, 30:90] = seen(texture(50, 60, seed=1), (0, 0))
    frame += np.random.default_rng(2).normal(scale=0.02, size=frame.shape).astype(np.float32)
    assert global_translation(frame, seen(picture, (0, 0))) == (5, -2)


def test_nothing_gained_is_no_translation() -> None:
    still = seen(texture(48, 64), (0, 0))
    assert global_translation(still, still) == (0, 0)
    flat = np.full((48, 64), 0.5, np.float32)
    assert global_translation(flat, flat) == (0, 0)
    assert global_translation(flat, np.zeros_like(flat)) == (0, 0)
    other = seen(texture(48, 64, seed=1, sigma=0), (0, 0))
    assert np.abs(global_translation(other, flat)).max() == 0


@given(size=st.tuples(st.integers(1, 9), st.integers(1, 9)), data=st.data())
def test_tiny_pictures(size: tuple[int, int], data: st.DataObject) -> None:
    seeds = data.draw(st.tuples(st.integers(0, 99), st.integers(0, 99)))
    frame, reference = (seen(texture(*size, seed), (0, 0)) for seed in seeds)
    x, y = global_translation(frame, reference)
    assert abs(x) < size[1]
    assert abs(y) < size[0]
    if min(size) == 1:
        assert (x, y) == (0, 0)
