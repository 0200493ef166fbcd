# SPDX-License-Identifier: BSD-3-Clause
"""Optical flow (video training, section 9), with plain twins of its stages."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, median_filter, uniform_filter

import strategies  # noqa: F401 - settings of hypothesis
from clips import BUNNY, CARPHONE, luma
from numchic_bitstream.arrays import F32
from numchic_trainer.video import flow as module
from numchic_trainer.video.flow import (
    bilinear_warp,
    block_matching_flow,
    block_vectors,
    estimate_flow,
)


def texture(height: int, width: int, seed: int = 0, sigma: float = 1.5) -> F32:
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(height, width)), sigma)
    span = max(float(np.ptp(noise)), 1e-9)
    picture: F32 = ((noise - noise.min()) / span).astype(np.float32)
    return picture


def psnr(a: F32, b: F32) -> float:
    return float(-10 * np.log10(np.mean((a - b) ** 2)))


def block_psnr(frame: F32, reference: F32, flow: F32) -> float:
    """With one vector per block of 4x4."""
    vectors = block_vectors(flow, (frame.shape[0] // 4, frame.shape[1] // 4))
    return psnr(frame, bilinear_warp(reference, vectors.repeat(4, 1).repeat(4, 2)))


def plain_block_matching(frame: F32, reference: F32) -> F32:
    """Section 9.2, displacement by displacement, with all costs at once."""
    height, width = frame.shape
    padded = np.pad(reference, 8, "edge")
    costs = np.empty((17, 17, height, width), np.float32)
    for j in range(17):
        for i in range(17):
            difference = np.abs(frame - padded[j : j + height, i : i + width])
            length = np.float32(np.hypot(i - 8, j - 8))
            costs[j, i] = uniform_filter(difference, 8, mode="nearest")
            costs[j, i] += np.float32(0.002 / 8) * length
    flow = np.empty((2, height, width), np.float32)
    for y in range(height):
        for x in range(width):
            j, i = divmod(int(costs[:, :, y, x].argmin()), 17)
            flow[:, y, x] = (
                i - 8 + vertex(costs[j, :, y, x], i),
                j - 8 + vertex(costs[:, i, y, x], j),
            )
    smooth: F32 = median_filter(flow, (1, 5, 5), mode="nearest")
    return smooth


def vertex(costs: F32, i: int) -> float:
    """Where a parabola through three costs is lowest, from the middle one."""
    if not 0 < i < costs.size - 1:
        return 0
    before, lowest, after = map(float, costs[i - 1 : i + 2])
    curvature = before + after - 2 * lowest
    return float(np.clip((before - after) / (2 * curvature), -0.5, 0.5)) if curvature > 0 else 0


@pytest.mark.parametrize("strip", [1, 1 << 22])
def test_block_matching_is_what_is_written(monkeypatch: pytest.MonkeyPatch, strip: int) -> None:
    monkeypatch.setattr(module, "_MAX_COSTS", strip)
    reference = texture(30, 41)
    frame = np.roll(reference, (3, -2), (0, 1)) + 0.1 * texture(30, 41, seed=1)
    np.testing.assert_allclose(
        block_matching_flow(frame, reference), plain_block_matching(frame, reference), atol=2e-3
    )


def test_every_part_moves_on_its_own() -> None:
    reference = texture(64, 80)
    true = np.zeros((2, 64, 80), np.float32)
    true[0] = 2.5
    true[:, 20:50, 30:60] = np.array([-4.25, 3.75])[:, None, None]
    frame = bilinear_warp(reference, true)
    flow = estimate_flow(frame, reference)
    away = (slice(None), slice(28, 42), slice(38, 52))
    assert np.abs(flow - true)[away].max() < 0.3
    assert np.abs(flow - true)[:, 4:12, 6:70].max() < 0.3
    assert np.median(np.abs(flow - true)) < 0.03


def test_lucas_kanade_makes_block_matching_better() -> None:
    reference = texture(64, 80)
    y, x = np.indices((64, 80), np.float32)
    true = np.stack((1.3 + np.sin(y / 9), 0.7 * np.cos(x / 12))).astype(np.float32)
    frame = bilinear_warp(reference, true)
    matched, refined = block_matching_flow(frame, reference), estimate_flow(frame, reference)
    assert np.abs(refined - true).mean() < np.abs(matched - true).mean() / 2


def test_large_pictures_are_matched_from_coarse_to_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SEARCHED", 64 * 64)
    reference = texture(101, 131)
    true = np.full((2, 101, 131), 13.5, np.float32)
    flow = estimate_flow(bilinear_warp(reference, true), reference)
    assert np.median(np.abs(flow - true)[:, 8:-24, 8:-24]) < 0.03


def test_nothing_seen_nothing_moves() -> None:
    flat = np.full((12, 20), 0.25, np.float32)
    assert not estimate_flow(flat, flat).any()
    assert not estimate_flow(flat, flat + np.float32(0.5)).any()
    still = texture(40, 40)
    assert not estimate_flow(still, still).any()


@settings(max_examples=15)
@given(size=st.tuples(st.integers(1, 9), st.integers(1, 9)))
def test_tiny_pictures(size: tuple[int, int]) -> None:
    flow = estimate_flow(texture(*size), texture(*size, seed=1))
    assert flow.shape == (2, *size)
    assert flow.dtype == np.float32
    assert np.isfinite(flow).all()


def plain_block_vectors(flow: F32, size: tuple[int, int]) -> F32:
    """The nearest rule of section 11.3 of the format, pixel by pixel."""
    pixels: dict[tuple[int, ...], list[F32]] = {}
    for place in np.ndindex(flow.shape[1:]):
        vector = []
        for d, n, m in zip(place, size, flow.shape[1:], strict=True):
            ratio = np.float32(n) / np.float32(m)
            whole = d if m == n else d >> 1 if m == 2 * n else int(np.float32(d) * ratio)
            vector.append(min(whole, n - 1))
        pixels.setdefault(tuple(vector), []).append(flow[(slice(None), *place)])
    out = np.empty((2, *size), np.float32)
    for place in np.ndindex(size):
        out[(slice(None), *place)] = np.median(pixels[place], 0)
    return out


@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    level=st.integers(0, 6),
)
def test_vectors_are_medians_of_their_pixels(size: tuple[int, int], level: int) -> None:
    flow = np.random.default_rng(0).normal(size=(2, *size)).astype(np.float32)
    vectors = (-(-size[0] >> level), -(-size[1] >> level))
    np.testing.assert_array_equal(block_vectors(flow, vectors), plain_block_vectors(flow, vectors))


def test_vectors_of_whole_blocks() -> None:
    flow = np.random.default_rng(0).normal(size=(2, 12, 20)).astype(np.float32)
    vectors = block_vectors(flow, (3, 5))
    assert vectors[1, 2, 3] == np.median(flow[1, 8:12, 12:16])


@pytest.mark.parametrize(
    ("clip", "at", "of", "matched", "refined"),
    [
        (CARPHONE, 4, 0, (33.49, 32.30), (34.71, 32.78)),
        (CARPHONE, 5, 4, (38.19, 38.16), (40.05, 39.41)),
        (BUNNY, 4, 8, (32.39, 32.01), (33.17, 32.44)),
        (BUNNY, 8, 0, (32.05, 31.41), (33.21, 31.76)),
    ],
)
def test_measured_predictions(
    clip: tuple[str, int, int],
    at: int,
    of: int,
    matched: tuple[float, float],
    refined: tuple[float, float],
) -> None:
    """Section 9.6, per pixel and per block."""
    frames = luma(clip)
    frame, reference = frames[at], frames[of]
    for estimator, expected in ((block_matching_flow, matched), (estimate_flow, refined)):
        flow = estimator(frame, reference)
        found = psnr(frame, bilinear_warp(reference, flow)), block_psnr(frame, reference, flow)
        assert found == pytest.approx(expected, abs=0.1)
