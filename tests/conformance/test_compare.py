# SPDX-License-Identifier: BSD-3-Clause
"""The first divergence is found, in the order in which decoders compute."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from numchic_conformance.compare import (
    base_name,
    compare_samples,
    compare_stage,
    sample_position,
)
from numchic_conformance.manifest import PictureFormat

RGB = PictureFormat(3, 2, 1, "rgb", 8)
YUV = PictureFormat(5, 3, 2, "yuv420", 10)


def test_equal_stages_do_not_diverge() -> None:
    array = np.arange(6, dtype=np.int8).reshape(2, 3)
    assert compare_stage("latents.0", array, array.copy()) is None


def test_latents_are_compared_in_coding_order() -> None:
    """Sample (0, 25) has time 25 and comes after (1, 3) with time 13."""
    expected = np.zeros((3, 30), np.int8)
    found = expected.copy()
    found[0, 25] = found[1, 3] = found[2, 3] = 5
    divergence = compare_stage("latents.2", expected, found)
    assert divergence is not None
    assert divergence.position == "row 1, column 3"
    assert str(divergence) == (
        "latents.2 at row 1, column 3: expected 0, found 5 (3 of 90 differ, at most by 5)"
    )


def test_equal_times_are_in_order_of_rows() -> None:
    expected, found = np.zeros((2, 3, 30), np.int8)
    found[1, 4] = found[0, 14] = 1
    divergence = compare_stage("latents.0", expected, found)
    assert divergence is not None
    assert divergence.position == "row 0, column 14"


def test_narrow_grids_are_in_raster_order() -> None:
    expected, found = np.zeros((2, 3, 9), np.int8)
    found[0, 8] = found[1, 0] = 1
    divergence = compare_stage("latents.0", expected, found)
    assert divergence is not None
    assert divergence.position == "row 0, column 8"


@pytest.mark.parametrize("wrong", [1.01, np.nan, np.inf])
def test_float_stages_have_a_tolerance(wrong: float) -> None:
    expected = np.ones((2, 3, 4), np.float32)
    assert compare_stage("dense", expected, expected + np.float32(1e-5)) is None
    found = expected.copy()
    found[1, 2, 3] = wrong
    divergence = compare_stage("frame1.motion.dense", expected, found)
    assert divergence is not None
    assert divergence.position == "channel 1, row 2, column 3"


def test_older_generations_are_exact_and_in_order_of_rows() -> None:
    expected = np.ones((2, 3, 4), np.float32)
    assert compare_stage("dense", expected, expected + np.float32(1e-6), "4.2") is not None
    grid = np.zeros((3, 30), np.int32)
    found = grid.copy()
    found[0, 25] = found[1, 3] = 5
    divergence = compare_stage("latents.2", grid, found, "4.0")
    assert divergence is not None
    assert divergence.position == "row 0, column 25"


def test_equal_infinities_are_equal() -> None:
    array = np.array([[[np.inf, -np.inf, 1.0]]], np.float32)
    assert compare_stage("dense", array, array.copy()) is None
    assert compare_stage("dense", array, -array) is not None
    assert compare_stage("dense", array, array * np.float32(np.nan)) is not None


def test_large_parameters_are_compared_exactly() -> None:
    expected = np.array([0, 1 << 40], np.int64)
    divergence = compare_stage("parameters.arm_bias", expected, expected + [0, 1])
    assert divergence is not None
    assert divergence.position == "index 1"


def test_shapes_are_compared() -> None:
    divergence = compare_stage("dense", np.zeros((1, 2, 2)), np.zeros((2, 2)))
    assert divergence is not None
    assert divergence.expected == "shape (1, 2, 2)"


@pytest.mark.parametrize(
    ("stage", "base"),
    [
        ("latents.3", "latents"),
        ("frame2.residue.latents.0", "latents"),
        ("parameters.arm_weight", "parameters"),
        ("frame0.motion.synthesis", "synthesis"),
        ("frame3.prediction", "prediction"),
    ],
)
def test_base_name(stage: str, base: str) -> None:
    assert base_name(stage) == base


def test_samples_within_the_bounds() -> None:
    expected = np.zeros(18, np.uint8)
    found = expected.copy()
    found[3] = 1
    assert compare_samples(RGB, expected, found, 1, 1) is None
    assert compare_samples(RGB, expected, found, 1, 0) is not None


def test_the_sample_that_differs_too_much_is_named() -> None:
    expected = np.zeros(18, np.uint8)
    found = expected.copy()
    found[3], found[16] = 1, 200
    divergence = compare_samples(RGB, expected, found, 1, 5)
    assert divergence is not None
    assert divergence.position == "plane G, row 1, column 2"
    assert divergence.found == "200"


def test_a_short_picture_diverges() -> None:
    divergence = compare_samples(RGB, np.zeros(18, np.uint8), np.zeros(3, np.uint8), 1, 5)
    assert divergence is not None
    assert divergence.found == "3 samples"


@pytest.mark.parametrize(
    ("picture", "index", "position"),
    [
        (RGB, 0, "plane R, row 0, column 0"),
        (RGB, 11, "plane B, row 1, column 0"),
        (YUV, 14, "frame 0, plane Y, row 2, column 4"),
        (YUV, 15, "frame 0, plane U, row 0, column 0"),
        (YUV, 18, "frame 0, plane V, row 0, column 1"),
        (YUV, 19, "frame 1, plane Y, row 0, column 0"),
    ],
)
def test_sample_position(picture: Any, index: int, position: str) -> None:
    assert sample_position(picture, index) == position
