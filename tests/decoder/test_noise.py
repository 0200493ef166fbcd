# SPDX-License-Identifier: BSD-3-Clause
"""Common randomness against its plain twin and the numbers of the format."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from numchic.randomness import normal_samples
from numchic.v5.noise import CommonRandomness, common_randomness
from reference import noise as naive

FIRST_SAMPLES = [
    -0.6612883321409466, -0.5787911979261936, 0.4383389299890308, -0.32975140846366535,
    1.3629229106862975,
]  # fmt: skip


def test_first_samples() -> None:
    assert np.array_equal(normal_samples(5), np.array(FIRST_SAMPLES, np.float32))


# Sample 22802 is the first one that tells the truncated pi of the format from pi.
@pytest.mark.parametrize("count", [0, 1, 2, 3, 64, 65, 22803])
def test_samples_equal_the_naive_twin(count: int) -> None:
    expected = np.array(list(islice(naive.normal_samples(), count)), np.float32)
    assert np.array_equal(normal_samples(count), expected)


@pytest.mark.parametrize("start", [0, 1, 65535, 65536, 65537, 200_000])
def test_the_generator_can_start_anywhere(start: int) -> None:
    count = 70_000
    assert np.array_equal(normal_samples(count, start), normal_samples(start + count)[start:])


def test_samples_are_normal() -> None:
    samples = normal_samples(100_000)
    assert abs(samples.mean()) < 0.01
    assert abs(samples.std() - 1) < 0.01


@pytest.mark.parametrize(
    ("size", "lowest", "highest"),
    [
        ((1, 1), 0, 0),
        ((1, 1), 0, 2),
        ((2, 1), 0, 3),
        ((1, 11), 0, 5),
        ((7, 5), 0, 1),
        ((9, 17), 0, 6),
        ((16, 8), 0, 3),
        ((1, 1), 2, 3),
    ],
)
def test_field_equals_the_naive_twin(size: tuple[int, int], lowest: int, highest: int) -> None:
    field = common_randomness(size, lowest, highest)
    assert field.dtype == np.float32
    assert np.array_equal(field, naive.common_randomness(size, lowest, highest))
    rows = CommonRandomness(size, lowest, highest)
    for n_rows in (1, 3):
        bands = [
            rows.rows(first, min(n_rows, size[0] - first)) for first in range(0, size[0], n_rows)
        ]
        assert np.array_equal(np.concatenate(bands, 1), field)
